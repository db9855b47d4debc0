package http

import (
	"crypto/tls"
	"errors"
	nethttp "net/http"
	"strconv"
)

// authorityPath is where clients find the certificate of the helper's authority
// while there is HTTPS. What they get by plain HTTP proves nothing: compare
// the fingerprint with `helperd ca -o json`.
const authorityPath = "/helperd-ca.crt"

// tlsConfig is TLS 1.2 and later with the ciphers that crypto/tls thinks good.
// HTTP/1.1 alone is spoken: all limits are made for it, and no node wants HTTP/2.
func (s *Service) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			st := s.state.Load()
			if st.certificate == nil { // switched off since the connection was accepted
				return nil, errors.New("no HTTPS any more")
			}
			return st.certificate.Certificate(hello)
		},
	}
}

// certify gives st the certificate that its plan wants. That there is none
// keeps neither the web server nor the rest of the file from being served.
func (s *Service) certify(st *state) {
	t := &st.plan.HTTP.TLS
	if len(t.Listen) == 0 {
		return
	}
	server, err := s.host.CA.Issue(st.plan.Helper.Name, t.Names, t.Addresses)
	if err != nil {
		st.tlsProblem = err
		return
	}
	root, err := s.host.CA.Root()
	if err != nil {
		st.tlsProblem = err
		return
	}
	st.certificate, st.authority = server, root.PEM()
}

// serveAuthority sends the certificate that clients are to trust. It reports
// false when the path is another or there is no HTTPS.
func (x *exchange) serveAuthority() bool {
	if x.path != authorityPath || x.state.certificate == nil {
		return false
	}
	body := x.state.authority
	h := x.w.Header()
	h.Set("Content-Type", "application/x-x509-ca-cert")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.w.WriteHeader(nethttp.StatusOK)
	if x.r.Method != nethttp.MethodHead {
		_, _ = x.w.Write(body) // the writer keeps the error
	}
	return true
}
