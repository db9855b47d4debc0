package dhcp

import "net/netip"

// agent is a relay's option 82: circuit and remote id.
const agent = "\x01\x0aGi1/0/17:3\x02\x06\x02\x67\x00\x00\x00\x01"

var edge0, edge1 = mac{0x52, 0x54, 0, 0x33, 0, 1}, mac{0x52, 0x54, 0, 0x33, 0, 2}

var relayCases = []testCase{
	{
		name: "network of giaddr", rfc: "2131 4.3.1",
		proof: func(x *trial) {
			a := x.client().discover(via("10.30.8.1")).yiaddr
			x.inPool(a)
			equal(x, "network", a.As4()[2], 8)
		},
	},
	{
		name: "mask and router of giaddr's network", rfc: "2131 4.3.1",
		proof: func(x *trial) {
			r := x.client().discover(via("10.30.8.1"), asks(optMask, optRouter))
			equal(x, "mask", r.get(optMask), ip("255.255.255.0"))
			equal(x, "router", r.get(optRouter), ip("10.30.8.1"))
		},
	},
	{
		name: "reservation behind a relay", rfc: "2131 4.3.1",
		proof: func(x *trial) {
			equal(x, "address", x.machine(edge0).lease(via("10.30.8.1")), netip.MustParseAddr("10.30.8.10"))
		},
	},
	{
		name: "network of known machines alone", rfc: "2131 4.2",
		proof: func(x *trial) {
			equal(x, "address", x.machine(edge1).lease(via("10.30.10.1")), netip.MustParseAddr("10.30.10.10"))
			c := x.client()
			c.silence(c.message(discover, via("10.30.10.1")))
		},
	},
	{
		name: "unknown relay", rfc: "2131 4.3.1",
		proof: func(x *trial) {
			c := x.client()
			c.silence(c.message(discover, via("10.30.99.1")))
		},
	},
	{
		name: "many hops", rfc: "1542 4.1.1",
		proof: func(x *trial) {
			x.client().discover(via("10.30.8.1"), func(m *message) { m.hops = 16 })
		},
	},
	{
		name: "option 82 echoed in OFFER and ACK", rfc: "3046 2.2",
		proof: func(x *trial) {
			c := x.client()
			r := c.discover(via("10.30.8.1"), with(optRelay, agent))
			equal(x, "option 82", r.get(optRelay), agent)
			r = c.choose(r.yiaddr, via("10.30.8.1"), with(optRelay, agent))
			equal(x, "option 82 of the ACK", r.get(optRelay), agent)
		},
	},
	{
		name: "option 82 echoed in a NAK", rfc: "3046 2.2",
		proof: func(x *trial) {
			c := x.machine(edge0)
			r := c.exchange(c.message(request, via("10.30.8.1"), with(optRelay, agent), wants(netip.MustParseAddr("172.16.0.9"))), nak)
			equal(x, "option 82", r.get(optRelay), agent)
		},
	},
	{
		name: "option 82 is last, though asked for first", rfc: "3046 2.1",
		proof: func(x *trial) {
			codes := x.client().discover(via("10.30.8.1"), asks(optRelay, optMask, optRouter), with(optRelay, agent)).codes()
			equal(x, "last option", codes[len(codes)-1], optRelay)
		},
	},
	{
		name: "option 82 with unknown sub-options", rfc: "3046 2.2",
		proof: func(x *trial) {
			const odd = "\x01\x01x\xf9\x03abc\x97\x00"
			equal(x, "option 82", x.client().discover(via("10.30.8.1"), with(optRelay, odd)).get(optRelay), odd)
		},
		differs: map[string]string{dhcpd: "it drops a sub-option without a value at the end"},
	},
	{
		name: "link selection", rfc: "3527 3",
		proof: func(x *trial) {
			c := x.client()
			r := c.discover(via("10.30.11.1"), with(optRelay, "\x05\x04"+ip("10.30.8.0")))
			equal(x, "network", r.yiaddr.As4()[2], 8)
			c.arrives(r, relayMAC, "10.30.11.1:67")
		},
	},
	{
		name: "link selection of a known machine", rfc: "3527 3",
		proof: func(x *trial) {
			r := x.machine(edge0).discover(via("10.30.11.1"), with(optRelay, agent+"\x05\x04"+ip("10.30.8.0")))
			equal(x, "address", r.yiaddr, netip.MustParseAddr("10.30.8.10"))
		},
	},
	{
		name: "link selection of an unknown network", rfc: "3527 3",
		proof: func(x *trial) {
			c := x.client()
			c.silence(c.message(discover, via("10.30.8.1"), with(optRelay, "\x05\x04"+ip("172.16.0.0"))))
		},
	},
	{
		name: "subnet selection, echoed", rfc: "3011 2",
		proof: func(x *trial) {
			r := x.client().discover(via("10.30.11.1"), with(optSelect, ip("10.30.8.0")))
			equal(x, "network", r.yiaddr.As4()[2], 8)
			equal(x, "option 118", r.get(optSelect), ip("10.30.8.0"))
		},
	},
	{
		name: "link selection beats subnet selection", rfc: "3527 3",
		proof: func(x *trial) {
			r := x.client().discover(via("10.30.9.1"), with(optSelect, ip("10.30.11.0")), with(optRelay, "\x05\x04"+ip("10.30.8.0")))
			equal(x, "network", r.yiaddr.As4()[2], 8)
		},
	},
	{
		name: "server id override", rfc: "5107 4",
		proof: func(x *trial) {
			c := x.client()
			override := with(optRelay, "\x0b\x04"+ip("10.30.8.1"))
			c.named = "10.30.8.1"
			a := c.discover(via("10.30.8.1"), override).yiaddr
			r := c.exchange(c.message(request, chooses("10.30.8.1"), wants(a), via("10.30.8.1"), override), ack)
			equal(x, "address", r.yiaddr, a)
		},
		differs: map[string]string{dhcpd: "it does not know it"},
	},
	{
		name: "NAK through a relay has the broadcast flag", rfc: "2131 4.3.2",
		proof: func(x *trial) {
			c := x.machine(edge0)
			r := c.exchange(c.message(request, via("10.30.8.1"), wants(netip.MustParseAddr("172.16.0.9"))), nak)
			equal(x, "flags", r.flags, 0x8000)
			c.arrives(r, relayMAC, "10.30.8.1:67")
		},
	},
	{
		name: "rebinding through a relay", rfc: "2131 4.3.2",
		proof: func(x *trial) {
			c := x.client()
			a := c.lease(via("10.30.8.1"))
			r := c.exchange(c.message(request, has(a), via("10.30.8.1")), ack)
			equal(x, "yiaddr", r.yiaddr, a)
			c.arrives(r, relayMAC, "10.30.8.1:67")
		},
	},
}
