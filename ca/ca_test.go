package ca_test

import (
	"crypto/x509"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helperd/ca"
)

var (
	names = []string{"helper", "helper.ocp4.example.com"}
	addrs = []netip.Addr{netip.MustParseAddr("192.168.67.2"), netip.MustParseAddr("fd00::2")}
)

func leaf(t *testing.T, s *ca.Server) *x509.Certificate {
	t.Helper()
	c, err := s.Certificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf
}

func roots(t *testing.T, a *ca.Authority) *x509.CertPool {
	t.Helper()
	r, err := a.Root()
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(r.PEM()) {
		t.Fatalf("no certificate in %s", r.PEM())
	}
	return pool
}

func TestIssue(t *testing.T) {
	dir := t.TempDir()
	a := ca.New(dir, time.Now)
	if _, err := a.Root(); !errors.Is(err, ca.ErrNone) {
		t.Errorf("before: %v", err)
	}
	s, err := a.Issue("helper", names, addrs)
	if err != nil {
		t.Fatal(err)
	}
	c := leaf(t, s)
	for _, name := range []string{"helper", "helper.ocp4.example.com", "192.168.67.2", "[fd00::2]"} {
		if _, err := c.Verify(x509.VerifyOptions{Roots: roots(t, a), DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Verify(x509.VerifyOptions{Roots: roots(t, a), DNSName: "other"}); err == nil {
		t.Error("it is good for another name")
	}
	if days := c.NotAfter.Sub(c.NotBefore).Hours() / 24; days > 398 {
		t.Errorf("it lives for %v days", days)
	}
	st, err := os.Stat(filepath.Join(dir, "ca.pem"))
	if err != nil || st.Mode() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	r, _ := a.Root()
	if r.Subject() != "CN=helperd CA of helper" || len(r.Fingerprint()) != 64 || time.Until(r.NotAfter()) < 9*365*24*time.Hour {
		t.Errorf("%s, %s, %s", r.Subject(), r.Fingerprint(), r.NotAfter())
	}
	// After a restart it is the same.
	again := ca.New(dir, time.Now)
	if _, err := again.Issue("renamed", names, addrs); err != nil {
		t.Fatal(err)
	}
	if r2, _ := again.Root(); r2.Fingerprint() != r.Fingerprint() {
		t.Error("the authority is another one after a restart")
	}
}

func TestRenewal(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a := ca.New(t.TempDir(), func() time.Time { return now })
	s, err := a.Issue("helper", names, addrs)
	if err != nil {
		t.Fatal(err)
	}
	first := leaf(t, s)
	now = now.Add(200 * 24 * time.Hour)
	if leaf(t, s) != first {
		t.Error("renewed after half of its life")
	}
	now = now.Add(100 * 24 * time.Hour)
	second := leaf(t, s)
	if second == first || !second.NotAfter.After(first.NotAfter) {
		t.Error("not renewed after three quarters of its life")
	}
	// Never beyond the authority, and when that has expired a reload says so.
	now = now.Add(9 * 365 * 24 * time.Hour)
	r, _ := a.Root()
	if last := leaf(t, s); last.NotAfter.After(r.NotAfter()) {
		t.Errorf("until %s, beyond the authority", last.NotAfter)
	}
	now = now.Add(365 * 24 * time.Hour)
	if _, err := a.Issue("helper", names, addrs); err == nil || !strings.Contains(err.Error(), "expired on") {
		t.Errorf("expired: %v", err)
	}
}

func TestBrokenFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := ca.New(dir, time.Now).Issue("helper", names, nil); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "ca.pem")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if _, err := ca.New(other, time.Now).Issue("helper", names, nil); err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(filepath.Join(other, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	key := strings.Index(string(good), "-----BEGIN PRIVATE")
	foreignKey := strings.Index(string(foreign), "-----BEGIN PRIVATE")
	for name, content := range map[string]string{
		"empty":         "",
		"no key":        string(good[:key]),
		"no root":       string(good[key:]),
		"foreign key":   string(good[:key]) + string(foreign[foreignKey:]),
		"not readable":  strings.Replace(string(good), "M", "!", 5),
		"another thing": "hello",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ca.New(dir, time.Now).Issue("helper", names, nil); err == nil || !strings.Contains(err.Error(), "move it away") {
			t.Errorf("%s: %v", name, err)
		}
		if b, _ := os.ReadFile(file); string(b) != content {
			t.Errorf("%s: the file was overwritten", name)
		}
	}
	if _, err := ca.New(filepath.Join(dir, "nowhere"), time.Now).Issue("helper", names, nil); err == nil {
		t.Error("made in a folder that is not there")
	}
}
