package http

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/url"
	"strings"
	"time"
)

// ignitionFile is what we read of an ignition configuration (specification 3):
// where certificates are.
type ignitionFile struct {
	Ignition struct {
		Version  string
		Security struct {
			TLS struct {
				CertificateAuthorities []struct{ Source string }
			}
		}
	}
	Storage struct {
		Files []struct {
			Path     string
			Contents struct{ Compression, Source string }
		}
	}
}

// installerCerts is where the bootstrap machine has the certificates that the
// installer made. Some live for 24 hours only. Trust bundles of the user's, which
// may hold long expired ones, are elsewhere.
const installerCerts = "/opt/openshift/tls/"

// expiry is when the first certificate of an ignition file ends: its NotAfter, whatever the
// age of the file. It is zero for a file without certificates, and for
// specification 2 (OpenShift 4.5), which is checked as JSON only.
func expiry(body []byte) (time.Time, error) {
	var f ignitionFile
	if err := json.Unmarshal(body, &f); err != nil {
		return time.Time{}, err
	}
	if f.Ignition.Version == "" {
		return time.Time{}, errors.New("ignition.version is missing")
	}
	if strings.HasPrefix(f.Ignition.Version, "2.") {
		return time.Time{}, nil
	}
	var first time.Time
	look := func(source string) {
		for _, c := range certificates(source) {
			if first.IsZero() || c.NotAfter.Before(first) {
				first = c.NotAfter
			}
		}
	}
	for _, ca := range f.Ignition.Security.TLS.CertificateAuthorities {
		look(ca.Source)
	}
	for _, file := range f.Storage.Files {
		if strings.HasPrefix(file.Path, installerCerts) && file.Contents.Compression == "" {
			look(file.Contents.Source)
		}
	}
	return first, nil
}

// certificates are those in a data URL (RFC 2397) of PEM blocks; other content has none.
func certificates(source string) []*x509.Certificate {
	media, data, ok := strings.Cut(strings.TrimPrefix(source, "data:"), ",")
	if !ok || !strings.HasPrefix(source, "data:") {
		return nil
	}
	var text []byte
	if strings.HasSuffix(media, ";base64") {
		text, _ = base64.StdEncoding.DecodeString(data) // what does not decode is no PEM
	} else {
		plain, _ := url.PathUnescape(data)
		text = []byte(plain)
	}
	var out []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			out = append(out, c)
		}
	}
	return out
}
