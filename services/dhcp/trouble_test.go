package dhcp

import (
	"context"
	"encoding/json"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/services"
	"helperd/services/dhcp/packet"
)

func (p *process) status() (st services.Status) {
	p.t.Helper()
	if err := json.Unmarshal([]byte(p.do("status")), &st); err != nil {
		p.t.Fatal(err)
	}
	return st
}

// An interface that goes down, loses or changes its address, or is made anew
// is served again by itself, and the other one does not notice.
func TestInterfaceTrouble(t *testing.T) {
	srv, cli, neighbour := netns.New(t), netns.New(t), netns.New(t)
	netns.Link(t, srv, neighbour, "10.67.0.2/16", "")
	netns.Link(t, srv, cli, "192.168.67.2/24", "")
	p := startProcess(t, srv, t.TempDir(), "two")

	// The neighbour boots all the time, on the other interface.
	ctx, cancel := context.WithCancel(t.Context())
	longest := make(chan time.Duration, 1)
	beside := newWire(t, neighbour)
	go func() {
		var most time.Duration
		for ctx.Err() == nil {
			for _, d := range beside.boot(secondMAC, netip.MustParseAddr("10.67.0.10")) {
				most = max(most, d)
			}
			time.Sleep(5 * time.Millisecond)
		}
		longest <- most
	}()

	boot := func(what string) {
		t.Helper()
		began := time.Now()
		newWire(t, cli).boot(nodeMAC, netip.MustParseAddr("192.168.67.10"))
		t.Logf("%s: served after %s", what, time.Since(began).Round(time.Millisecond))
	}
	up := func(what string) {
		t.Helper()
		p.until("status", contains(`"state":"up"`))
		boot(what)
	}
	boot("at first")

	srv.IP(t, "link", "set", "eth1", "down")
	p.until("status", contains("interface eth1 is down"))
	srv.IP(t, "link", "set", "eth1", "up")
	up("down and up")

	cli.IP(t, "link", "set", "eth0", "down")
	cli.IP(t, "link", "set", "eth0", "up")
	up("cable pulled and put back")

	srv.IP(t, "address", "del", "192.168.67.2/24", "dev", "eth1")
	p.until("status", contains("192.168.67.2"))
	srv.IP(t, "address", "add", "192.168.67.2/24", "dev", "eth1")
	up("address removed and added")

	srv.IP(t, "address", "add", "192.168.67.3/24", "dev", "eth1")
	srv.IP(t, "address", "del", "192.168.67.2/24", "dev", "eth1")
	srv.IP(t, "address", "replace", "192.168.67.3/24", "dev", "eth1")
	p.until("status", contains("no interface has 192.168.67.2"))
	boot("address changed")
	srv.IP(t, "address", "add", "192.168.67.2/24", "dev", "eth1")
	up("address as before")

	srv.IP(t, "link", "del", "eth1")
	p.until("status", contains("192.168.67.0/24"))
	srv.IP(t, "link", "add", "name", "eth1", "type", "veth", "peer", "name", "eth0", "netns", cli.Name)
	srv.Up(t, "eth1", "192.168.67.2/24")
	cli.Up(t, "eth0")
	up("made anew")

	srv.IP(t, "link", "del", "eth1") // and anew before anybody looks
	srv.IP(t, "link", "add", "name", "eth1", "type", "veth", "peer", "name", "eth0", "netns", cli.Name)
	srv.Up(t, "eth1", "192.168.67.2/24")
	cli.Up(t, "eth0")
	up("made anew at once")

	cancel()
	if d := <-longest; d >= time.Second {
		t.Errorf("the other interface was not served for %s", d)
	} else {
		t.Logf("the other interface answered within %s all the time", d)
	}
}

// Requests that find the receive buffer full are counted, and people are told.
func TestLostRequestsAreTold(t *testing.T) {
	srv, cli := lan(t)
	p := startProcess(t, srv, t.TempDir(), "lan")
	w := newWire(t, cli)
	if err := p.signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for i := range 30000 {
		w.broadcast(append(make([]byte, packet.Headers, 400), packet.NewDiscover(macOf(i), 1)...))
	}
	if err := p.signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p.until("status", contains("requests on eth0 were lost"))
	if p.status().Counters["lost"] == 0 {
		t.Error("not counted")
	}
	w.boot(nodeMAC, netip.MustParseAddr("192.168.67.10"))
}
