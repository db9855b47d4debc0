package dhcp

import (
	"net/netip"
	"time"
)

// squatted is an address of the pool that a machine has without having asked.
var squatted = netip.MustParseAddr("192.168.67.238")

// patient asks again and again, as clients do, until there is an offer.
func (c *client) patient(mods ...mod) *reply {
	for end := time.Now().Add(2 * patience); time.Now().Before(end); {
		m := c.message(discover, mods...)
		c.must(c.put(m))
		select {
		case r := <-c.await(m.xid):
			c.check(m, r)
			return r
		case <-time.After(2 * time.Second):
		}
	}
	c.fatalf("no offer")
	panic("not reached")
}

// granted asks for addresses at the end of the pool until one is offered: dnsmasq
// spreads its clients over the pool, so that one of them may be somebody's.
func (x *trial) granted(ask func(netip.Addr) mod) *reply {
	for last := byte(249); last > 239; last-- {
		want := netip.AddrFrom4([4]byte{192, 168, 67, last})
		if r := x.client().discover(ask(want)); r.yiaddr == want {
			return r
		}
	}
	x.fatalf("no address is offered that was asked for")
	panic("not reached")
}

// Which address a client gets.
var addressCases = []testCase{
	{
		name: "asked for and free", rfc: "2131 4.3.1",
		proof: func(x *trial) {
			x.granted(wants)
		},
	},
	{
		name: "asked for and taken", rfc: "2131 4.3.1",
		proof: func(x *trial) {
			taken := x.client().lease()
			r := x.client().discover(wants(taken))
			x.inPool(r.yiaddr)
			if r.yiaddr == taken {
				x.fatalf("%s is offered to a second client", taken)
			}
		},
	},
	{
		name: "asked for and offered to another", rfc: "2131 3.1 (2)",
		proof: func(x *trial) {
			held := x.client().discover().yiaddr
			if got := x.client().discover(wants(held)).yiaddr; got == held {
				x.fatalf("%s is offered to two clients", held)
			}
		},
		differs: map[string]string{dhcpd: "its offers give way to whoever asks", dnsmasq: "it holds no offers"},
		alone:   "servers need not hold an offer, and are told to: of two that boot at once one would begin again",
	},
	{
		name: "asked for and of another network", rfc: "2131 4.3.1",
		proof: func(x *trial) { x.inPool(x.client().discover(wants(netip.MustParseAddr("10.99.0.7"))).yiaddr) },
	},
	{
		name: "asked for and outside the pool", rfc: "2131 4.3.1",
		proof: func(x *trial) { x.inPool(x.client().discover(wants(netip.MustParseAddr("192.168.67.253"))).yiaddr) },
	},
	{
		name: "current lease", rfc: "2131 4.3.1",
		proof: func(x *trial) {
			c := x.client()
			have := c.lease()
			equal(x, "address", c.discover().yiaddr, have)
		},
	},
	{
		name: "previous lease", rfc: "2131 4.3.1",
		proof: func(x *trial) {
			c := x.client()
			had := c.lease()
			c.release(had)
			equal(x, "address", c.discover().yiaddr, had)
		},
	},
	{
		name: "one client id, two cards", rfc: "2131 4.2",
		proof: func(x *trial) {
			a, b := x.client(), x.client()
			a.id = "\xff" + a.mac.String()
			b.id = a.id
			equal(x, "address of the second card", b.lease(), a.lease())
		},
	},
	{
		name: "two client ids, one card", rfc: "2131 4.2",
		proof: func(x *trial) {
			a := x.client()
			b := x.machine(a.mac)
			a.id, b.id = "\xffone", "\xfftwo"
			if first, second := a.lease(), b.lease(); first == second {
				x.fatalf("both have %s", first)
			}
		},
	},
	{
		name: "reservation", rfc: "2131 4.3.1",
		proof: func(x *trial) {
			c, want := x.node(1)
			equal(x, "offered", c.discover().yiaddr, want)
			equal(x, "leased", c.lease(), want)
		},
	},
	{
		name: "reservation, whatever the client id", rfc: "4361 4.3",
		proof: func(x *trial) {
			c, want := x.node(1)
			for _, id := range []string{"", "\x00" + "0123456789abcdef", "\xff\x00\x00\x00\x01\x00\x04" + "0123456789abcdef", "\x01" + string(c.mac[:])} {
				c.id = id
				equal(x, "address with client id "+show(id), c.lease(), want)
			}
		},
	},
	{
		name: "reservation, whatever is asked for", rfc: "2131 4.3.1",
		proof: func(x *trial) {
			c, want := x.node(1)
			equal(x, "offered", c.discover(wants(netip.MustParseAddr("192.168.67.240"))).yiaddr, want)
		},
	},
	{
		name: "reservation by client id", rfc: "2131 4.2",
		proof: func(x *trial) {
			c := x.client()
			c.id = "\xff\x00\x00\x00\x01"
			equal(x, "address", c.lease(), netip.MustParseAddr("192.168.67.27"))
		},
	},
	{
		name: "reservation by UUID", rfc: "4578 2.3",
		proof: func(x *trial) {
			r := x.client().discover(with(optUUID, "\x00\x4c\x4c\x45\x44\x00\x51\x35\x10\x80\x52\xb4\xc0\x4f\x4a\x31\x32"))
			equal(x, "address", r.yiaddr, netip.MustParseAddr("192.168.67.28"))
		},
		differs: map[string]string{dnsmasq: "it knows machines by MAC and client id alone"},
	},
	{
		name: "reservation is not given to others", rfc: "2131 4.3.1",
		proof: func(x *trial) {
			owner, reserved := x.node(2)
			thief := x.client()
			thief.id = "\x01" + string(owner.mac[:]) // as if it were the owner
			r := thief.discover(wants(reserved))
			x.inPool(r.yiaddr)
			thief.denied(thief.message(request, chooses(serverIP), wants(reserved)))
			equal(x, "the owner's address", owner.lease(), reserved)
		},
	},
	{
		name: "sixty at once, sixty addresses", rfc: "2131 4.3.1",
		proof: func(x *trial) {
			var all []*client
			var asked []*message
			for i := range 60 {
				n := uint32(i+1) * 0x9e3779b1 // of all vendors: addresses in a row collide in no hash
				c := x.machine(mac{0x02, 0x66, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
				m := c.message(discover, via("10.30.11.1"))
				x.await(m.xid)
				all, asked = append(all, c), append(asked, m)
			}
			for i, c := range all {
				x.must(c.put(asked[i]))
			}
			seen := map[netip.Addr]bool{}
			for i, c := range all {
				seen[c.next(asked[i], offer).yiaddr] = true
			}
			equal(x, "number of addresses", len(seen), 60)
		},
		differs: map[string]string{dnsmasq: "it holds no offers, and hashes MACs to addresses"},
	},
	{
		name: "in use by a machine of no list", rfc: "2131 4.4.1, 2.2",
		proof: func(x *trial) {
			time.Sleep(2 * time.Second) // servers bound how many offers wait for a probe: let the other cases have theirs
			for range 3 {
				if got := x.client().patient(wants(squatted), with(optClass, "ping")).yiaddr; got == squatted {
					x.fatalf("%s is offered, and somebody answers for it", got)
				}
			}
		},
		differs: map[string]string{dnsmasq: "its pings are off, as each holds all other clients up"},
	},
	{
		name: "pool used up", rfc: "2131 4.3.1",
		proof: func(x *trial) {
			var all []*client
			var have []netip.Addr
			for range 4 {
				c := x.client()
				all, have = append(all, c), append(have, c.lease(via("10.30.9.1")))
			}
			late := x.client()
			late.silence(late.message(discover, via("10.30.9.1")))
			equal(x, "renewed", all[0].choose(have[0], via("10.30.9.1")).yiaddr, have[0])
			all[3].release(have[3])
			equal(x, "address after one is free", late.lease(via("10.30.9.1")), have[3])
		},
	},
}
