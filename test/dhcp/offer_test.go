package dhcp

import (
	"net/netip"
	"slices"
)

// What an OFFER says, and to whom the addresses go.

var offerCases = []testCase{
	{
		name: "fields", rfc: "2131 4.3.1 table 3",
		proof: func(x *trial) {
			r := x.client().discover(func(m *message) { m.secs = 7 })
			x.inPool(r.yiaddr)
			equal(x, "ciaddr", r.ciaddr, netip.IPv4Unspecified())
			equal(x, "flags", r.flags, 0)
		},
	},
	{
		name: "secs and hops are zero", rfc: "2131 4.3.1 table 3",
		proof: func(x *trial) {
			r := x.client().discover(via("10.30.8.1"), func(m *message) { m.secs, m.hops = 7, 3 })
			equal(x, "secs", r.secs, 0)
			equal(x, "hops", r.hops, 0)
		},
		differs: map[string]string{dhcpd: "it copies the request's", dnsmasq: "it copies the request's"},
		alone:   "the table says 0 for both",
	},
	{
		name: "xid of all ones", rfc: "2131 4.3.1 table 3",
		proof: func(x *trial) {
			r := x.client().discover(func(m *message) { m.xid = 0xffffffff })
			equal(x, "xid", r.xid, 0xffffffff)
		},
	},
	{
		name: "long wait in secs", rfc: "2131 2",
		proof: func(x *trial) {
			x.client().discover(func(m *message) { m.secs = 0xffff })
		},
	},
	{
		name: "flags echoed", rfc: "2131 4.3.1 table 3",
		proof: func(x *trial) {
			equal(x, "flags", x.client().discover(flags(0x8000)).flags, 0x8000)
		},
	},
	{
		name: "forbidden options", rfc: "2131 4.3.1 table 3",
		proof: func(x *trial) {
			r := x.client().discover(asks(1, 3, 50, 51, 55, 57), with(optMaxSize, word(1400)))
			for _, code := range []byte{optRequested, optParams, optMaxSize} {
				if r.has(code) {
					x.fatalf("option %d is in the OFFER", code)
				}
			}
		},
	},
	{
		name: "each option once", rfc: "2131 4.1",
		proof: func(x *trial) {
			codes := x.client().discover(asks(1, 1, 3, 6, 6, 6, 51, 53, 54, 54)).codes()
			slices.Sort(codes)
			for i := range codes[1:] {
				if codes[i] == codes[i+1] {
					x.fatalf("option %d comes twice", codes[i])
				}
			}
		},
	},
	{
		name: "type and server id asked for or not", rfc: "2131 4.3.1 table 3",
		proof: func(x *trial) {
			r := x.client().discover(asks(optDNS))
			for _, code := range []byte{optType, optServerID, optLeaseTime} {
				if !r.has(code) {
					x.fatalf("option %d is missing", code)
				}
			}
		},
	},
	{
		name: "lease time", rfc: "2131 3.3",
		proof: func(x *trial) { equal(x, "lease", x.client().discover().seconds(optLeaseTime), lease) },
	},
	{
		name: "T1 and T2", rfc: "2131 4.4.5",
		proof: func(x *trial) {
			r := x.client().discover(asks(optLeaseTime, optT1, optT2))
			equal(x, "T1", r.seconds(optT1), lease/2)
			equal(x, "T2", r.seconds(optT2), lease*7/8)
		},
	},
	{
		name: "lease for ever is cut", rfc: "2131 4.3.1",
		proof: func(x *trial) {
			r := x.client().discover(with(optLeaseTime, "\xff\xff\xff\xff"))
			if got := r.seconds(optLeaseTime); got > lease {
				x.fatalf("lease of %d s, want at most %d", got, lease)
			}
		},
	},
	{
		name: "repeated DISCOVER, same offer", rfc: "2131 4.3.1",
		proof: func(x *trial) {
			c := x.client()
			first := c.discover().yiaddr
			for range 3 {
				equal(x, "address", c.discover().yiaddr, first)
			}
		},
	},
}
