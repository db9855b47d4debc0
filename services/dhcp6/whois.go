package dhcp6

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/ipv6"

	"helperd/plan"
)

const (
	// whoIsFor is how long the answer to who has an address counts.
	whoIsFor = 30 * time.Second
	// whoIsWait is the time the machine has to show itself. Its client asks again after
	// a second (RFC 8415 section 7.6: SOL_TIMEOUT, REQ_TIMEOUT).
	whoIsWait = 700 * time.Millisecond
	// whoIsEvery is the least time between two looks into the kernel's table, and
	// mostStrangers bounds those that are waited for.
	whoIsEvery    = 10 * time.Millisecond
	mostStrangers = 1024
	// discard is a port where nobody minds a datagram (RFC 863).
	discard = 9
)

// stranger is a machine whose messages do not tell its MAC.
type stranger struct {
	mac   plan.MAC // zero: not known yet
	since time.Time
}

// strangers remembers who was looked for, so that a flood of invented addresses
// asks the kernel little.
type strangers struct {
	mu     sync.Mutex
	known  map[netip.Addr]stranger
	looked time.Time
}

// whoIs gives the MAC of the machine at a link-local address, by the kernel's
// neighbour table. What only ever sent to a multicast group is not in it, so the
// kernel is made to ask, and the client is answered when it tries again. False:
// wait for that. A zero MAC: nobody says.
func (s *Service) whoIs(p *port, addr netip.Addr) (plan.MAC, bool) {
	w, now := &s.strangers, time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	at, seen := w.known[addr]
	switch {
	case seen && now.Sub(at.since) > whoIsFor:
		seen = false
	case seen && !at.mac.IsZero():
		return at.mac, true
	case now.Sub(w.looked) < whoIsEvery:
		return plan.MAC{}, false
	}
	w.looked = now
	macs, err := s.host.Nodes.Neighbours(addr)
	if err != nil {
		s.host.Log.Warn("neighbour table not readable", "err", err)
	}
	if len(macs) == 1 { // the same address on two links says nothing
		w.note(addr, stranger{macs[0], now})
		return macs[0], true
	}
	if seen && now.Sub(at.since) >= whoIsWait {
		return plan.MAC{}, true
	}
	if !seen {
		w.note(addr, stranger{since: now})
		p.nudge(addr)
	}
	return plan.MAC{}, false
}

// note remembers at; the caller has the lock.
func (w *strangers) note(addr netip.Addr, at stranger) {
	if len(w.known) >= mostStrangers {
		clear(w.known)
	}
	w.known[addr] = at
}

// nudge sends an empty datagram, so that the kernel looks for the machine.
func (p *port) nudge(addr netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		_, _ = p.conn.WriteTo(nil, &ipv6.ControlMessage{IfIndex: p.index}, &net.UDPAddr{IP: addr.AsSlice(), Port: discard, Zone: p.device})
	}
}
