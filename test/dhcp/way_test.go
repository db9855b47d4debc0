package dhcp

import "net/netip"

// How replies travel (RFC 2131 section 4.1).

func (c *client) arrives(r *reply, at mac, to string) {
	equal(c.trial, "receiver's MAC", r.toMAC, at)
	equal(c.trial, "receiver", r.to.String(), to)
}

const everyone = "255.255.255.255:68"

var wayCases = []testCase{
	{
		name: "unicast before the client has its address", rfc: "2131 4.1",
		proof: func(x *trial) {
			c := x.client()
			r := c.discover()
			c.arrives(r, c.mac, r.yiaddr.String()+":68")
			r = c.choose(r.yiaddr)
			c.arrives(r, c.mac, r.yiaddr.String()+":68")
		},
	},
	{
		name: "broadcast flag", rfc: "2131 4.1",
		proof: func(x *trial) {
			c := x.client()
			r := c.discover(flags(0x8000))
			c.arrives(r, everybody, everyone)
			c.arrives(c.choose(r.yiaddr, flags(0x8000)), everybody, everyone)
		},
	},
	{
		name: "renewal to ciaddr", rfc: "2131 4.1",
		proof: func(x *trial) {
			c := x.client()
			a := c.lease()
			c.arrives(c.renew(a, ack), c.mac, a.String()+":68")
		},
	},
	{
		name: "renewal to ciaddr though the broadcast flag is set", rfc: "2131 4.1",
		proof: func(x *trial) {
			c := x.client()
			a := c.lease()
			c.arrives(c.renew(a, ack, flags(0x8000)), c.mac, a.String()+":68")
		},
		differs: map[string]string{dhcpd: "it looks at the flag before ciaddr"},
	},
	{
		name: "rebinding by broadcast, answered to ciaddr", rfc: "2131 4.1",
		proof: func(x *trial) {
			c := x.client()
			a := c.lease()
			c.arrives(c.exchange(c.message(request, has(a)), ack), c.mac, a.String()+":68")
		},
	},
	{
		name: "renewal after the address was another machine's", rfc: "2131 4.1",
		proof: func(x *trial) {
			old, fresh := x.client(), x.client()
			a := old.lease()
			old.renew(a, ack) // by now the server's kernel may know its MAC
			old.release(a)
			fresh.choose(fresh.discover(wants(a)).yiaddr)
			fresh.arrives(fresh.renew(a, ack), fresh.mac, a.String()+":68")
		},
		differs: map[string]string{dhcpd: "it sends by the kernel's neighbour table, which still has the other machine"},
	},
	{
		name: "NAK by broadcast", rfc: "2131 4.1",
		proof: func(x *trial) {
			c := x.client()
			c.lease()
			r := c.exchange(c.message(request, wants(netip.MustParseAddr("10.99.0.7"))), nak)
			c.arrives(r, everybody, everyone)
		},
	},
	{
		name: "INFORM answered to ciaddr", rfc: "2131 4.3.5",
		proof: func(x *trial) {
			c := x.client()
			a := netip.MustParseAddr("192.168.67.252")
			c.hold(a, c.mac)
			r := c.exchange(c.message(inform, has(a)), ack)
			c.arrives(r, c.mac, a.String()+":68")
		},
	},
	{
		name: "relay at port 67", rfc: "2131 4.1",
		proof: func(x *trial) {
			c := x.client()
			c.arrives(c.discover(via("10.30.8.1")), relayMAC, "10.30.8.1:67")
		},
	},
	{
		name: "relay though the broadcast flag is set", rfc: "2131 4.1",
		proof: func(x *trial) {
			c := x.client()
			r := c.discover(via("10.30.8.1"), flags(0x8000))
			c.arrives(r, relayMAC, "10.30.8.1:67")
			equal(x, "flags", r.flags, 0x8000)
		},
	},
	{
		name: "renewal from behind a router", rfc: "2131 4.1",
		proof: func(x *trial) {
			c := x.client()
			a := c.lease(via("10.30.8.1"))
			x.hold(a, relayMAC) // the router forwards
			m := c.message(request, has(a))
			w := c.unicast(m)
			w.fromMAC = relayMAC
			x.must(c.send(w.frame(m.bytes())))
			r := c.next(m, ack)
			equal(x, "receiver", r.to.String(), a.String()+":68")
			equal(x, "receiver's MAC", r.toMAC, relayMAC)
		},
	},
	{
		name: "at least 300 bytes", rfc: "1542 2.1",
		proof: func(x *trial) {
			if r := x.client().discover(asks(optMask)); r.size < 300 {
				x.fatalf("a message of %d bytes", r.size)
			}
		},
	},
}
