package ignition

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"
)

var today = time.Unix(1_800_000_000, 0).UTC()

// certificate is a PEM certificate that ends d after today.
func certificate(t testing.TB, d time.Duration) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: today.Add(-48 * time.Hour), NotAfter: today.Add(d)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// withCert is a pointer configuration as the installer writes it, whose CA ends d after today.
func withCert(t testing.TB, d time.Duration) string {
	return fmt.Sprintf(`{"ignition":{"version":"3.2.0","security":{"tls":{"certificateAuthorities":[{"source":%q}]}}}}`, base64Of(certificate(t, d)))
}

func base64Of(s string) string {
	return "data:text/plain;charset=utf-8;base64," + base64.StdEncoding.EncodeToString([]byte(s))
}

func TestEnds(t *testing.T) {
	file := func(path, source string) string {
		return fmt.Sprintf(`{"ignition":{"version":"3.2.0"},"storage":{"files":[{"path":%q,"contents":{"source":%q}}]}}`, path, source)
	}
	soon, later := certificate(t, time.Hour), certificate(t, 10*time.Hour)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(later + soon))
	_ = z.Close()
	tests := []struct {
		name, body string
		in         time.Duration // 0: never
	}{
		{"authority", withCert(t, time.Hour), time.Hour},
		{"of the bootstrap machine", file("/opt/openshift/tls/kubelet-signer.crt", base64Of(soon)), time.Hour},
		{"the first of a bundle", file("/opt/openshift/tls/bundle.crt", base64Of(later+soon)), time.Hour},
		{"compressed", strings.Replace(file("/opt/openshift/tls/x.crt", base64Of(zipped.String())), `"contents":{`, `"contents":{"compression":"gzip",`, 1), time.Hour},
		{"compressed, and it is not", strings.Replace(file("/opt/openshift/tls/x.crt", base64Of(soon)), `"contents":{`, `"contents":{"compression":"gzip",`, 1), 0},
		{"percent-encoded", file("/opt/openshift/tls/x.crt", "data:,"+url.PathEscape(soon)), time.Hour},
		{"the user's own bundle", file("/opt/openshift/manifests/user-ca.yaml", base64Of(soon)), 0},
		{"a key", file("/opt/openshift/tls/x.key", base64Of("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n")), 0},
		{"elsewhere", file("/opt/openshift/tls/x.crt", "https://example.com/x.crt"), 0},
		{"none", `{"ignition":{"version":"3.2.0"}}`, 0},
		{"specification 2", strings.Replace(withCert(t, time.Hour), "3.2.0", "2.2.0", 1), time.Hour},
		{"specification 2, and what 3 does not know", `{"ignition":{"version":"2.2.0","config":{"append":[{"source":"http://x"}]}},"storage":{"files":[{"filesystem":"root","path":"/x"}]}}`, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if want := today.Add(tt.in); tt.in == 0 && !c.Ends.IsZero() || tt.in != 0 && !c.Ends.Equal(want) {
				t.Errorf("ends at %v, want %v", c.Ends, want)
			}
		})
	}
}

// Every version that an installer has written is read.
func TestVersions(t *testing.T) {
	for _, v := range []string{"2.0.0", "2.2.0", "2.4.0", "3.0.0", "3.1.0", "3.2.0", "3.3.0", "3.4.0", "3.5.0"} {
		if c, err := Parse([]byte(`{"ignition":{"version":"` + v + `"}}`)); err != nil || c.Version != v {
			t.Errorf("%s: %+v, %v", v, c, err)
		}
	}
}

// What is wrong is said with its place, and without the secrets beside it.
func TestMistakes(t *testing.T) {
	const secret = "hunter2hunter2"
	tests := []struct{ name, body, says string }{
		{"no JSON", "<html>" + secret, "line 1, column 1: invalid character"},
		{"cut off", "{\n\"ignition\": {\"version\": \"3.2.0\"", "line 2, column 31: unexpected end"},
		{"a list", "[]", "line 1"},
		{"no ignition file", `{"kind":"` + secret + `"}`, "ignition.version is missing"},
		{"a version that is none", `{"ignition":{"version":"three"}}`, "none that helperd knows"},
		{"a version of the future", `{"ignition":{"version":"9.1.0"}}`, "none that helperd knows"},
		{"a word for a number", "{\n \"ignition\": {\"version\": \"3.2.0\"},\n \"storage\": {\"files\": [{\"path\": \"/x\", \"mode\": \"" + secret + "\"}]}}", "line 3, column"},
		{"a relative path", "{\n \"ignition\": {\"version\": \"3.2.0\"},\n \"storage\": {\"files\": [{\"path\": \"x\"}]}}", "line 3, column 33, $.storage.files.0.path: path not absolute"},
		{"a path twice", `{"ignition":{"version":"3.2.0"},"storage":{"files":[{"path":"/x"},{"path":"/x"}]}}`, "$.storage.files.1"},
		{"a broken URL", `{"ignition":{"version":"3.2.0"},"storage":{"files":[{"path":"/x","contents":{"source":"data:,` + secret + `%zz"}}]}}`, "$.storage.files.0.contents.source"},
		{"a hash that is none", `{"ignition":{"version":"3.2.0"},"passwd":{"users":[{"name":"` + secret + `","sshAuthorizedKeys":7}]}}`, "line 1, column"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.body))
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("err = %v, want %q", err, tt.says)
			}
			if strings.Contains(err.Error(), "hunter") || len(err.Error()) > 400 {
				t.Errorf("the error shows the file: %v", err)
			}
		})
	}
}

// No message of the library shows content today; one that does must not pass it on.
func TestRedacted(t *testing.T) {
	for message, want := range map[string]string{
		`parse "data:,hunter2": bad escape "%zz"`: `parse "...": bad escape "..."`,
		`found "hunter2 and no end`:               `found "..."`,
		strings.Repeat("x", 300):                  strings.Repeat("x", 200),
	} {
		if got := redacted(message); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(withCert(f, time.Hour)))
	f.Add([]byte(`{"ignition":{"version":"2.2.0"}}`))
	f.Add([]byte(`{"ignition":{"version":"3.2.0","config":{"merge":[{"source":"https://x/y"}]}},"storage":{"files":[{"path":"/opt/openshift/tls/a","contents":{"source":"data:;base64,AAAA","compression":"gzip"}}]}}`))
	f.Add([]byte(`{"ignition":{"version":"3.4.0"},"storage":{"luks":[{"name":"x","clevis":{"tpm2":true}}]},"systemd":{"units":[{"name":"x.service","contents":"[Unit]"}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b) // must not panic
		if err == nil && c.Version == "" {
			t.Error("a file without a version is sound")
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("the error has two lines: %q", err)
		}
	})
}
