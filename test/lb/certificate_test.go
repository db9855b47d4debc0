package lb

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// authority signs certificates that helperd and haproxy trust.
var authority = sync.OnceValue(func() tls.Certificate { return certificate("an authority", nil) })

// authorityFile is its certificate as a file.
var authorityFile = sync.OnceValue(func() string {
	path := filepath.Join(os.TempDir(), "helperd-lb-authority.pem")
	f, err := os.CreateTemp("", "helperd-lb-authority-*.pem")
	if err == nil {
		path = f.Name()
		err = pem.Encode(f, &pem.Block{Type: "CERTIFICATE", Bytes: authority().Certificate[0]})
	}
	if err != nil {
		panic(err)
	}
	return path
})

// certificate makes one for a name; without a parent it signs itself.
func certificate(name string, parent *tls.Certificate) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: parent == nil, BasicConstraintsValid: true,
	}
	signer, signerKey := template, any(key)
	if parent != nil {
		if signer, err = x509.ParseCertificate(parent.Certificate[0]); err != nil {
			panic(err)
		}
		signerKey = parent.PrivateKey
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, key.Public(), signerKey)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
