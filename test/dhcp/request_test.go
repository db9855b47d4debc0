package dhcp

import "net/netip"

const stranger = "192.168.67.77" // a DHCP server that is not there

var requestCases = []testCase{
	{
		name: "SELECTING", rfc: "2131 4.3.1 table 3",
		proof: func(x *trial) {
			c := x.client()
			o := c.discover()
			r := c.choose(o.yiaddr)
			equal(x, "ciaddr", r.ciaddr, netip.IPv4Unspecified())
			equal(x, "lease", r.seconds(optLeaseTime), lease)
			if r.has(optRequested) || r.has(optParams) || r.has(optMaxSize) {
				x.fatalf("options of a client in an ACK: %d", r.codes())
			}
		},
	},
	{
		name: "OFFER and ACK say the same", rfc: "2131 4.3.1",
		proof: func(x *trial) {
			c := x.client()
			ask := asks(1, 3, 6, 12, 15, 26, 28, 42, 119)
			o := c.discover(ask)
			r := c.choose(o.yiaddr, ask)
			for _, code := range o.codes() {
				if code != optType && o.get(code) != r.get(code) {
					x.fatalf("option %d is %s in the OFFER and %s in the ACK", code, show(o.get(code)), show(r.get(code)))
				}
			}
		},
	},
	{
		name: "repeated REQUEST, same ACK", rfc: "2131 4.3.2",
		proof: func(x *trial) {
			c := x.client()
			a := c.lease()
			for range 3 {
				c.choose(a)
			}
		},
	},
	{
		name: "another server was chosen", rfc: "2131 3.1 (4)",
		proof: func(x *trial) {
			c := x.client()
			a := c.discover().yiaddr
			c.silence(c.message(request, chooses(stranger), wants(a)))
		},
		differs: map[string]string{dhcpd: "it looks at server ids of its own links alone", dnsmasq: "authoritative, it refuses what names another server"},
		alone:   "the client declines our offer by this; an answer would disturb what it has with the other server",
	},
	{
		name: "another server was chosen by a known machine", rfc: "2131 3.1 (4)",
		proof: func(x *trial) {
			c, a := x.node(3)
			c.silence(c.message(request, chooses(stranger), wants(a)))
		},
		differs: map[string]string{dhcpd: "it looks at server ids of its own links alone", dnsmasq: "authoritative, it refuses what names another server"},
		alone:   "the client declines our offer by this; an answer would disturb what it has with the other server",
	},
	{
		name: "another server was chosen, with its address", rfc: "2131 3.1 (4)",
		proof: func(x *trial) {
			c := x.client()
			c.discover()
			c.silence(c.message(request, chooses(stranger), wants(netip.MustParseAddr("172.16.0.7"))))
		},
		differs: map[string]string{dhcpd: "it looks at server ids of its own links alone", dnsmasq: "authoritative, it refuses what names another server"},
		alone:   "the client declines our offer by this; an answer would disturb what it has with the other server",
	},
	{
		name: "another server was chosen, the offer is free", rfc: "2131 3.1 (4)",
		proof: func(x *trial) {
			c := x.client()
			a := c.discover().yiaddr
			x.must(c.put(c.message(request, chooses(stranger), wants(a))))
			equal(x, "offered to the next", x.client().discover(wants(a)).yiaddr, a)
		},
		differs: map[string]string{dhcpd: "it acknowledges that REQUEST itself"},
	},
	{
		name: "INIT-REBOOT", rfc: "2131 4.3.2",
		proof: func(x *trial) {
			c := x.client()
			a := c.lease()
			equal(x, "address", c.exchange(c.message(request, wants(a)), ack).yiaddr, a)
		},
	},
	{
		name: "INIT-REBOOT of a known machine", rfc: "2131 4.3.2",
		proof: func(x *trial) {
			c, a := x.node(3)
			equal(x, "address", c.exchange(c.message(request, wants(a)), ack).yiaddr, a)
		},
	},
	{
		name: "INIT-REBOOT without a record", rfc: "2131 4.3.2",
		proof: func(x *trial) {
			c := x.client()
			c.silence(c.message(request, wants(netip.MustParseAddr("192.168.67.246"))))
		},
		differs: map[string]string{dhcpd: "authoritative, it gives a free address to whoever says that it has it", dnsmasq: "authoritative, it gives a free address to whoever says that it has it"},
		alone:   "a server without a record MUST remain silent: the address may be another server's",
	},
	{
		name: "RENEWING", rfc: "2131 4.3.2",
		proof: func(x *trial) {
			c := x.client()
			a := c.lease()
			r := c.renew(a, ack)
			equal(x, "ciaddr", r.ciaddr, a)
			equal(x, "yiaddr", r.yiaddr, a)
			if left := r.seconds(optLeaseTime); left < lease*3/4 || left > lease {
				x.fatalf("lease of %d s", left)
			}
		},
	},
	{
		name: "RENEWING of a known machine", rfc: "2131 4.3.2",
		proof: func(x *trial) {
			c, a := x.node(3)
			x.hold(a, c.mac)
			equal(x, "yiaddr", c.renew(a, ack).yiaddr, a)
		},
	},
	{
		name: "REBINDING", rfc: "2131 4.3.2",
		proof: func(x *trial) {
			c := x.client()
			a := c.lease()
			r := c.exchange(c.message(request, has(a)), ack)
			equal(x, "ciaddr", r.ciaddr, a)
			equal(x, "yiaddr", r.yiaddr, a)
		},
	},
	{
		name: "REBINDING without a record", rfc: "2131 4.3.2",
		proof: func(x *trial) {
			c := x.client()
			a := netip.MustParseAddr("192.168.67.247")
			c.hold(a, c.mac)
			c.silence(c.message(request, has(a)))
		},
		differs: map[string]string{dhcpd: "authoritative, it gives a free address to whoever says that it has it", dnsmasq: "authoritative, it gives a free address to whoever says that it has it"},
		alone:   "the lease may be another server's, which would have the address and not know that we gave it",
	},
	{
		name: "no address and no server", rfc: "2131 4.3.2",
		proof: func(x *trial) {
			c := x.client()
			c.silence(c.message(request))
		},
		differs: map[string]string{dnsmasq: "it says that 0.0.0.0 is of the wrong network"},
	},
}

// A NAK, and when there is one.
var nakCases = []testCase{
	{
		name: "fields", rfc: "2131 4.3.1 table 3",
		proof: func(x *trial) {
			c := x.client()
			c.lease()
			r := c.exchange(c.message(request, wants(netip.MustParseAddr("10.99.0.7")), asks(1, 3, 6, 51)), nak)
			zero := netip.IPv4Unspecified()
			equal(x, "ciaddr", r.ciaddr, zero)
			equal(x, "yiaddr", r.yiaddr, zero)
			equal(x, "siaddr", r.siaddr, zero)
			equal(x, "file", r.bootFile(), "")
			for _, code := range []byte{optMask, optRouter, optDNS, optRequested, optLeaseTime, optParams, optMaxSize, optT1, optT2} {
				if r.has(code) {
					x.fatalf("option %d is in the NAK", code)
				}
			}
		},
	},
	{
		name: "client id echoed", rfc: "6842 3",
		proof: func(x *trial) {
			c := x.client()
			c.id = "\xffnak" + string(c.mac[:])
			c.lease()
			r := c.exchange(c.message(request, wants(netip.MustParseAddr("10.99.0.7"))), nak)
			equal(x, "client id", r.get(optClientID), c.id)
		},
		differs: map[string]string{dnsmasq: "it never echoes client ids"},
	},
	{
		name: "INIT-REBOOT on the wrong network", rfc: "2131 4.3.2",
		proof: func(x *trial) {
			c := x.client()
			c.exchange(c.message(request, wants(netip.MustParseAddr("10.99.0.7"))), nak)
		},
	},
	{
		name: "INIT-REBOOT with another address than its own", rfc: "2131 4.3.2",
		proof: func(x *trial) {
			c := x.client()
			c.lease()
			c.exchange(c.message(request, wants(netip.MustParseAddr("192.168.67.248"))), nak)
		},
		differs: map[string]string{dhcpd: "it gives the other address, which is free"},
	},
	{
		name: "INIT-REBOOT of a known machine with a wrong address", rfc: "2131 4.3.2",
		proof: func(x *trial) {
			c, _ := x.node(4)
			c.exchange(c.message(request, wants(netip.MustParseAddr("192.168.67.240"))), nak)
		},
	},
	{
		name: "INIT-REBOOT with another client's address", rfc: "2131 4.3.2",
		proof: func(x *trial) {
			a := x.client().lease()
			c := x.client()
			c.exchange(c.message(request, wants(a)), nak)
		},
	},
	{
		name: "SELECTING another client's address", rfc: "2131 4.3.2",
		proof: func(x *trial) {
			a := x.client().lease()
			c := x.client()
			c.discover()
			c.exchange(c.message(request, chooses(serverIP), wants(a)), nak)
		},
	},
	{
		name: "SELECTING another address than reserved", rfc: "2131 4.3.2",
		proof: func(x *trial) {
			c, _ := x.node(4)
			c.discover()
			c.exchange(c.message(request, chooses(serverIP), wants(netip.MustParseAddr("192.168.67.240"))), nak)
		},
		differs: map[string]string{dnsmasq: "it gives an address of the pool to whoever asks for it"},
	},
	{
		name: "RENEWING what is another client's by now", rfc: "2131 4.3.2",
		proof: func(x *trial) {
			a, b := x.client(), x.client()
			address := a.lease()
			a.release(address)
			b.choose(b.discover(wants(address)).yiaddr)
			c := a.message(request, has(address))
			x.must(a.send(a.unicast(c).frame(c.bytes())))
			a.next(c, nak)
		},
	},
	{
		name: "REBINDING on the wrong network", rfc: "2131 4.3.2",
		proof: func(x *trial) {
			c := x.client()
			c.lease()
			a := netip.MustParseAddr("10.99.0.8")
			c.hold(a, c.mac)
			c.exchange(c.message(request, has(a)), nak)
		},
		differs: map[string]string{dhcpd: "it ignores networks that it does not serve", dnsmasq: "it ignores networks that it does not serve"},
		alone:   "as in INIT-REBOOT: a machine that was moved in its sleep would keep a useless address to the end of the lease",
	},
}
