package clients_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/rfc1035label"
	"golang.org/x/sys/unix"

	"helperd/internal/netns"
	"helperd/test/rig"
)

// injected is in every text that the hostile machines send.
const injected = "INJECTED"

// hostile are texts for the terminal, the log, the browser and the zone file of who shows them.
var hostile = []string{
	"\x1b]0;" + injected + "\x07\x1b[2J\x1b[31m",
	"a\r\nINJECTED: line",
	`<script>alert("` + injected + `")</script>`,
	"INJECTED\u202egnp.exe\u2028\x00\x7f\x9b2J",
	"INJECTED\xff\xfe\xc0\x80",
	"a.INJECTED; IN A 192.0.2.1 $INCLUDE /etc/shadow",
}

// TestHostileNames: what machines call themselves reaches people as text or not at all, and DNS never.
func TestHostileNames(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "dig", "curl")
	r := rig.New(t, rig.Options{Edit: func(text string) string { return rig.OnlyIPv6(text, "worker-1") }})
	r.Start(t)
	m := client6(t, r.Stranger(t, "52:54:00:aa:00:01"), "eui64")
	before := lookups(t, r)
	leases := map[netip.Addr]bool{}
	for i, text := range hostile {
		leases[hostile4(t, m, byte(i), text)] = true
		leases[hostile6(t, m, byte(i), text)] = true
	}
	leases[hostile4(t, m, 100, "api.ocp4.example.com")] = true // a good name that is somebody else's
	leases[hostile6(t, m, 100, "worker-0.ocp4.example.com")] = true
	if len(leases) != 2*len(hostile)+2 {
		t.Fatalf("%d leases: the machines have not all been heard", len(leases))
	}
	if after := lookups(t, r); after != before {
		t.Errorf("DNS before:\n%s\nand after:\n%s", before, after)
	}
	for a := range leases {
		if got := known(t, r, "-x", a.String()); got != "" {
			t.Errorf("the PTR of pool address %s is %q", a, got)
		}
	}
	outputs := map[string]string{"log": r.Log(), "metrics": r.Metrics(t)}
	for _, args := range [][]string{
		{"leases"},
		{"leases", "--pool", "api"},
		{"events"},
		{"nodes"},
		{"status"},
		{"dhcp", "explain", "52:54:00:aa:00:01", "--client-id", "00" + fmt.Sprintf("%x", hostile[0])},
	} {
		outputs["helperd "+strings.Join(args, " ")] = r.Ask(t, args...)
		for _, format := range []string{"json", "yaml"} {
			outputs["helperd "+strings.Join(args, " ")+" "+format] = r.Ask(t, append(args, "-o", format)...)
		}
	}
	for name, text := range outputs {
		if strings.HasSuffix(name, " json") && !json.Valid([]byte(text)) {
			t.Errorf("%s is not JSON", name)
		}
		harmless(t, name, text)
	}
	if !strings.Contains(outputs["helperd leases --pool api"], "api.ocp4.example.com") {
		t.Errorf("a good name is not shown:\n%s", outputs["helperd leases"])
	}
	visitor := r.Neighbour(t, "52:54:00:cc:00:02", "192.168.67.78")
	for _, path := range []string{"/", "/;csv"} {
		_, body := curl(t, visitor, "http://"+rig.HelperIP+":9000"+path)
		harmless(t, "web UI "+path, strings.ReplaceAll(body, "\u202f", " ")) // between thousands
	}
}

// harmless fails if text moves a cursor, begins a line of its own, or has markup in it.
func harmless(t *testing.T, name, text string) {
	t.Helper()
	if text == "" {
		t.Errorf("%s is empty: nothing is shown", name)
	}
	for _, c := range text {
		if c != '\n' && c != '\t' && !unicode.IsPrint(c) {
			t.Errorf("%s has %U in it:\n%.2000q", name, c, text)
			break
		}
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), injected) {
			t.Errorf("%s has a line that a machine wrote: %q", name, line)
		}
	}
	if strings.Contains(text, "<script>alert") {
		t.Errorf("%s has markup in it", name)
	}
}

// lookups are the names that machines tried to take.
func lookups(t *testing.T, r *rig.Rig) string {
	t.Helper()
	var out []string
	for _, args := range [][]string{
		{"api.ocp4.example.com", "A"},
		{"api.ocp4.example.com", "AAAA"},
		{"worker-0.ocp4.example.com", "A"},
		{"worker-0.ocp4.example.com", "AAAA"},
		{"injected", "A"},
		{"a.injected", "A"},
		{"injected.ocp4.example.com", "A"},
		{"injected.example.com", "A"},
	} {
		out = append(out, fmt.Sprint(args, " ", known(t, r, args...)))
	}
	return strings.Join(out, "\n")
}

func known(t *testing.T, r *rig.Rig, args ...string) string {
	t.Helper()
	out := r.Helper.Run(t, "dig", append([]string{"@" + rig.HelperIP, "+short", "+time=2", "+tries=2"}, args...)...)
	lines := strings.Fields(out)
	slices.Sort(lines)
	return strings.Join(lines, " ")
}

// hostile4 gets a lease of DHCPv4 for a machine of that number that sends text wherever there is room for it.
func hostile4(t *testing.T, m *rig.Machine, number byte, text string) netip.Addr {
	t.Helper()
	c := onLink(t, m, "udp4", 68)
	defer c.Close()
	mac := net.HardwareAddr{2, 0xbb, 0, 0, 0, number}
	name := func(code uint8) dhcpv4.Modifier {
		return dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(code), []byte(text))
	}
	mods := []dhcpv4.Modifier{
		dhcpv4.WithHwAddr(mac), dhcpv4.WithBroadcast(true),
		name(12), name(15), name(60), name(77), name(81), name(124), name(125), dhcpv4.WithGeneric(dhcpv4.OptionClientIdentifier, append([]byte{0}, text...)),
	}
	say := func(kind dhcpv4.MessageType, more ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
		d, err := dhcpv4.New(append(append([]dhcpv4.Modifier{dhcpv4.WithMessageType(kind)}, mods...), more...)...)
		must(t, err)
		for range 10 {
			_, err = c.WriteTo(d.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: 67})
			must(t, err)
			if got := nextAnswer(c, func(b []byte) *dhcpv4.DHCPv4 {
				got, err := dhcpv4.FromBytes(b)
				if err != nil || got.TransactionID != d.TransactionID {
					return nil
				}
				return got
			}); got != nil {
				return got
			}
		}
		t.Fatalf("no answer to the %s of machine %d", kind, number)
		return nil
	}
	offer := say(dhcpv4.MessageTypeDiscover)
	ack := say(dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptServerIdentifier(offer.ServerIdentifier())), dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(offer.YourIPAddr)))
	if ack.MessageType() != dhcpv4.MessageTypeAck {
		t.Fatalf("machine %d got %s", number, ack.Summary())
	}
	a, _ := netip.AddrFromSlice(ack.YourIPAddr.To4())
	return a
}

// hostile6 is hostile4 over IPv6.
func hostile6(t *testing.T, m *rig.Machine, number byte, text string) netip.Addr {
	t.Helper()
	c := onLink(t, m, "udp6", 546)
	defer c.Close()
	d, err := dhcpv6.NewSolicit(net.HardwareAddr{2, 0xbb, 0, 0, 0, number}, dhcpv6.WithRapidCommit)
	must(t, err)
	d.UpdateOption(dhcpv6.OptClientID(&dhcpv6.DUIDEN{EnterpriseNumber: 1, EnterpriseIdentifier: fmt.Appendf(nil, "%d%s", number, text)}))
	d.AddOption(&dhcpv6.OptFQDN{DomainName: &rfc1035label.Labels{Labels: []string{text}}})
	d.AddOption(&dhcpv6.OptVendorClass{EnterpriseNumber: 1, Data: [][]byte{[]byte(text)}})
	d.AddOption(&dhcpv6.OptUserClass{UserClasses: [][]byte{[]byte(text)}})
	for range 20 {
		_, err := c.WriteTo(d.ToBytes(), &net.UDPAddr{IP: net.ParseIP("ff02::1:2"), Port: 547})
		must(t, err)
		got := nextAnswer(c, func(b []byte) *dhcpv6.Message {
			got, err := dhcpv6.MessageFromBytes(b)
			if err != nil || got.TransactionID != d.TransactionID || got.MessageType != dhcpv6.MessageTypeReply {
				return nil
			}
			return got
		})
		if got == nil || got.Options.OneIANA() == nil || got.Options.OneIANA().Options.OneAddress() == nil {
			continue
		}
		a, _ := netip.AddrFromSlice(got.Options.OneIANA().Options.OneAddress().IPv6Addr)
		return a
	}
	t.Fatalf("no lease of IPv6 for machine %d", number)
	return netip.Addr{}
}

// nextAnswer gives the first datagram of the next second that is what is waited for, or nil.
func nextAnswer[T any](c net.PacketConn, parse func([]byte) *T) *T {
	b := make([]byte, 4096)
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	for {
		n, _, err := c.ReadFrom(b)
		if err != nil {
			return nil
		}
		if got := parse(b[:n]); got != nil {
			return got
		}
	}
}

// onLink is a socket of the machine's interface, which needs no address.
func onLink(t *testing.T, m *rig.Machine, network string, port int) net.PacketConn {
	t.Helper()
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		bad := raw.Control(func(fd uintptr) {
			if err = unix.BindToDevice(int(fd), rig.Dev); err == nil {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
			}
		})
		if bad != nil {
			return bad
		}
		return err
	}}
	var c net.PacketConn
	m.Do(t, func() {
		var err error
		c, err = lc.ListenPacket(t.Context(), network, fmt.Sprintf(":%d", port))
		must(t, err)
	})
	return c
}
