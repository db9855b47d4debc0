package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"helperd/internal/mmsg"
)

// Message types and options of RFC 2132.
const (
	discover = 1
	offer    = 2
	request  = 3
	ack      = 5
	nak      = 6
	release  = 7

	optRequested = 50
	optType      = 53
	optServer    = 54
	optParams    = 55
	optEnd       = 255
)

const (
	// patience is how long a machine waits for an answer before it starts over.
	patience = time.Second
	// messageSize in bytes is that of a BOOTP message with what the clients ask for.
	messageSize = 300
	// inFlight is the most machines that ask at once: their number is the last byte of an xid.
	inFlight = 256
)

// storm is what many machines do: each gets an address, and the next one follows.
type storm struct {
	relay    netip.Addr // own address, giaddr of the requests
	server   netip.Addr
	machines int           // that ask at once
	macs     int           // that there are; from then on they come again. 0: always new ones
	releases bool          // a machine gives its address back at once
	total    int           // DORAs after which the storm ends; 0: any number
	limit    time.Duration // after which it ends
	least    int           // DORAs that it waits for ten times of patience longer; 0: none
}

// outcome is what came of a storm.
type outcome struct {
	done      int
	elapsed   time.Duration
	latencies []time.Duration // from the first DISCOVER to the ACK, ordered
	restarts  int             // machines that heard nothing for the time of patience
	refusals  int             // DHCPNAKs
	strays    int             // answers to nothing that this storm asked
}

// at gives the quantile q of the latencies in milliseconds.
func (o *outcome) at(q float64) float64 {
	if len(o.latencies) == 0 {
		return 0
	}
	return o.latencies[int(float64(len(o.latencies)-1)*q)].Seconds() * 1e3
}

// client is one machine at a time.
type client struct {
	index     int
	xid       uint32
	mac       uint32
	asked     bool // for an offered address
	addr, sid [4]byte
	first     time.Time // DISCOVER
	last      time.Time // message
}

// clients run a storm on one thread: they must cost less than the server.
type clients struct {
	*storm
	raw     syscall.RawConn
	batch   *mmsg.Batch
	all     []client
	seq     uint32
	nextMAC uint32
	owners  map[[4]byte]uint32 // who has an address
	held    map[uint32][4]byte
	now     time.Time
	outcome
}

// run runs the storm. The caller's thread is in the namespace of the clients. first
// is the number of the first machine: those of two storms that overlap are the same.
func (s *storm) run(first uint32) (*outcome, error) {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.relay, 67)))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetReadBuffer(4 << 20) // what is lost here is not the server's fault
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &clients{
		storm: s, raw: raw, batch: mmsg.New(inFlight, 1500, messageSize), all: make([]client, s.machines), nextMAC: first,
		seq:    rand.Uint32(),
		owners: map[[4]byte]uint32{}, held: map[uint32][4]byte{},
	}
	begun := time.Now()
	c.now = begun
	for i := range c.all {
		c.all[i].index = i
		c.start(&c.all[i], first)
	}
	var looked time.Time
	for s.goesOn(c.now.Sub(begun), c.done) {
		if c.now.Sub(looked) > patience/10 {
			looked = c.now
			c.look()
			_ = conn.SetReadDeadline(c.now.Add(patience / 10))
		}
		if err := c.turn(first); err != nil {
			return nil, err
		}
	}
	c.elapsed = c.now.Sub(begun)
	slices.Sort(c.latencies)
	return &c.outcome, nil
}

// goesOn reports whether a storm that has lasted so long goes on after so many DORAs.
func (s *storm) goesOn(lasted time.Duration, done int) bool {
	if s.total > 0 && done >= s.total {
		return false
	}
	return lasted < s.limit || done < s.least && lasted < s.limit+10*patience
}

// turn sends what is queued, waits for answers and takes all that are there.
func (c *clients) turn(first uint32) error {
	if err := c.flush(); err != nil {
		return err
	}
	n, err := c.batch.Receive(c.raw)
	c.now = time.Now()
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err != nil {
		return err
	}
	for i := range n {
		if from := c.batch.Peer(i); from != netip.AddrPortFrom(c.server, 67) {
			return fmt.Errorf("an answer came from %s, not from %s", from, c.server)
		}
		if err := c.take(c.batch.Message(i), first); err != nil {
			return err
		}
	}
	return nil
}

// flush sends what is queued.
func (c *clients) flush() error {
	failed, err := c.batch.Send(c.raw)
	if err == nil && failed > 0 {
		err = fmt.Errorf("the kernel refused %d requests", failed)
	}
	return err
}

// look lets the machines that heard nothing start over.
func (c *clients) look() {
	for i := range c.all {
		if m := &c.all[i]; c.now.Sub(m.last) > patience {
			c.restarts++
			c.discover(m)
		}
	}
}

// start makes m the next machine; first is the one that follows the last.
func (c *clients) start(m *client, first uint32) {
	m.mac = c.nextMAC
	if c.nextMAC++; c.macs > 0 && c.nextMAC == first+uint32(c.macs) {
		c.nextMAC = first
	}
	m.first = c.now
	c.discover(m)
}

func (c *clients) discover(m *client) {
	c.seq++
	m.xid, m.asked = c.seq*inFlight|uint32(m.index), false
	c.send(m, discover)
}

// send queues a message of m. There is always room: a turn has at most two for each message received.
func (c *clients) send(m *client, kind byte) {
	b := c.batch.Reply()
	for b == nil {
		_ = c.flush() // the machine starts over
		b = c.batch.Reply()
	}
	clear(b)
	b[0], b[1], b[2], b[3] = 1, 1, 6, 1
	binary.BigEndian.PutUint32(b[4:], m.xid)
	relay := c.relay.As4()
	copy(b[24:], relay[:])
	mac := m.hardware()
	copy(b[28:], mac[:])
	o := append(b[:236], 0x63, 0x82, 0x53, 0x63, optType, 1, kind)
	switch kind {
	case request:
		o = append(append(o, optRequested, 4), m.addr[:]...)
		fallthrough
	case release:
		o = append(append(o, optServer, 4), m.sid[:]...)
	}
	if kind == release {
		copy(b[12:], m.addr[:]) // ciaddr
	} else {
		o = append(o, optParams, 6, 1, 3, 6, 15, 42, 12)
	}
	_ = append(o, optEnd)
	c.batch.QueueTo(netip.AddrPortFrom(c.server, 67), messageSize)
	m.last = c.now
}

// hardware is the machine's address: local, and unicast.
func (m *client) hardware() (mac [6]byte) {
	mac[0], mac[1] = 0x02, 0x67
	binary.BigEndian.PutUint32(mac[2:], m.mac)
	return mac
}

// take takes one answer. It is an error unless it is right in every respect.
func (c *clients) take(p []byte, first uint32) error {
	if len(p) < 244 || p[0] != 2 || [4]byte(p[236:]) != [4]byte{0x63, 0x82, 0x53, 0x63} {
		return fmt.Errorf("no DHCP answer: % x", p[:min(len(p), 8)])
	}
	xid := binary.BigEndian.Uint32(p[4:])
	i := int(xid % inFlight)
	if i >= len(c.all) || c.all[i].xid != xid {
		// To a machine that has started over, or to one of the storm before.
		if c.strays++; c.strays > c.restarts+c.refusals+inFlight {
			return fmt.Errorf("an answer to xid %08x, which nobody sent", xid)
		}
		return nil
	}
	m := &c.all[i]
	if mac := m.hardware(); [6]byte(p[28:]) != mac {
		return fmt.Errorf("the answer to %x has chaddr % x", mac, p[28:34])
	}
	kind, sid, err := options(p[240:])
	if err != nil {
		return err
	}
	addr := [4]byte(p[16:])
	switch {
	case kind == offer && !m.asked:
		m.addr, m.sid, m.asked = addr, sid, true
		c.send(m, request)
	case kind == ack && m.asked:
		if addr != m.addr {
			return fmt.Errorf("%x asked for %v and was acknowledged %v", m.hardware(), m.addr, addr)
		}
		return c.acked(m, first)
	case kind == nak:
		c.refusals++
		c.discover(m)
	}
	return nil // an answer that came twice
}

// acked notes that m has its address, which nobody else may have.
func (c *clients) acked(m *client, first uint32) error {
	if owner, ok := c.owners[m.addr]; ok && owner != m.mac {
		return fmt.Errorf("%v was given to machine %d while machine %d had it", m.addr, m.mac, owner)
	}
	if old, ok := c.held[m.mac]; ok && old != m.addr {
		delete(c.owners, old)
	}
	c.owners[m.addr], c.held[m.mac] = m.mac, m.addr
	c.done++
	c.latencies = append(c.latencies, c.now.Sub(m.first))
	if c.releases {
		c.send(m, release)
		delete(c.owners, m.addr)
		delete(c.held, m.mac)
	}
	c.start(m, first)
	return nil
}

// options reads message type and server id.
func options(b []byte) (kind byte, server [4]byte, err error) {
	for len(b) > 0 && b[0] != optEnd {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return 0, server, errors.New("an option runs over the end of the message")
		}
		v := b[2 : 2+int(b[1])]
		switch {
		case b[0] == optType && len(v) == 1:
			kind = v[0]
		case b[0] == optServer && len(v) == 4:
			server = [4]byte(v)
		}
		b = b[2+len(v):]
	}
	return kind, server, nil
}
