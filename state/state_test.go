package state

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"helperd/plan"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLeasesSurvive(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	want := []Lease{
		{Address: netip.MustParseAddr("10.0.0.9"), MAC: plan.MAC{1, 2, 3, 4, 5, 6}, ClientID: []byte{0, 255}, Hostname: "x", Expires: time.Unix(1e9, 0), State: Bound},
		{Address: netip.MustParseAddr("10.0.0.10"), MAC: plan.MAC{6}, Expires: time.Unix(2e9, 0), State: Declined},
		{Address: netip.MustParseAddr("10.0.0.11"), MAC: plan.MAC{7}, ClientID: make([]byte, 255), Hostname: strings.Repeat("h", 255), Expires: time.Unix(2e9, 0), State: Bound},
	}
	gone := Lease{Address: netip.MustParseAddr("10.0.0.12"), State: Bound, Expires: time.Unix(1, 0)}
	if err := s.CommitLeases(append(want, gone), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.CommitLeases(nil, []netip.Addr{gone.Address}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	got, err := s.Leases()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Error(d)
	}
}

func TestDamagedLeaseIsNamed(t *testing.T) {
	for _, v := range [][]byte{nil, make([]byte, 16), append(make([]byte, 15), 200, 1, 2)} {
		if _, err := decodeLease([]byte{10, 0, 0, 1}, v); err == nil || !strings.Contains(err.Error(), "10.0.0.1") {
			t.Errorf("%d bytes: err = %v", len(v), err)
		}
	}
}

func TestSerialRises(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	now := time.Unix(1_800_000_000, 0)
	var last uint32
	for i, at := range []time.Time{now, now, now.Add(-time.Hour), now.Add(time.Hour)} {
		got, err := s.NextSerial(at)
		if err != nil || got <= last {
			t.Fatalf("call %d: serial %d after %d, %v", i, got, last, err)
		}
		last = got
	}
	s.Close()
	fresh := open(t, t.TempDir()) // the state was lost
	defer fresh.Close()
	if got, _ := fresh.NextSerial(now.Add(2 * time.Hour)); got <= last {
		t.Errorf("serial %d after %d with new state", got, last)
	}
}

func TestSecondDaemonIsRefused(t *testing.T) {
	dir := t.TempDir()
	defer open(t, dir).Close()
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "another helperd") {
		t.Errorf("err = %v", err)
	}
}

func TestLastGood(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	if b, err := s.LastGood(); err != nil || len(b) != 0 {
		t.Errorf("new store has %q, %v", b, err)
	}
	if err := s.SetLastGood([]byte("version: 1")); err != nil {
		t.Fatal(err)
	}
	if b, _ := s.LastGood(); string(b) != "version: 1" {
		t.Errorf("got %q", b)
	}
}

func TestNodesSurvive(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for name, text := range map[string]string{"a.example.com": "1", "b.example.com": "2"} {
		if err := s.PutNodes(map[string][]byte{name: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PutNodes(map[string][]byte{"a.example.com": []byte("3")}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir)
	defer s.Close()
	got, err := s.Nodes()
	if d := cmp.Diff(map[string][]byte{"a.example.com": []byte("3"), "b.example.com": []byte("2")}, got); err != nil || d != "" {
		t.Errorf("%v\n%s", err, d)
	}
}

func TestOrdersSurviveUntilForgotten(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, orders := range []map[string][]byte{
		{"api/m0": []byte("1"), "api/m1": []byte("2")},
		{"api/m0": nil, "api/m1": []byte("3"), "api/m2": nil},
	} {
		if err := s.PutOrders(orders); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	s = open(t, dir)
	defer s.Close()
	got, err := s.Orders()
	if d := cmp.Diff(map[string][]byte{"api/m1": []byte("3")}, got); err != nil || d != "" {
		t.Errorf("%v\n%s", err, d)
	}
}
