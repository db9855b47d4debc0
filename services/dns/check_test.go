package dns

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"helperd/internal/netns"
	"helperd/plan"
)

// TestCheckOfLargeSet: a first name whose records need TCP is no fault.
func TestCheckOfLargeSet(t *testing.T) {
	r := newRig(t)
	p := r.plan()
	p.DNS.Zones = nil
	p.DNS.Names = []plan.Record{{Name: "big.lab.test.", Type: "TXT", TTL: 300, Data: strings.Repeat(`"`+strings.Repeat("x", 200)+`" `, 4)}}
	r.apply(p)
	r.ask("udp", "", "big.lab.test.", dns.TypeTXT)
	if err := r.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestCheckWithoutAddress: an address that is not here, or whose link is down, cannot
// be asked. That is no reason to go back to an older configuration.
func TestCheckWithoutAddress(t *testing.T) {
	ns := netns.New(t)
	ns.IP(t, "link", "add", "late0", "type", "veth", "peer", "name", "late1")
	ns.Do(t, func() {
		r := newRig(t)
		p := r.plan()
		p.DNS.Listen = []netip.AddrPort{netip.MustParseAddrPort("10.9.9.1:5300"), netip.MustParseAddrPort("[fd00:9::1]:5300")}
		r.apply(p)
		for _, step := range []string{
			"", "address add 10.9.9.1/24 dev late0", "address add fd00:9::1/64 dev late0 nodad",
			"link set late0 up", "route flush dev late0", "link set late0 down",
		} {
			if step != "" {
				ns.IP(t, strings.Fields(step)...)
			}
			if err := r.Check(t.Context()); err != nil {
				t.Errorf("after %q: %v", step, err)
			}
		}
	})
}

// TestCheckWithoutDescriptors: a machine without descriptors cannot ask.
func TestCheckWithoutDescriptors(t *testing.T) {
	r := newRig(t)
	r.apply(r.plan())
	r.ask("udp", "", "helper.ocp4.example.com.", dns.TypeA)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	few := before
	few.Cur = 3
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	err := r.Check(t.Context())
	if e := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); e != nil {
		t.Fatal(e)
	}
	if err != nil {
		t.Error(err)
	}
}

// TestHelperMayRecurse: the helper asks itself at its own address, whatever dns.allow says.
func TestHelperMayRecurse(t *testing.T) {
	st := newState()
	st.plan.Listen = []netip.AddrPort{netip.MustParseAddrPort("192.168.67.2:53"), netip.MustParseAddrPort("[fd00::2]:53")}
	st.plan.Allow = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for addr, want := range map[string]bool{
		"192.168.67.2": true, "fd00::2": true, "10.1.2.3": true, "127.0.0.1": true, "::1": true,
		"192.168.67.3": false, "fd00::3": false, "::ffff:11.0.0.1": false,
	} {
		if got := st.allowed(netip.MustParseAddr(addr)); got != want {
			t.Errorf("allowed(%s) = %t", addr, got)
		}
	}
}
