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
	ended, said := r.background(t, "dhcrelay", append(args, r.Address)...)
	// It says where it forwards to before it listens: a lost first packet is
	// sent again by any client.
	select {
	case <-ended:
		t.Fatalf("dhcrelay does not start:\n%s", said.String())
	case <-time.After(200 * time.Millisecond):
	}
}

// background runs a server in the router's namespace until the test ends, which
// it must not outlive nor end before. Ended is closed when it does, said what it prints.
func (r *Rig) background(t testing.TB, name string, args ...string) (ended chan struct{}, said *Output) {
	t.Helper()
	cmd := r.Router.Exec(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // ends with the test, whatever ends the test
	said, ended = &Output{}, make(chan struct{})
	cmd.Stdout, cmd.Stderr = said, said
	must(t, cmd.Start())
	r.guard.Go("wait for "+name, func() { _ = cmd.Wait(); close(ended) })
	t.Cleanup(func() {
		select {
		case <-ended:
			t.Errorf("%s ended before the test", name)
		default:
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s's log:\n%s", name, tail(said.String(), 50))
		}
	})
	return ended, said
}
