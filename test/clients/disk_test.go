package clients_test

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"helperd/internal/netns"
	"helperd/services"
	"helperd/test/rig"
)

// solicit asks for an address at once (rapid commit) and gives the Reply, or nil.
func solicit(t *testing.T, m *rig.Machine, patience time.Duration) (reply *dhcpv6.Message) {
	t.Helper()
	mac, err := net.ParseMAC(m.Node.MAC)
	must(t, err)
	ask, err := dhcpv6.NewSolicit(mac, dhcpv6.WithRapidCommit, dhcpv6.WithClientID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: mac}))
	must(t, err)
	m.Do(t, func() {
		ifi, err := net.InterfaceByName(rig.Dev)
		must(t, err)
		c, err := net.ListenUDP("udp6", &net.UDPAddr{Port: dhcpv6.DefaultClientPort})
		must(t, err)
		defer c.Close()
		b := make([]byte, 2048)
		for end := time.Now().Add(patience); time.Now().Before(end); {
			_, err = c.WriteTo(ask.ToBytes(), &net.UDPAddr{IP: dhcpv6.AllDHCPRelayAgentsAndServers, Port: dhcpv6.DefaultServerPort, Zone: strconv.Itoa(ifi.Index)})
			must(t, err)
			must(t, c.SetReadDeadline(time.Now().Add(500*time.Millisecond)))
			n, _, err := c.ReadFromUDP(b)
			if err != nil {
				continue
			}
			if m, err := dhcpv6.MessageFromBytes(b[:n]); err == nil && m.TransactionID == ask.TransactionID && m.MessageType == dhcpv6.MessageTypeReply {
				reply = m
				return
			}
		}
	})
	return reply
}

// The state file's disk fails: DHCPv6 gives no pool lease, machines of the file
// are served, status says what to do, and all is well again when the disk is.
func TestFailingDisk(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "strace")
	r := rig.New(t, rig.Options{Edit: func(text string) string { return rig.OnlyIPv6(text, "worker-1") }})
	r.Start(t)
	known := client6(t, r.Stranger(t, "52:54:00:cc:06:01"), "eui64")
	if solicit(t, known, 30*time.Second) == nil {
		t.Fatal("no lease while the disk is well")
	}
	strace := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO", "-p", strconv.Itoa(r.PID()))
	must(t, strace.Start())
	ended := false
	repair := func() {
		if !ended {
			ended = true
			_ = strace.Process.Signal(os.Interrupt)
			_ = strace.Wait()
		}
	}
	t.Cleanup(repair)

	// Strangers are asked for until strace is there and the first one is lost.
	given := map[string]bool{}
	for i := 2; ; i++ {
		m := client6(t, r.Stranger(t, "52:54:00:cc:06:"+strconv.Itoa(10+i)), "eui64")
		reply := solicit(t, m, 3*time.Second)
		if reply == nil {
			break
		}
		given[reply.Options.OneIANA().Options.OneAddress().IPv6Addr.String()] = true
		if i > 30 {
			t.Fatal("the disk does not fail")
		}
	}
	if s := dhcp6Status(t, r); s.State != services.Degraded || !strings.Contains(s.Problem, "free space in the state folder or repair its disk") {
		t.Errorf("status %+v", s)
	}
	if reply := solicit(t, known, 10*time.Second); reply == nil {
		t.Error("a client whose lease is on disk is not answered")
	}
	node := client6(t, r.Blank(t, "worker-1"), "eui64")
	if reply := solicit(t, node, 10*time.Second); reply == nil || reply.Options.OneIANA().Options.OneAddress().IPv6Addr.String() != "fd00:67::22" {
		t.Errorf("the machine of the file: %v", reply)
	}
	repair()
	eventually(t, "status is up again", func() bool { return dhcp6Status(t, r).State == services.Up })
	late := client6(t, r.Stranger(t, "52:54:00:cc:06:99"), "eui64")
	if reply := solicit(t, late, 20*time.Second); reply == nil || given[reply.Options.OneIANA().Options.OneAddress().IPv6Addr.String()] {
		t.Errorf("afterwards: %v", reply)
	}
}

func dhcp6Status(t *testing.T, r *rig.Rig) services.Status {
	t.Helper()
	for _, s := range r.Status(t).Services {
		if s.Name == "dhcp6" {
			return s.Status
		}
	}
	t.Fatal("status has no dhcp6")
	return services.Status{}
}
