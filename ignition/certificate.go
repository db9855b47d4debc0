package ignition

import (
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/url"
	"strings"
	"time"
)

// document is what both specifications write alike: where certificates are.
type document struct {
	Ignition struct {
		Version  string
		Security struct {
			TLS struct {
				CertificateAuthorities []resource
			}
		}
	}
	Storage struct {
		Files []struct {
			Path     string
			Contents resource
		}
	}
}

type resource struct{ Compression, Source string }

// installerCerts is where the bootstrap machine has the certificates that the
// installer made. Some live for 24 hours only. Trust bundles of the user's, which
// may hold long expired ones, are elsewhere.
const installerCerts = "/opt/openshift/tls/"

// maxCertificates in bytes bounds what one compressed resource grows to.
const maxCertificates = 1 << 20

// ends is when the first certificate ends: its NotAfter.
func (d *document) ends() (first time.Time) {
	look := func(r resource) {
		for _, c := range r.certificates() {
			if first.IsZero() || c.NotAfter.Before(first) {
				first = c.NotAfter
			}
		}
	}
	for _, ca := range d.Ignition.Security.TLS.CertificateAuthorities {
		look(ca)
	}
	for _, f := range d.Storage.Files {
		if strings.HasPrefix(f.Path, installerCerts) {
			look(f.Contents)
		}
	}
	return first
}

// certificates are those in a data URL (RFC 2397) of PEM blocks; other content has none.
func (r resource) certificates() []*x509.Certificate {
	text := r.content()
	if r.Compression == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(text))
		if err != nil {
			return nil
		}
		text, _ = io.ReadAll(io.LimitReader(z, maxCertificates)) // what is cut off is no PEM
	}
	var out []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			out = append(out, c)
		}
	}
	return out
}

// content is what a data URL carries; nil for every other URL.
func (r resource) content() []byte {
	rest, ok := strings.CutPrefix(r.Source, "data:")
	media, data, comma := strings.Cut(rest, ",")
	if !ok || !comma {
		return nil
	}
	if strings.HasSuffix(media, ";base64") {
		b, _ := base64.StdEncoding.DecodeString(data) // what does not decode is no PEM
		return b
	}
	plain, _ := url.PathUnescape(data)
	return []byte(plain)
}

func dataURL(b []byte) string { return "data:;base64," + base64.StdEncoding.EncodeToString(b) }
