package ra

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/mdlayher/ndp"

	"helperd/internal/netif"
	"helperd/plan"
)

var discard = slog.New(slog.DiscardHandler)

// RFC 4861 sections 6.1.1 and 6.1.2.
func TestParse(t *testing.T) {
	const (
		rs  = "\x85\x00\x00\x00\x00\x00\x00\x00"
		ra  = "\x86\x00\x00\x00\x40\xc0\x07\x08\x00\x00\x00\x00\x00\x00\x00\x00"
		lla = "\x01\x01\x02\x00\x00\x00\x00\x07"
		pio = "\x03\x04\x40\xc0\x00\x00\x0e\x10\x00\x00\x0e\x10\x00\x00\x00\x00\xfd\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
		// Preference 10 is reserved: the library refuses a message with such a route, machines do without the option.
		badRoute = "\x18\x01\x00\x10\x00\x00\x00\x00"
		longDNS  = "\x19\x21"
	)
	for _, c := range []struct {
		name string
		b    string
		hops int
		from string
		want string // "", "rs" or "ra", with the MAC and the number of options
	}{
		{"solicitation", rs, 255, "fe80::9", "rs 00:00:00:00:00:00 0"},
		{"solicitation with a MAC", rs + lla, 255, "fe80::9", "rs 02:00:00:00:00:07 1"},
		{"solicitation without an address", rs, 255, "::", "rs 00:00:00:00:00:00 0"},
		{"solicitation without an address, with a MAC", rs + lla, 255, "::", ""},
		{"from beyond a router", rs, 254, "fe80::9", ""},
		{"too short", rs[:7], 255, "fe80::9", ""},
		{"other code", "\x85\x01" + rs[2:], 255, "fe80::9", ""},
		{"option of length zero", rs + "\x01\x00\x00\x00\x00\x00\x00\x00", 255, "fe80::9", ""},
		{"option beyond the end", rs + "\x01\x02\x00\x00\x00\x00\x00\x00", 255, "fe80::9", ""},
		{"half an option", rs + "\x01", 255, "fe80::9", ""},
		{"unknown option", rs + "\xee\x01\x00\x00\x00\x00\x00\x00" + lla, 255, "fe80::9", "rs 02:00:00:00:00:07 1"},
		{"advertisement", ra + lla + pio, 255, "fe80::9", "ra 02:00:00:00:00:07 2"},
		{"advertisement whose address tells the MAC", ra, 255, "fe80::5054:ff:fe00:1", "ra 52:54:00:00:00:01 0"},
		{"advertisement of a global address", ra, 255, "fd00:7::1", ""},
		{"advertisement of nobody", ra, 255, "::", ""},
		{"advertisement from beyond a router", ra, 64, "fe80::9", ""},
		{"advertisement too short", ra[:12], 255, "fe80::9", ""},
		{"advertisement with an option that makes no sense", ra + badRoute + pio, 255, "fe80::9", "ra 00:00:00:00:00:00 1"},
		{"advertisement with 16 name servers", ra + longDNS + strings.Repeat("\x00", 0x21*8-2) + pio, 255, "fe80::9", "ra 00:00:00:00:00:00 1"},
		{"prefix of 200 bits", ra + pio[:2] + "\xc8" + pio[3:], 255, "fe80::9", "ra 00:00:00:00:00:00 1"},
		{"neighbour solicitation", "\x87" + rs[1:], 255, "fe80::9", ""},
		{"nothing", "", 255, "fe80::9", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := parse([]byte(c.b), c.hops, netip.MustParseAddr(c.from).WithZone("eth0"))
			got := ""
			switch {
			case err != nil:
			case m.ra != nil:
				got = fmt.Sprintf("ra %s %d", m.mac, len(m.ra.Options))
			default:
				got = fmt.Sprintf("rs %s %d", m.mac, strings.Count(c.b, lla))
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// Whatever comes, the link goes on, and what it keeps of others is bounded.
func FuzzReceive(f *testing.F) {
	for _, m := range []ndp.Message{
		&ndp.RouterSolicitation{Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: otherMAC[:]}}},
		&ndp.RouterAdvertisement{RouterLifetime: routerLifetime, Options: []ndp.Option{ndp.NewMTU(1400), onLink(lan, 1, 1), route(lan, 1), &ndp.RecursiveDNSServer{Servers: []netip.Addr{helper}}, &ndp.DNSSearchList{DomainNames: []string{"example.com"}}}},
	} {
		b, err := ndp.MarshalMessage(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, 255, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, hops int, local bool) {
		from := netip.IPv6Unspecified()
		if local {
			from = other
		}
		m, err := parse(b, hops, from)
		if err != nil {
			return
		}
		if hops != 255 || m.ra != nil && !local {
			t.Error("it was taken")
		}
		if m.ra == nil {
			return
		}
		var r router
		r.hear(&m, begin)
		e := expectation{content: content{managed: true, mtu: 1400, prefixes: []netip.Prefix{lan}}}
		if text := strings.Join(r.wrong(&e), "") + r.says() + r.who(); len(r.prefixes) > maxPrefixes || len(text) > 4096 || strings.ContainsAny(text, "\x1b\n") {
			t.Errorf("it became %q", text)
		}
	})
}

// An advertisement fits into the smallest packet that a link may be limited to, and ndp can write it.
func TestMessageFits(t *testing.T) {
	for n := range 60 {
		var c content
		for k := range n {
			c.search = append(c.search, fmt.Sprintf("cluster-%02d.of-a-site-with-a-long-name.example.com", k))
			c.dns = append(c.dns, neighbour(k))
		}
		c.prefixes = []netip.Prefix{lan}
		m, left := c.message(content{}, ownMAC)
		b, err := ndp.MarshalMessage(m)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 1240 {
			t.Errorf("%d names make %d bytes", n, len(b))
		}
		if left > 0 && n < 10 || left == 0 && n > 40 {
			t.Errorf("%d names: no room for %d options", n, left)
		}
		if _, err := ndp.ParseMessage(b); err != nil {
			t.Errorf("%d names: %v", n, err)
		}
	}
}

func TestResolve(t *testing.T) {
	r := &plan.RA{Networks: []plan.Advertisement{{Prefix: lan}, {Prefix: second, Interface: "eth0"}, {Prefix: netip.MustParsePrefix("fd00:9::/64"), Interface: "eth9"}, {Prefix: netip.MustParsePrefix("fd00:a::/64")}, {Prefix: netip.MustParsePrefix("fd00:b::/64"), Interface: "eth1"}}}
	down := netif.Interface{Name: "eth1", Index: 3}
	places, missing := resolve(r, []netif.Interface{*eth0(helper), down})
	if len(places) != 1 || len(places[0].networks) != 2 || len(missing) != 3 {
		t.Fatalf("places %v, missing %q", places, missing)
	}
	for k, want := range []string{"interface eth9 of network fd00:9::/64 is not there", "no interface has an address in network fd00:a::/64", "interface eth1 of network fd00:b::/64 is down"} {
		if !strings.Contains(missing[k], want) {
			t.Errorf("missing %q, want %q", missing[k], want)
		}
	}
}
