package dhcp

import (
	"bytes"
	"net/netip"
	"strings"
)

// The values of options, and how clients' options are read.

// value makes a case that asks one reservation for one option.
func value(name, rfc string, code byte, want string) testCase {
	return testCase{
		name: name, rfc: rfc,
		proof: func(x *trial) {
			c := x.machine(bootstrap)
			equal(x, "offered", c.discover(asks(code)).get(code), want)
			equal(x, "acknowledged", c.choose(netip.MustParseAddr("192.168.67.10"), asks(code)).get(code), want)
		},
	}
}

var optionCases = []testCase{
	value("mask", "2132 3.3", optMask, ip("255.255.255.0")),
	value("router", "2132 3.5", optRouter, ip(routerIP)),
	value("name servers in their order", "2132 3.8", optDNS, ip(serverIP, "192.168.67.3")),
	value("domain", "2132 3.17", optDomain, zone),
	value("MTU", "2132 5.1", optMTU, word(9000)),
	value("broadcast address", "2132 5.3", optBroadcast, ip("192.168.67.255")),
	value("time servers", "2132 8.3", optNTP, ip("192.168.67.4")),
	value("search list", "3397 2", optSearch, "\x04ocp4\x07example\x03com\x00"),
	value("classless routes", "3442", optRoutes, "\x00"+ip(routerIP)+"\x0e\x0a\x14"+ip("192.168.67.9")),
	{
		name: "host name", rfc: "2132 3.14",
		proof: func(x *trial) {
			got := x.machine(bootstrap).discover(asks(optHostname)).get(optHostname)
			if name, _, _ := strings.Cut(got, "."); name != "bootstrap" {
				x.fatalf("host name is %s", show(got))
			}
		},
	},
	{
		name: "no router beside classless routes", rfc: "3442",
		proof: func(x *trial) {
			r := x.machine(bootstrap).discover(asks(optRouter, optRoutes))
			if r.has(optRouter) || !r.has(optRoutes) {
				x.fatalf("options %d, want 121 and not 3", r.codes())
			}
		},
		differs: map[string]string{dhcpd: "it sends both", dnsmasq: "it sends both"},
		alone:   "a client that takes both would have two default routes",
	},
	{
		name: "order of the parameter request list", rfc: "2132 9.8",
		proof: func(x *trial) {
			want := []byte{optNTP, optDomain, optMask, optDNS, optMTU, optSearch}
			var got []byte
			for _, code := range x.machine(bootstrap).discover(asks(want...)).codes() {
				if bytes.IndexByte(want, code) >= 0 {
					got = append(got, code)
				}
			}
			equal(x, "order", string(got), string(want))
		},
		differs: map[string]string{dnsmasq: "it has an order of its own"},
	},
	{
		name: "mask before router", rfc: "2132 3.3",
		proof: func(x *trial) {
			codes := x.machine(bootstrap).discover(asks(optRouter, optDNS, optMask)).codes()
			if m, r := bytes.IndexByte(codes, optMask), bytes.IndexByte(codes, optRouter); m < 0 || m > r {
				x.fatalf("options %d", codes)
			}
		},
	},
	{
		name: "unknown options are asked for", rfc: "2132 9.8",
		proof: func(x *trial) {
			r := x.machine(bootstrap).discover(asks(251, optDNS, 0, 255, 199))
			equal(x, "DNS", r.get(optDNS), ip(serverIP, "192.168.67.3"))
			if r.has(251) || r.has(199) {
				x.fatalf("options %d", r.codes())
			}
		},
	},
	{
		name: "nothing asked for: mask and router come", rfc: "2131 4.3.1",
		proof: func(x *trial) {
			r := x.machine(bootstrap).discover()
			equal(x, "mask", r.get(optMask), ip("255.255.255.0"))
			equal(x, "router", r.get(optRouter), ip(routerIP))
		},
	},
	{
		name: "client id echoed in OFFER and ACK", rfc: "6842 3",
		proof: func(x *trial) {
			c := x.client()
			c.id = "\xff\x12\x34" + string(c.mac[:])
			o := c.discover()
			equal(x, "of the OFFER", o.get(optClientID), c.id)
			equal(x, "of the ACK", c.choose(o.yiaddr).get(optClientID), c.id)
		},
		differs: map[string]string{dnsmasq: "it never echoes client ids"},
	},
	{
		name: "no client id, none echoed", rfc: "6842 3",
		proof: func(x *trial) {
			if r := x.client().discover(asks(optClientID)); r.has(optClientID) {
				x.fatalf("client id %x", r.get(optClientID))
			}
		},
	},
	{
		name: "pads between options", rfc: "2132 3.1",
		proof: func(x *trial) {
			c := x.client()
			m := c.message(discover, asks(optDNS))
			b := m.bytes()
			b = append(append(b[:optionsAt:optionsAt], 0, 0, 0), b[optionsAt:]...)
			x.must(c.send(c.broadcast(m).frame(b)))
			equal(x, "DNS", c.next(m, offer).get(optDNS), ip(serverIP, "192.168.67.3"))
		},
	},
	{
		name: "options after the end do not count", rfc: "2132 3.2",
		proof: func(x *trial) {
			c := x.client()
			m := c.message(discover)
			b := m.bytes()
			copy(b[optionsAt+4:], []byte{optType, 1, release, optMaxSize, 200})
			x.must(c.send(c.broadcast(m).frame(b)))
			c.next(m, offer)
		},
	},
	{
		name: "no padding", rfc: "2131 2",
		proof: func(x *trial) {
			c := x.client()
			m := c.message(discover)
			x.must(c.send(c.broadcast(m).frame(m.bytes()[:optionsAt+4])))
			c.next(m, offer)
		},
	},
	{
		name: "overload: options in file", rfc: "2132 9.3",
		proof: func(x *trial) {
			c := x.client()
			r := c.discover(with(optOverload, "\x01"), func(m *message) {
				copy(m.file[:], append([]byte{0, optParams, 1, optNTP, optClientID, 4, 0xff}, "fil\xff"...))
			})
			equal(x, "NTP", r.get(optNTP), ip("192.168.67.4"))
		},
	},
	{
		name: "overload: options in sname", rfc: "2132 9.3",
		proof: func(x *trial) {
			x.granted(func(want netip.Addr) mod {
				return all(with(optOverload, "\x02"), func(m *message) {
					copy(m.sname[:], append([]byte{optRequested, 4}, ip(want.String())+"\xff"...))
				})
			})
		},
	},
	{
		name: "overload: options in both", rfc: "2132 9.3",
		proof: func(x *trial) {
			r := x.granted(func(want netip.Addr) mod {
				return all(with(optOverload, "\x03"), func(m *message) {
					copy(m.file[:], append([]byte{optParams, 1, optNTP}, 255))
					copy(m.sname[:], append([]byte{optRequested, 4}, ip(want.String())+"\xff"...))
				})
			})
			equal(x, "NTP", r.get(optNTP), ip("192.168.67.4"))
		},
	},
	{
		name: "file and sname are no options without overload", rfc: "2131 4.1",
		proof: func(x *trial) {
			r := x.client().discover(asks(optMask), func(m *message) {
				copy(m.sname[:], append([]byte{optParams, 1, optNTP}, 255))
			})
			if r.has(optNTP) {
				x.fatalf("an option was read from sname")
			}
		},
	},
	{
		name: "split client id", rfc: "3396 7",
		proof: func(x *trial) {
			c := x.client()
			whole := "\xffsplit" + string(c.mac[:])
			o := c.discover(with(optClientID, whole[:5]), asks(optDNS), with(optClientID, whole[5:]))
			equal(x, "client id", o.get(optClientID), whole)
			c.id = whole
			equal(x, "address by the whole client id", c.discover().yiaddr, o.yiaddr)
		},
		differs: map[string]string{dnsmasq: "it never echoes client ids"},
	},
	{
		name: "split parameter request list", rfc: "3396 7",
		proof: func(x *trial) {
			r := x.client().discover(asks(optMask), with(optClass, "test"), asks(optNTP))
			equal(x, "NTP", r.get(optNTP), ip("192.168.67.4"))
		},
		differs: map[string]string{dnsmasq: "it reads the first part alone"},
	},
	{
		name: "split over options field and file", rfc: "3396 5",
		proof: func(x *trial) {
			c := x.client()
			whole := "\xffover" + string(c.mac[:])
			o := c.discover(with(optClientID, whole[:5]), with(optOverload, "\x01"), func(m *message) {
				copy(m.file[:], append([]byte{optClientID, byte(len(whole) - 5)}, whole[5:]+"\xff"...))
			})
			equal(x, "client id", o.get(optClientID), whole)
		},
		differs: map[string]string{dnsmasq: "it never echoes client ids"},
	},
}

var sizeCases = []testCase{
	{
		name: "no maximum: 576 bytes with headers", rfc: "2131 2",
		proof: func(x *trial) { x.fits(576) },
	},
	{
		name: "maximum too small to be one", rfc: "2132 9.10",
		proof: func(x *trial) { x.fits(576, with(optMaxSize, word(64))) },
	},
	{
		name: "maximum of an Ethernet frame", rfc: "2132 9.10",
		proof: func(x *trial) { x.fits(1500, with(optMaxSize, word(1500))) },
	},
	{
		name: "maximum larger than the link", rfc: "2132 9.10",
		proof: func(x *trial) { x.fits(1500, with(optMaxSize, word(65280))) }, // as OVMF asks
	},
	{
		name: "maximum of three bytes is none", rfc: "2132 9.10",
		proof:   func(x *trial) { x.fits(576, with(optMaxSize, "\x05\xdc\x00")) },
		differs: map[string]string{dhcpd: "it reads the first two bytes"},
	},
	{
		name: "must-haves come first when room is short", rfc: "2131 4.3.1 table 3",
		proof: func(x *trial) {
			r := x.fits(576, asks(optSearch, optRoutes, optHostname, optDomain, optDNS, optNTP))
			equal(x, "lease", r.seconds(optLeaseTime), lease)
			equal(x, "server id", r.get(optServerID), ip(serverIP))
		},
	},
}

// fits asks with a long client id for all there is, and fails unless the whole datagram has at most limit bytes.
func (x *trial) fits(limit int, mods ...mod) *reply {
	c := x.machine(bootstrap)
	c.id = "\xff" + strings.Repeat("long", 40)
	r := c.discover(append([]mod{asks(1, 3, 6, 12, 15, 26, 28, 42, 51, 54, 58, 59, 66, 67, 119, 121), pxe(0)}, mods...)...)
	if size := r.size + ipHeader + 8; size > limit {
		x.fatalf("a datagram of %d bytes, want at most %d", size, limit)
	}
	return r
}
