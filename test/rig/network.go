package rig

import (
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"helperd/internal/netns"
)

// Network is a LAN of the configuration.
type Network struct {
	CIDR    string   `yaml:"cidr"`
	Gateway string   `yaml:"gateway"` // the router's address in it
	NTP     []string `yaml:"ntp"`

	bridge string
}

func (n Network) holds(ip string) bool {
	p, err := netip.ParsePrefix(n.CIDR)
	a, bad := netip.ParseAddr(ip)
	return err == nil && bad == nil && p.Contains(a)
}

// address is ip as `ip address add` takes it.
func (n Network) address(ip string) string {
	return ip + "/" + strconv.Itoa(netip.MustParsePrefix(n.CIDR).Bits())
}

// network is the one that holds ip; the helper's for addresses that are in none.
func (s *Site) network(ip string) *Network {
	for _, want := range []string{ip, s.Address} {
		if i := slices.IndexFunc(s.Networks, func(n Network) bool { return n.holds(want) }); i >= 0 {
			return &s.Networks[i]
		}
	}
	return &Network{} // a file that the daemon refuses
}

// relay makes the router carry packets between its LANs and broadcasts of
// DHCP clients to the helper, by ISC's relay.
func (r *Rig) relay(t testing.TB, home *Network) {
	t.Helper()
	netns.Tools(t, "dhcrelay")
	r.Router.Do(t, func() { must(t, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)) })
	args := []string{"-4", "-d", "--no-pid", "-iu", home.bridge}
	for i := range r.Networks {
		if n := &r.Networks[i]; n != home {
			args = append(args, "-id", n.bridge)
		}
	}
	cmd := r.Router.Exec("dhcrelay", append(args, r.Address)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // ends with the test, whatever ends the test
	said := &Output{}
	cmd.Stdout, cmd.Stderr = said, said
	must(t, cmd.Start())
	ended := make(chan struct{})
	r.guard.Go("wait for dhcrelay", func() { _ = cmd.Wait(); close(ended) })
	t.Cleanup(func() {
		select {
		case <-ended:
			t.Error("dhcrelay ended before the test")
		default:
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("dhcrelay's log:\n%s", tail(said.String(), 50))
		}
	})
	// It says where it forwards to before it listens: a lost first packet is
	// sent again by any client.
	select {
	case <-ended:
		t.Fatalf("dhcrelay does not start:\n%s", said.String())
	case <-time.After(200 * time.Millisecond):
	}
}
