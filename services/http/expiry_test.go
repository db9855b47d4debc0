package http

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"testing"
	"time"
)

// certificate is a PEM certificate that ends in d.
func certificate(t testing.TB, d time.Duration) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(d)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func base64URL(s string) string {
	return "data:text/plain;charset=utf-8;base64," + base64.StdEncoding.EncodeToString([]byte(s))
}

// withCert is a pointer configuration as the installer writes it, whose CA ends in d.
func withCert(t testing.TB, d time.Duration) string {
	return fmt.Sprintf(`{"ignition":{"version":"3.2.0","security":{"tls":{"certificateAuthorities":[{"source":%q}]}}}}`, base64URL(certificate(t, d)))
}

func TestExpiry(t *testing.T) {
	file := func(path, source string) string {
		return fmt.Sprintf(`{"ignition":{"version":"3.2.0"},"storage":{"files":[{"path":%q,"contents":{"source":%q}}]}}`, path, source)
	}
	soon, later := certificate(t, time.Hour), certificate(t, 10*time.Hour)
	tests := []struct {
		name, body string
		in         time.Duration // 0: never
		bad        bool
	}{
		{"authority", withCert(t, time.Hour), time.Hour, false},
		{"of the bootstrap machine", file("/opt/openshift/tls/kubelet-signer.crt", base64URL(soon)), time.Hour, false},
		{"the first of a bundle", file("/opt/openshift/tls/bundle.crt", base64URL(later+soon)), time.Hour, false},
		{"percent-encoded", file("/opt/openshift/tls/x.crt", "data:,"+url.PathEscape(soon)), time.Hour, false},
		{"the user's own bundle", file("/opt/openshift/manifests/user-ca.yaml", base64URL(soon)), 0, false},
		{"a key", file("/opt/openshift/tls/x.key", base64URL("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n")), 0, false},
		{"elsewhere", file("/opt/openshift/tls/x.crt", "https://example.com/x.crt"), 0, false},
		{"not base64", file("/opt/openshift/tls/x.crt", "data:;base64,!!!"), 0, false},
		{"none", `{"ignition":{"version":"3.2.0"}}`, 0, false},
		{"specification 2", `{"ignition":{"version":"2.2.0","security":{"tls":{"certificateAuthorities":[{"source":"data:,x"}]}}}}`, 0, false},
		{"no ignition", `{"kind":"List"}`, 0, true},
		{"no JSON", `<html>`, 0, true},
		{"cut off", withCert(t, time.Hour)[:200], 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			end, err := expiry([]byte(tt.body))
			if (err != nil) != tt.bad {
				t.Fatal(err)
			}
			if tt.in == 0 {
				if !end.IsZero() {
					t.Errorf("ends at %v", end)
				}
				return
			}
			if d := time.Until(end); d < tt.in-time.Minute || d > tt.in {
				t.Errorf("ends in %v, want %v", d, tt.in)
			}
		})
	}
}

func FuzzExpiry(f *testing.F) {
	f.Add([]byte(withCert(f, time.Hour)))
	f.Add([]byte(`{"ignition":{"version":"2.2.0"}}`))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = expiry(b) // must not panic
	})
}

// Whatever path comes, what is looked up stays inside and is not hidden.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/", "//a//b/", "/../x", "/a/./b", "/.git", "\\..\\x", "/a\x00", "a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if !safe(p) {
			return
		}
		c := clean(p)
		if c[0] != '/' || !safe(c) || clean(c) != c {
			t.Fatalf("%q leads to %q", p, c)
		}
	})
}
