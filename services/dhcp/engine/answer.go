package engine

import (
	"net/netip"

	"helperd/plan"
	"helperd/services/dhcp/packet"
	"helperd/state"
	"helperd/timeline"
)

// An Answer is what comes of a request. It is reused; Handle overwrites it.
type Answer struct {
	// Frame has packet.Headers bytes of room and then the message; empty: no answer.
	Frame []byte
	// Source is the server's address, To where the answer goes.
	Source netip.Addr
	To     netip.AddrPort
	// Routed answers, to a relay or to a client behind a router, go where the
	// kernel's routes say; others go as a frame to MAC on the link of the request.
	Routed bool
	MAC    plan.MAC

	// Record must be on disk before the answer is sent, if Durable.
	Record  Record
	Durable bool
	// Acked is the address that the client was given; not valid: none. Whoever has an
	// address of the pool is no node, and must not pass for one.
	Acked netip.Addr
	// Client is the machine that asked.
	Client plan.MAC
	// Probe asks for a look at who else answers on the link: see Engine.choseOther.
	Probe bool
	// Check is an address to be probed for a conflict before the request is given to
	// Resume; not valid: nothing waits. See Engine.ProbeConflicts.
	Check netip.Addr
	// Events are to be told once the answer is sent.
	Events []timeline.Event

	buf [packet.Headers + packet.Buffer]byte
}

// Record is a lease on its way to the disk.
type Record struct {
	state.Lease
	version uint64
}

func (a *Answer) reset() {
	a.Frame, a.Source, a.To, a.Routed, a.MAC = nil, netip.Addr{}, netip.AddrPort{}, false, plan.MAC{}
	a.Record, a.Durable, a.Acked, a.Client, a.Probe, a.Check, a.Events = Record{}, false, netip.Addr{}, plan.MAC{}, false, netip.Addr{}, a.Events[:0]
}

// broadcastMAC is everybody on the link.
func broadcastMAC() plan.MAC { return plan.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

func limitedBroadcast() netip.Addr { return netip.AddrFrom4([4]byte{255, 255, 255, 255}) }

// write builds an offer or acknowledgement of addr for lease seconds (0 in an
// offer: what the client will get) and tells what the client will load.
func (e *Engine) write(q *request, t packet.Type, addr netip.Addr, lease int64) string {
	n, w := q.subnet, &e.reply
	w.Start(q.answer.buf[packet.Headers:], q.Request, t)
	if t != packet.Offer {
		w.Client(q.Client)
	}
	w.Your(addr)
	if t != 0 {
		w.AddMust(packet.ServerID, e.serverID(q))
	}
	if addr.IsValid() && t != 0 {
		e.writeTimes(q, lease)
	}
	if t == packet.Ack && q.Type == packet.Discover {
		w.AddMust(packet.RapidCommit, nil)
	}
	w.AddMust(packet.SubnetMask, n.mask)
	options := n.options
	var files *plan.BootFiles
	if r := q.reservation; r != nil {
		options, files = r.options, r.Boot
	}
	for _, o := range options {
		w.Add(o.code, o.val)
	}
	c := choose(files, &q.client)
	e.writeBoot(n, c, t)
	if !q.client.boots {
		w.Overload()
	}
	e.finish(q, t, addr)
	return c.String()
}

// serverID is the value of option 54: this server, or what a relay that is to
// hear all of the client's requests names in its place (RFC 5107).
func (e *Engine) serverID(q *request) []byte {
	if !q.Override.IsValid() {
		return q.subnet.serverID
	}
	a := q.Override.As4()
	return e.bytes(string(a[:]))
}

// addressed reports whether q names no other server.
func (e *Engine) addressed(q *request) bool {
	return !q.Server.IsValid() || e.policy.ours[q.Server] || q.Server == q.Override
}

func (e *Engine) writeTimes(q *request, lease int64) {
	e.times = q.subnet.reserved
	if q.reservation == nil {
		if lease == 0 {
			lease = seconds(q.subnet.PoolLease)
		}
		e.times = timesOf(lease)
	}
	e.reply.AddMust(packet.LeaseTime, e.times.lease[:])
	e.reply.AddMust(packet.RenewalTime, e.times.renew[:])
	e.reply.AddMust(packet.RebindingTime, e.times.rebind[:])
}

// writeBoot says in every place that firmware looks at what to load, in OFFER and
// ACK alike. BOOTP knows the header only.
func (e *Engine) writeBoot(n *Subnet, c choice, t packet.Type) {
	w := &e.reply
	if c.file != "" {
		w.Next(n.Server)
		w.File(c.file)
	}
	if t == 0 {
		return
	}
	if c.file != "" {
		if c.http {
			w.AddMust(packet.VendorClass, e.bytes(classHTTP))
		}
		w.AddMust(packet.TFTPServerName, n.name)
		w.AddMust(packet.BootFileName, e.bytes(c.file))
	}
	if c.config != "" {
		w.Next(n.Server)
		w.AddMust(packet.ConfigFile, e.bytes(c.config))
	}
	if c.prefix != "" {
		w.AddMust(packet.PathPrefix, e.bytes(c.prefix))
	}
}

// bytes copies s to where it stays until the reply is finished.
func (e *Engine) bytes(s string) []byte {
	start := len(e.scratch)
	e.scratch = append(e.scratch, s...)
	return e.scratch[start:]
}

func (e *Engine) writeNak(q *request, reason string) {
	w := &e.reply
	w.Start(q.answer.buf[packet.Headers:], q.Request, packet.Nak)
	w.AddMust(packet.ServerID, e.serverID(q))
	w.AddMust(packet.Message, e.bytes(reason))
	if q.Relay.IsValid() {
		w.SetBroadcast() // RFC 2131 section 4.3.2: the client may be on the wrong network
	}
	e.finish(q, packet.Nak, netip.Addr{})
}

// finish adds what is echoed and decides where the answer goes (RFC 2131 section 4.1).
func (e *Engine) finish(q *request, t packet.Type, addr netip.Addr) {
	w, a := &e.reply, q.answer
	if len(q.ID) > 0 {
		w.AddMust(packet.ClientID, q.ID)
	}
	if q.client.boots && len(q.UUID) > 0 && t != packet.Nak {
		w.AddMust(packet.ClientUUID, e.bytes("\x00"+string(q.UUID))) // the PXE specification 2.1 wants it back
	}
	if q.Selected {
		link := q.Link.As4()
		w.AddMust(packet.SubnetSelection, e.bytes(string(link[:])))
	}
	if len(q.RelayInfo) > 0 {
		w.AddMust(packet.RelayInfo, q.RelayInfo)
	}
	params := q.Params
	if t == packet.Nak {
		params = nil
	}
	message := w.Finish(params)
	a.Frame = a.buf[:packet.Headers+len(message)]
	a.Client, a.Source = q.MAC, q.subnet.Server
	e.scratch = e.scratch[:0]
	e.count.Sent[t]++
	var dest netip.Addr
	switch {
	case q.Relay.IsValid():
		a.Routed, a.To = true, netip.AddrPortFrom(q.Relay, packet.ServerPort)
		return
	case t == packet.Nak:
		a.MAC, dest = broadcastMAC(), limitedBroadcast()
	case q.Client.IsValid() && (q.Client == addr || q.Type == packet.Inform):
		// Any other ciaddr may be forged, to make us send to a machine that did not ask.
		// On the link by frame and not by the kernel's neighbour table, which may
		// still have the machine that had this address before.
		a.MAC, dest = q.MAC, q.Client
		a.Routed = !onLink(q.link, q.Client)
	case q.Broadcast:
		a.MAC, dest = broadcastMAC(), limitedBroadcast()
	default:
		a.MAC, dest = q.MAC, addr // it cannot answer ARP for this address yet
	}
	a.To = netip.AddrPortFrom(dest, packet.ClientPort)
}

func onLink(link []*Subnet, a netip.Addr) bool {
	for _, n := range link {
		if n.Prefix.Contains(a) {
			return true
		}
	}
	return false
}

// tell notes an event of the machine that asks.
func (e *Engine) tell(q *request, kind timeline.Kind, addr netip.Addr, detail string) {
	if e.notes.allow(noteKey{q.MAC, kind, detail}, q.reservation != nil, q.now) {
		e.add(q, kind, addr, detail)
	}
}

func (e *Engine) add(q *request, kind timeline.Kind, addr netip.Addr, detail string) {
	ev := timeline.Event{Kind: kind, MAC: q.MAC, Addr: addr, Detail: detail}
	if q.reservation != nil {
		ev.Node = q.reservation.Node
	}
	q.answer.Events = append(q.answer.Events, ev)
}
