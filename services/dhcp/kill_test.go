package dhcp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
	"helperd/state"
)

// promise is what a client was told of its lease.
type promise struct {
	mac   plan.MAC
	name  string
	until time.Time
}

// churn are clients that take leases, and then keep, renew, release or decline them.
type churn struct {
	r        *relay
	given    map[netip.Addr]promise
	declined map[netip.Addr]bool // the server knows: it has answered something that came after it
	doubtful map[netip.Addr]int  // declined with the message of this number
	sent     int                 // messages
	asked    map[plan.MAC]int    // the number of a client's REQUEST
	names    map[plan.MAC]string
	acks     int
	renewals int
}

func newChurn(r *relay) *churn {
	return &churn{
		r: r, given: map[netip.Addr]promise{}, declined: map[netip.Addr]bool{}, doubtful: map[netip.Addr]int{},
		asked: map[plan.MAC]int{}, names: map[plan.MAC]string{},
	}
}

func (c *churn) send(mac plan.MAC, typ dhcpv4.MessageType, mods ...dhcpv4.Modifier) {
	c.sent++
	if typ == dhcpv4.MessageTypeRequest {
		c.asked[mac] = c.sent
	}
	c.r.send(mac, typ, mods...)
}

// run keeps 32 clients busy, from number first on, until there were so many ACKs.
func (c *churn) run(first, acks int) {
	c.r.t.Helper()
	next, flying := first, 0
	for end := c.acks + acks; c.acks < end; {
		for ; flying < 32; next++ {
			c.send(macOf(next), dhcpv4.MessageTypeDiscover)
			flying++
		}
		d := c.r.receive(5 * time.Second)
		if d == nil {
			c.r.t.Fatalf("no answer after %d acknowledgements", c.acks)
		}
		if c.hear(d) {
			flying--
		}
	}
}

// hear takes an answer; true: its client needs no other one.
func (c *churn) hear(d *dhcpv4.DHCPv4) bool {
	c.r.t.Helper()
	mac := plan.MAC(d.ClientHWAddr)
	switch d.MessageType() {
	case dhcpv4.MessageTypeOffer:
		c.send(mac, dhcpv4.MessageTypeRequest, selecting(d)...)
		return false
	case dhcpv4.MessageTypeAck:
		return c.acked(mac, d)
	}
	c.r.t.Fatalf("%s for %s", d.MessageType(), mac)
	return false
}

func (c *churn) acked(mac plan.MAC, d *dhcpv4.DHCPv4) bool {
	c.r.t.Helper()
	c.acks++
	addr, _ := netip.AddrFromSlice(d.YourIPAddr.To4())
	for a, number := range c.doubtful {
		if number < c.asked[mac] {
			c.declined[a] = true
			delete(c.doubtful, a)
		}
	}
	old, renewed := c.given[addr]
	if renewed && old.mac != mac || c.declined[addr] {
		c.r.t.Errorf("%s was given to %s; declined: %v, before it was %+v", addr, mac, c.declined[addr], old)
	}
	c.given[addr] = promise{mac, c.names[mac], time.Now().Add(d.IPAddressLeaseTime(0) - 30*time.Second)}
	own := dhcpv4.WithClientIP(d.YourIPAddr)
	switch fate := int(mac[5]) % 4; {
	case renewed:
		c.renewals++
	case fate == 1: // under another name, so that it must be written
		c.names[mac] = fmt.Sprintf("name-%d", c.sent)
		c.send(mac, dhcpv4.MessageTypeRequest, own, dhcpv4.WithOption(dhcpv4.OptHostName(c.names[mac])))
		return false
	case fate == 2:
		delete(c.given, addr)
		c.send(mac, dhcpv4.MessageTypeRelease, own)
	case fate == 3:
		delete(c.given, addr)
		c.send(mac, dhcpv4.MessageTypeDecline, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(d.YourIPAddr)))
		c.doubtful[addr] = c.sent
	}
	return true
}

// check holds what clients were told against what the disk has.
func (c *churn) check(round int, disk map[netip.Addr]state.Lease) {
	c.r.t.Helper()
	for addr, p := range c.given {
		// The name of a renewal that was not acknowledged may be there already.
		l, ok := disk[addr]
		if !ok || l.MAC != p.mac || l.State != state.Bound || l.Expires.Before(p.until) || l.Hostname != p.name && l.Hostname != c.names[p.mac] {
			c.r.t.Errorf("round %d: %s was acknowledged as %+v, the disk has %+v", round, addr, p, l)
		}
	}
	for addr := range c.declined {
		if l := disk[addr]; l.State != state.Declined || time.Until(l.Expires) < 30*time.Minute {
			c.r.t.Errorf("round %d: %s was declined, the disk has %+v", round, addr, l)
		}
	}
	clear(c.doubtful)
}

// A server that is killed under load, again and again, forgets no lease, renewal
// or decline that it acknowledged, and gives no address twice.
func TestKilledServerForgetsNothing(t *testing.T) {
	rounds := 10
	if n, err := strconv.Atoi(os.Getenv("HELPERD_KILLS")); err == nil {
		rounds = n
	}
	srv, r := newRelay(t, "10.67.0.1")
	dir := t.TempDir()
	c := newChurn(r)
	for round := range rounds {
		p := startProcess(t, srv, dir, "lan")
		c.run(round*10000, 20+rand.IntN(300)) // then the power goes
		p.kill()
		for d := r.receive(20 * time.Millisecond); d != nil; d = r.receive(20 * time.Millisecond) { // what was sent before the end counts too
			c.hear(d)
		}
		c.check(round, stored(t, dir))
	}
	t.Logf("%d acknowledgements, %d of them renewals; %d leases and %d declines in the end", c.acks, c.renewals, len(c.given), len(c.declined))
	if len(c.given) < 10*rounds || c.renewals < rounds || len(c.declined) < rounds {
		t.Error("that is too little to prove anything")
	}
}
