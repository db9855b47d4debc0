package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// serverLife with its backdate is below the 398 days that browsers take.
	serverLife = 396 * 24 * time.Hour
	renewAfter = serverLife * 2 / 3
)

// Server is the certificate of one server. It renews itself.
type Server struct {
	authority *Authority
	names     []string
	addrs     []netip.Addr

	mu      sync.Mutex
	current *tls.Certificate
	made    time.Time
}

// Issue gives a certificate for a server that is called by names and addrs. The
// authority is made now, for the helper named owner, if there is none. The error says
// what to do.
func (a *Authority) Issue(owner string, names []string, addrs []netip.Addr) (*Server, error) {
	if len(names)+len(addrs) == 0 {
		return nil, errors.New("a certificate needs a name or an address")
	}
	a.mu.Lock()
	err := a.ensure(owner)
	a.mu.Unlock()
	if err != nil {
		return nil, err
	}
	s := &Server{authority: a, names: names, addrs: addrs}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s, s.renew()
}

// Certificate gives the certificate of now, as tls.Config.GetCertificate wants it.
// Where renewing fails, the old one is better than none.
func (s *Server) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if age := s.authority.now().Sub(s.made); age > renewAfter || age < 0 { // below 0: the clock was wrong
		if err := s.renew(); err != nil && s.current == nil {
			return nil, err
		}
	}
	return s.current, nil
}

func (s *Server) renew() error {
	a := s.authority
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := a.now()
	template := &x509.Certificate{
		SerialNumber: serial(), DNSNames: s.names, NotBefore: now.Add(-backdate), NotAfter: now.Add(serverLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if len(s.names) > 0 {
		template.Subject = pkix.Name{CommonName: s.names[0]}
	}
	for _, addr := range s.addrs {
		template.IPAddresses = append(template.IPAddresses, net.IP(addr.AsSlice()))
	}
	a.mu.Lock()
	root, signer := a.root, a.key
	a.mu.Unlock()
	if template.NotAfter.After(root.NotAfter) {
		template.NotAfter = root.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, root, key.Public(), signer)
	if err != nil {
		return fmt.Errorf("sign the certificate of %s: %w", s.names, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	s.current, s.made = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, now
	return nil
}
