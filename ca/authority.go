package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/renameio/v2"
)

const (
	fileName = "ca.pem"
	life     = 10 * 365 * 24 * time.Hour
	// backdate is how far clocks of clients may be behind ours.
	backdate = 24 * time.Hour

	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY"
)

// ErrNone says that no authority was made yet.
var ErrNone = errors.New("there is no certificate authority yet")

// Authority is the certificate authority of one helper node.
type Authority struct {
	file string
	now  func() time.Time

	mu   sync.Mutex
	root *x509.Certificate // nil: not read yet
	key  crypto.Signer
}

// New gives the authority that lives in dir. Nothing is read or made yet.
func New(dir string, now func() time.Time) *Authority {
	return &Authority{file: filepath.Join(dir, fileName), now: now}
}

// Root gives the certificate that clients are to trust, or ErrNone.
func (a *Authority) Root() (*Root, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.read(); err != nil {
		return nil, err
	}
	return &Root{a.root}, nil
}

// Root is the certificate of an authority.
type Root struct{ cert *x509.Certificate }

// Subject is such as "CN=helperd CA of helper".
func (r *Root) Subject() string { return r.cert.Subject.String() }

// NotAfter is when it expires.
func (r *Root) NotAfter() time.Time { return r.cert.NotAfter }

// PEM is what clients take.
func (r *Root) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: r.cert.Raw})
}

// Fingerprint is the SHA-256 of the certificate, hex.
func (r *Root) Fingerprint() string {
	sum := sha256.Sum256(r.cert.Raw)
	return hex.EncodeToString(sum[:])
}

// ensure reads the authority, or makes it for the helper named owner.
func (a *Authority) ensure(owner string) error {
	err := a.read()
	if errors.Is(err, ErrNone) {
		err = a.create(owner)
	}
	if err == nil && !a.now().Before(a.root.NotAfter) {
		err = fmt.Errorf("%s expired on %s; move the file away: a new one is made, which clients must be given again", a.file, a.root.NotAfter.Format(time.DateOnly))
	}
	return err
}

// read reads the file once.
func (a *Authority) read() error {
	if a.root != nil {
		return nil
	}
	b, err := os.ReadFile(a.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ErrNone
	case err != nil:
		return fmt.Errorf("certificate authority: %w", err)
	}
	root, key, err := decode(b)
	if err != nil {
		return fmt.Errorf("certificate authority %s: %w; put the file back from a backup, or move it away: a new one is made, which clients must be given again", a.file, err)
	}
	a.root, a.key = root, key
	return nil
}

func decode(b []byte) (root *x509.Certificate, key crypto.Signer, err error) {
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case certificateBlock:
			if root, err = x509.ParseCertificate(block.Bytes); err != nil {
				return nil, nil, err
			}
		case keyBlock:
			k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, nil, err
			}
			key, _ = k.(crypto.Signer)
		}
	}
	if root == nil || key == nil {
		return nil, nil, errors.New("it does not hold a certificate and its key")
	}
	if p, ok := root.PublicKey.(*ecdsa.PublicKey); !ok || !p.Equal(key.Public()) {
		return nil, nil, errors.New("key and certificate do not belong together")
	}
	return root, key, nil
}

// create makes the authority and stores it before it is used.
func (a *Authority) create(owner string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := a.now()
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "helperd CA of " + owner},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(life),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, // it signs servers, not further authorities
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, block := range []*pem.Block{{Type: certificateBlock, Bytes: der}, {Type: keyBlock, Bytes: secret}} {
		if err := pem.Encode(&b, block); err != nil {
			return err
		}
	}
	if err := renameio.WriteFile(a.file, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("store the certificate authority: %w", err)
	}
	a.root, a.key = root, key
	return nil
}

// serial is 127 random bits (RFC 5280 section 4.1.2.2: positive, at most 20 bytes).
func serial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // cannot fail
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}
