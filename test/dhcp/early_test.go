package dhcp

import "net/netip"

// Fewer messages than four: rapid commit and BOOTP.

var rapid = with(optRapid, "")

var rapidCases = []testCase{
	{
		name: "acknowledged at once", rfc: "4039 3.1",
		proof: func(x *trial) {
			c := x.client()
			r := c.exchange(c.message(discover, rapid), ack)
			if !r.has(optRapid) {
				x.fatalf("the ACK has no option 80")
			}
			x.inPool(r.yiaddr)
			equal(x, "lease", r.seconds(optLeaseTime), lease)
			c.hold(r.yiaddr, c.mac)
			equal(x, "renewed", c.renew(r.yiaddr, ack).yiaddr, r.yiaddr)
		},
		differs: map[string]string{dhcpd: "it does not know it"},
	},
	{
		name: "of a known machine", rfc: "4039 3.1",
		proof: func(x *trial) {
			c, a := x.node(2)
			equal(x, "address", c.exchange(c.message(discover, rapid), ack).yiaddr, a)
		},
		differs: map[string]string{dhcpd: "it does not know it"},
	},
	{
		name: "not unless asked for", rfc: "4039 3.1",
		proof: func(x *trial) {
			c := x.client()
			o := c.discover(asks(1, 3, optRapid))
			if o.has(optRapid) || c.choose(o.yiaddr).has(optRapid) {
				x.fatalf("option 80 without a client that sends it")
			}
		},
	},
	{
		name: "a lease is not offered to others", rfc: "4039 3.1",
		proof: func(x *trial) {
			c := x.client()
			a := c.exchange(c.message(discover, rapid), ack).yiaddr
			if got := x.client().discover(wants(a)).yiaddr; got == a {
				x.fatalf("%s is offered to a second client", a)
			}
		},
		differs: map[string]string{dhcpd: "it does not know it"},
	},
}

var bootpCases = []testCase{
	{
		name: "reservation", rfc: "951 7.3",
		proof: func(x *trial) {
			c, a := x.node(1)
			r := c.exchange(c.message(0, without(optType)), 0)
			equal(x, "address", r.yiaddr, a)
			if r.size < 300 {
				x.fatalf("a message of %d bytes", r.size)
			}
		},
	},
	{
		name: "no options of DHCP", rfc: "1534 2",
		proof: func(x *trial) {
			c, _ := x.node(1)
			r := c.exchange(c.message(0, without(optType)), 0)
			for _, code := range []byte{optType, optLeaseTime} {
				if r.has(code) {
					x.fatalf("option %d", code)
				}
			}
		},
	},
	{
		name: "reservation through a relay", rfc: "951 8",
		proof: func(x *trial) {
			c := x.machine(edge0)
			r := c.exchange(c.message(0, without(optType), via("10.30.8.1")), 0)
			equal(x, "address", r.yiaddr, netip.MustParseAddr("10.30.8.10"))
			c.arrives(r, relayMAC, "10.30.8.1:67")
		},
	},
	{
		name: "unicast to the new address", rfc: "951 7.3",
		proof: func(x *trial) {
			c, a := x.node(1)
			c.arrives(c.exchange(c.message(0, without(optType)), 0), c.mac, a.String()+":68")
		},
	},
	{
		name: "a machine of no list", rfc: "1534 2",
		proof: func(x *trial) {
			c := x.client()
			c.silence(c.message(0, without(optType)))
		},
	},
}
