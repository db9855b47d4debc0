package dhcp

import "net/netip"

// How leases end, and what is asked without one.

// release gives an address back. Nobody answers a RELEASE, so its effect is waited for.
func (c *client) release(a netip.Addr) {
	m := c.message(release, has(a), chooses(serverIP))
	c.must(c.send(c.unicast(m).frame(m.bytes())))
	c.must(c.alive())
}

var endCases = []testCase{
	{
		name: "RELEASE frees", rfc: "2131 4.3.4",
		proof: func(x *trial) {
			c := x.client()
			a := c.lease()
			c.release(a)
			equal(x, "offered to the next", x.client().discover(wants(a)).yiaddr, a)
		},
	},
	{
		name: "RELEASE is not answered", rfc: "2131 4.3.4",
		proof: func(x *trial) {
			c := x.client()
			a := c.lease()
			m := c.message(release, has(a), chooses(serverIP))
			x.must(c.send(c.unicast(m).frame(m.bytes())))
			c.nothing(m.xid)
		},
	},
	{
		name: "RELEASE by a stranger", rfc: "2131 4.3.4",
		proof: func(x *trial) {
			a := x.client().lease()
			c := x.client()
			c.release(a)
			if got := c.discover(wants(a)).yiaddr; got == a {
				x.fatalf("%s was taken from its client", a)
			}
		},
	},
	{
		name: "RELEASE of another client's address by one that has its own", rfc: "2131 4.3.4",
		proof: func(x *trial) {
			a := x.client().lease()
			c := x.client()
			own := c.lease()
			c.release(a)
			for _, kept := range []netip.Addr{a, own} {
				if got := x.client().discover(wants(kept)).yiaddr; got == kept {
					x.fatalf("%s was taken from its client", kept)
				}
			}
		},
	},
	{
		name: "RELEASE to another server", rfc: "2131 4.3.4",
		proof: func(x *trial) {
			c := x.client()
			a := c.lease()
			x.must(c.put(c.message(release, has(a), chooses(stranger))))
			x.must(c.alive())
			if got := x.client().discover(wants(a)).yiaddr; got == a {
				x.fatalf("%s was released at another server and is free here", a)
			}
		},
		differs: map[string]string{dhcpd: "it does not look at the server id of a RELEASE"},
	},
	{
		name: "DECLINE keeps the address from others", rfc: "2131 4.3.3",
		proof: func(x *trial) {
			c := x.far()
			a := c.lease()
			c.decline(a)
			if got := x.far().discover(wants(a)).yiaddr; got == a {
				x.fatalf("%s, which somebody uses, is offered", a)
			}
		},
		differs: map[string]string{dnsmasq: "it keeps declined addresses from nobody"},
	},
	{
		name: "DECLINE gives another address to its client", rfc: "2131 3.1 (5)",
		proof: func(x *trial) {
			c := x.far()
			a := c.lease()
			c.decline(a)
			if got := c.discover().yiaddr; got == a {
				x.fatalf("%s is offered again to the client that declined it", a)
			}
		},
	},
	{
		name: "DECLINE is not answered", rfc: "2131 4.3.3",
		proof: func(x *trial) {
			c := x.far()
			a := c.lease()
			c.silence(c.message(decline, wants(a), chooses(serverIP)))
		},
	},
	{
		name: "DECLINE by a stranger", rfc: "2131 4.3.3",
		proof: func(x *trial) {
			c := x.far()
			a := c.lease()
			x.far().decline(a)
			equal(x, "renewed", c.rebind(a).yiaddr, a)
			equal(x, "offered", c.discover().yiaddr, a)
		},
		differs: map[string]string{dhcpd: "it believes a DECLINE by anybody"},
	},
	{
		name: "DECLINE of another client's address by one that has its own", rfc: "2131 4.3.3",
		proof: func(x *trial) {
			owner, c := x.far(), x.far()
			a, own := owner.lease(), c.lease()
			c.decline(a)
			equal(x, "renewed by its owner", owner.rebind(a).yiaddr, a)
			equal(x, "renewed by who declined", c.rebind(own).yiaddr, own)
		},
		differs: map[string]string{dhcpd: "it believes a DECLINE by anybody"},
	},
	{
		name: "DECLINE of a reservation leaves it", rfc: "2131 4.3.3",
		proof: func(x *trial) {
			c, a := x.node(5)
			c.lease()
			c.decline(a)
			equal(x, "address", c.discover().yiaddr, a) // else one forged packet takes a master down
		},
		differs: map[string]string{dnsmasq: "it gives an address of the pool for ten minutes"},
	},
	{
		name: "INFORM", rfc: "2131 4.3.5",
		proof: func(x *trial) {
			c := x.client()
			a := netip.MustParseAddr("192.168.67.251")
			c.hold(a, c.mac)
			r := c.exchange(c.message(inform, has(a), asks(1, 3, 6, 51, 58, 59)), ack)
			equal(x, "yiaddr", r.yiaddr, netip.IPv4Unspecified())
			equal(x, "ciaddr", r.ciaddr, a)
			equal(x, "DNS", r.get(optDNS), ip(serverIP, "192.168.67.3"))
			for _, code := range []byte{optLeaseTime, optT1, optT2} {
				if r.has(code) {
					x.fatalf("option %d is in the answer to an INFORM", code)
				}
			}
		},
	},
	{
		name: "INFORM by unicast", rfc: "2131 4.3.5",
		proof: func(x *trial) {
			c := x.client()
			a := netip.MustParseAddr("192.168.67.254")
			c.hold(a, c.mac)
			m := c.message(inform, has(a))
			x.must(c.send(c.unicast(m).frame(m.bytes())))
			c.arrives(c.next(m, ack), c.mac, a.String()+":68")
		},
	},
}

// decline tells the server that somebody has the address already.
func (c *client) decline(a netip.Addr) {
	c.must(c.put(c.message(decline, wants(a), chooses(serverIP))))
	c.must(c.alive())
}

// far is a client behind a relay: a DECLINE makes dnsmasq mix up its whole pool.
func (x *trial) far() *client {
	c := x.client()
	c.with = []mod{via("10.30.11.1")}
	return c
}

// rebind asks any server for more time.
func (c *client) rebind(a netip.Addr) *reply {
	return c.exchange(c.message(request, has(a)), ack)
}
