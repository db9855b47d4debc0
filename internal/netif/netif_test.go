package netif_test

import (
	"net/netip"
	"strings"
	"testing"

	"helperd/internal/netif"
	"helperd/internal/netns"
)

func TestList(t *testing.T) {
	ns, other := netns.New(t), netns.New(t)
	netns.Link(t, ns, other, "192.0.2.2/24", "")
	ns.Up(t, "eth0", "fd00::2/64")
	ns.IP(t, "link", "add", "down0", "type", "veth", "peer", "name", "down1")
	var list []netif.Interface
	ns.Do(t, func() {
		var err error
		if list, err = netif.List(); err != nil {
			t.Fatal(err)
		}
	})
	eth0 := netif.At(list, "eth0", netip.Prefix{})
	if eth0 == nil || !eth0.Up || !eth0.Carrier || eth0.MAC == [6]byte{} {
		t.Fatalf("eth0 is %+v", eth0)
	}
	for _, p := range []string{"192.0.2.0/24", "fd00::/64"} {
		if i := netif.At(list, "", netip.MustParsePrefix(p)); i != eth0 {
			t.Errorf("%s is on %+v", p, i)
		}
		if i := netif.At(list, "down0", netip.MustParsePrefix(p)); i == nil || i.Name != "down0" || i.Up || !strings.Contains(i.Lacks6(), "no link;") {
			t.Errorf("down0 is %+v", i)
		}
	}
	if i := netif.At(list, "", netip.MustParsePrefix("198.51.100.0/24")); i != nil {
		t.Errorf("a strange network is on %+v", i)
	}
	for _, a := range []string{"192.0.2.2", "fd00::2"} {
		if i := netif.Holding(list, netip.MustParseAddr(a)); i != eth0 {
			t.Errorf("%s is on %+v", a, i)
		}
	}
}

func TestLacks6(t *testing.T) {
	i := netif.Interface{Name: "eth0", Carrier: true, Addrs: []netip.Addr{netip.MustParseAddr("169.254.1.1"), netip.MustParseAddr("fd00::2")}}
	if got := i.Lacks6(); !strings.Contains(got, "disable_ipv6") {
		t.Errorf("got %q", got)
	}
	i.Addrs = append(i.Addrs, netip.MustParseAddr("fe80::1"))
	if got := i.Lacks6(); got != "" {
		t.Errorf("got %q", got)
	}
}
