package engine

import (
	"fmt"
	"net/netip"

	"helperd/plan"
	"helperd/services/dhcp/packet"
	"helperd/timeline"
)

// discoveryControl is option 43 of a proxy's answer: PXE_DISCOVERY_CONTROL (6)
// with bit 3, "load the boot file that is named here, ask and show nothing"
// (PXE specification 2.1, table 2-1).
const discoveryControl = "\x06\x01\x08\xff"

// proxied reports whether another server gives the addresses of n, and this one tells what to boot.
func (n *Subnet) proxied() bool { return n.Mode == plan.ModeProxy }

// proxy decides a request that came to port 67 from a network whose addresses
// are another server's (PXE specification 2.1 section 2.2.3). All but a
// DISCOVER of firmware is between the client and that server. A REQUEST that
// names this server is for the boot file, as on port 4011, if its client has an
// address; without one it wants one, and gets nothing.
func (e *Engine) proxy(q *request) {
	switch {
	case q.Type == packet.Discover:
		e.offerBoot(q)
	case q.Type != packet.Ask || !q.Server.IsValid():
	case !e.policy.ours[q.Server]:
		e.choseSite(q)
	case q.Client.IsValid():
		e.ackBoot(q)
	}
}

// HandleProxy decides what a machine that has the address from sent to port
// 4011 for its boot file, and puts the answer into a.
func (e *Engine) HandleProxy(req *packet.Request, from netip.AddrPort, now int64, a *Answer) {
	a.reset()
	kind := req.Type
	if kind > packet.Inform {
		kind = 0
	}
	e.count.Received[kind]++
	n := e.policy.at(from.Addr())
	// The answer goes to where the request came from: nobody may name another for it.
	if n == nil || !n.proxied() || req.Client.IsValid() && req.Client != from.Addr() {
		e.count.NoSubnet++
		return
	}
	e.current = request{Request: req, subnet: n, now: now, client: clientOf(req), answer: a}
	q := &e.current
	q.id = req.ID[:min(len(req.ID), 255)]
	q.reservation = e.policy.reservation(req, n)
	if (kind == packet.Ask || kind == packet.Inform) && e.admit(q) {
		e.ackBoot(q)
	}
	if len(a.Frame) > 0 {
		a.Routed, a.To = true, from
	}
}

// offerBoot answers the DISCOVER of a node's firmware.
func (e *Engine) offerBoot(q *request) {
	if q.reservation != nil && q.client.boots {
		e.discovered(q)
	}
	c, ok := e.bootOf(q)
	if !ok {
		return
	}
	// Until the other server has given it an address nothing but a broadcast reaches it, by a relay too.
	q.Broadcast = true
	e.writeBootAnswer(q, packet.Offer, c)
	e.tell(q, timeline.DHCPOffer, netip.Addr{}, c.String())
}

// ackBoot tells a node that has an address its boot file.
func (e *Engine) ackBoot(q *request) {
	if c, ok := e.bootOf(q); ok {
		e.writeBootAnswer(q, packet.Ack, c)
		e.tell(q, timeline.DHCPAck, q.Client, c.String())
	}
}

// bootOf is what the machine that asks is told to load; false: it gets no
// answer. Who does not boot is no concern of a proxy's and is not told of.
func (e *Engine) bootOf(q *request) (choice, bool) {
	r := q.reservation
	switch {
	case !q.client.boots:
		return choice{}, false
	case r == nil:
		e.refuseBoot(q)
		return choice{}, false
	case r.Node == "":
		return choice{}, false // a host: it boots nothing from here
	}
	c := choose(r.Boot, &q.client)
	if c.String() == "" {
		e.tell(q, timeline.BootRefused, netip.Addr{}, q.client.lacks(r.Boot))
		return choice{}, false
	}
	return c, true
}

// refuseBoot tells of a machine that wants to boot and is no node of the network.
func (e *Engine) refuseBoot(q *request) {
	reason := refusedBoot
	if e.policy.elsewhere(q.Request) != nil {
		reason = refusedElsewhere
	}
	e.count.Refused++
	if e.notes.allow(noteKey{q.MAC, timeline.DHCPRefused, reason}, false, q.now) {
		e.add(q, timeline.DHCPRefused, netip.Addr{}, e.explain(q, reason, nil))
	}
}

// writeBootAnswer builds an answer that says what to load and nothing else: no
// address, no lease, no parameter of the network.
//
// BIOS ROMs take the boot file of the OFFER when discovery control says so.
// UEFI must not see it: older EDK II drops a proxy's OFFER that has it
// (PxeBcCacheDhcp4Offer), and one without it makes every EDK II ask port 4011.
// iPXE takes the file of an OFFER that names a server and a file, and older ones ask too.
func (e *Engine) writeBootAnswer(q *request, t packet.Type, c choice) {
	w := &e.reply
	w.Start(q.answer.buf[packet.Headers:], q.Request, t)
	if q.Broadcast {
		w.SetBroadcast()
	}
	if t == packet.Ack {
		w.Client(q.Client)
	}
	w.AddMust(packet.ServerID, q.subnet.serverID)
	class := classPXE
	if c.http && !q.IPXE {
		class = classHTTP
	}
	w.AddMust(packet.VendorClass, e.bytes(class))
	if q.client.rom() {
		w.AddMust(packet.VendorOptions, e.bytes(discoveryControl))
	}
	c.http = false // said above
	e.writeBoot(q.subnet, c, t)
	e.finish(q, t, q.Client)
}

// rom reports whether c is a network card's PXE code for BIOS.
func (c *client) rom() bool {
	return !c.ipxe && !c.http && (len(c.archs) == 0 || c.arch(0) == plan.ArchBIOS)
}

// choseSite notes that a client takes the offer of the network's own DHCP
// server, and tells when that gives a node another address than the file does.
func (e *Engine) choseSite(q *request) {
	e.site(q.subnet, Foreign{Server: q.Server}, q.now, q.answer)
	if r := q.reservation; r != nil && q.Requested.IsValid() && q.Requested != r.Address {
		e.tell(q, timeline.DHCPFailed, q.Requested, fmt.Sprintf(
			"DHCP server %s gives this machine %s, but its ip in helper.yaml is %s: its name and its ignition file are not for that address; reserve %s for MAC %s there, or change its ip",
			q.Server, q.Requested, r.Address, r.Address, q.MAC,
		))
	}
}
