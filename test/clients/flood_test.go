package clients_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"helperd/internal/netns"
	"helperd/test/rig"
)

// seeds are messages of all kinds that clients send, by port. What is sent is never quite one of them.
func seeds(t *testing.T) map[int][][]byte {
	t.Helper()
	out := map[int][][]byte{}
	for typ := dhcpv4.MessageTypeDiscover; typ <= dhcpv4.MessageTypeInform; typ++ {
		for _, relay := range []net.IP{nil, net.IPv4(192, 168, 67, 78)} {
			d, err := dhcpv4.New(dhcpv4.WithHwAddr(net.HardwareAddr{2, 0, 0, 0, 0, 1}), dhcpv4.WithMessageType(typ), dhcpv4.WithClientIP(net.IPv4(192, 168, 67, 120)),
				dhcpv4.WithRelay(relay), dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(192, 168, 67, 120))), dhcpv4.WithOption(dhcpv4.OptHostName("flood")),
				dhcpv4.WithGeneric(dhcpv4.OptionRelayAgentInformation, []byte("\x01\x04port\x05\x04\xc0\xa8\x43\x01")),
				dhcpv4.WithGeneric(dhcpv4.OptionClientSystemArchitectureType, []byte{0, 7}), dhcpv4.WithGeneric(dhcpv4.OptionClassIdentifier, []byte("PXEClient:Arch:00007")))
			must(t, err)
			out[67] = append(out[67], d.ToBytes())
		}
	}
	for typ := dhcpv6.MessageTypeSolicit; typ <= dhcpv6.MessageTypeInformationRequest; typ++ {
		m, err := dhcpv6.NewSolicit(net.HardwareAddr{2, 0, 0, 0, 0, 1}, dhcpv6.WithFQDN(0, "flood"), dhcpv6.WithArchType(7))
		must(t, err)
		m.MessageType = typ
		out[547] = append(out[547], m.ToBytes())
		relayed, err := dhcpv6.EncapsulateRelay(m, dhcpv6.MessageTypeRelayForward, net.ParseIP("fd00:67::1"), net.ParseIP("fe80::1"))
		must(t, err)
		out[547] = append(out[547], relayed.ToBytes())
	}
	for _, first := range []byte{0x1b, 0x23, 0xe3, 0x16, 0x17} { // versions 3 and 4, and modes 6 and 7
		out[123] = append(out[123], append([]byte{first, 0, 6, 0xec}, make([]byte, 44)...))
	}
	return out
}

// mutate gives seed with a few things done to it.
func mutate(r *rand.Rand, seed []byte) []byte {
	b := append([]byte(nil), seed...)
	for range 1 + r.IntN(4) {
		if len(b) == 0 {
			return b
		}
		at := r.IntN(len(b))
		switch r.IntN(6) {
		case 0: // flip a bit
			b[at] ^= 1 << r.IntN(8)
		case 1:
			b[at] = []byte{0, 1, 0x7f, 0x80, 0xff}[r.IntN(5)]
		case 2: // cut
			b = b[:at]
		case 3: // longer
			b = append(b, make([]byte, r.IntN(600))...)
		case 4: // a part twice
			b = append(b[:at:at], append(append([]byte(nil), b[at/2:at]...), b[at:]...)...)
		case 5: // another client
			for i := 28; i < 34 && i < len(b); i++ {
				b[i] = byte(r.Uint32())
			}
		}
	}
	return b[:min(len(b), 1472)]
}

// flood sends count mutated datagrams to each port.
func flood(t *testing.T, m *rig.Machine, count int, seed uint64) {
	t.Helper()
	ifi := ""
	conns := map[int]net.PacketConn{}
	m.Do(t, func() {
		for port := range seeds(t) {
			network := "udp4"
			if port == 547 {
				network, ifi = "udp6", rig.Dev
			}
			c, err := net.ListenPacket(network, fmt.Sprintf(":%d", map[int]int{67: 67, 547: 546, 123: 0}[port]))
			must(t, err)
			conns[port] = c
		}
		ifs, err := net.InterfaceByName(ifi)
		must(t, err)
		ifi = strconv.Itoa(ifs.Index)
	})
	to := map[int]net.Addr{
		67:  net.UDPAddrFromAddrPort(netip.MustParseAddrPort(rig.HelperIP + ":67")),
		123: net.UDPAddrFromAddrPort(netip.MustParseAddrPort(rig.HelperIP + ":123")),
		547: &net.UDPAddr{IP: net.ParseIP("ff02::1:2"), Port: 547, Zone: ifi},
	}
	all, rnd := seeds(t), rand.New(rand.NewPCG(seed, seed))
	for i := range count {
		for port, c := range conns {
			if _, err := c.WriteTo(mutate(rnd, all[port][rnd.IntN(len(all[port]))]), to[port]); err != nil {
				t.Fatalf("port %d: %v", port, err)
			}
		}
		if i%20 == 0 {
			time.Sleep(3 * time.Millisecond)
		}
	}
	for _, c := range conns {
		_ = c.Close()
	}
}

// resident gives the memory of the daemon in KiB.
func resident(t *testing.T, r *rig.Rig) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.PID()))
	must(t, err)
	n, err := strconv.Atoi(string(regexp.MustCompile(`VmRSS:\s+(\d+)`).FindSubmatch(status)[1]))
	must(t, err)
	return n
}

// Mutated datagrams on every port that strangers reach by UDP end nothing, take
// no memory, and disturb no other service.
func TestFlood(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "dig", "curl")
	count := 4000
	if n, err := strconv.Atoi(os.Getenv("HELPERD_FLOOD")); err == nil {
		count = n
	}
	r := rig.New(t, rig.Options{Edit: func(text string) string { return rig.OnlyIPv6(text, "worker-1") }})
	r.Start(t)
	pid := r.PID()
	attacker := client6(t, r.Neighbour(t, "52:54:00:cc:00:02", "192.168.67.78"), "eui64")
	node := r.Machine(t, "worker-0")

	flood(t, attacker, count/3, 1) // tables and pools of memory fill up to their bounds
	before := resident(t, r)
	var others sync.WaitGroup
	done := make(chan struct{})
	asked, slowest := 0, time.Duration(0)
	others.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
			}
			for _, cmd := range [][]string{
				{"dig", "+short", "+tries=1", "+time=3", "@" + rig.HelperIP, "api." + rig.Zone},
				{"curl", "-sS", "-m", "3", "-o", "/dev/null", "-w", "%{http_code}", "http://" + rig.HelperIP + ":8080/boot/" + node.Node.MAC + "/ipxe"},
			} {
				start := time.Now()
				out, err := node.Exec(cmd[0], cmd[1:]...).CombinedOutput()
				if err != nil {
					t.Errorf("%s meanwhile: %v: %s", cmd[0], err, out)
				}
				asked, slowest = asked+1, max(slowest, time.Since(start))
			}
		}
	})
	flood(t, attacker, count, 2)
	close(done)
	others.Wait()
	after := resident(t, r)
	counted := map[string]uint64{}
	for _, s := range r.Status(t).Services {
		for _, n := range s.Counters {
			counted[s.Name] += n
		}
		if s.Name == "dhcp" || s.Name == "dhcp6" || s.Name == "ntp" {
			if counted[s.Name] < uint64(count)/2 {
				t.Errorf("%s saw %v of %d datagrams: that proves nothing", s.Name, s.Counters, count)
			}
		}
	}
	t.Logf("%d datagrams to each of 3 ports, counted %v; memory %d KiB before, %d after; %d questions to others, the slowest %s", count, counted, before, after, asked, slowest)
	if r.PID() != pid || strings.Contains(r.Log(), "panic") {
		t.Errorf("helperd did not get through:\n%s", r.Log())
	}
	if after > before+16<<10 {
		t.Errorf("memory went from %d KiB to %d", before, after)
	}
	if asked < 4 {
		t.Errorf("only %d questions to others", asked)
	}
}
