package plan

import (
	"net/netip"

	"helperd/config"
)

// ntpPort is where clients ask that are told an address alone, as by DHCP (RFC 5905 section 7.2).
const ntpPort = 123

// NTP is what the time server serves.
type NTP struct {
	Enabled  bool
	Listen   []netip.AddrPort
	Machines []netip.Prefix // that get an answer
	// Given are where machines look for the time on networks that name no server of
	// their own. They are told so while somebody answers there, be it another process of this machine.
	Given []netip.AddrPort
}

// ntp derives who is served the time, and where.
func (b *builder) ntp() {
	n := &b.p.NTP
	n.Given = b.given()
	if n.Enabled = b.c.NTP.Enabled; !n.Enabled {
		return
	}
	n.Listen = b.listen(b.c.NTP.Listen, b.c.NTP.Port)
	n.Machines = b.machines()
	if b.c.NTP.Port != ntpPort && len(n.Given) > 0 {
		b.say(config.Warning, "ntp.port", "ntp: machines that DHCP tells of the helper ask at port %d, and nothing answers there; remove port", ntpPort)
	}
}

// given are the addresses of the time server if some network names no other.
func (b *builder) given() []netip.AddrPort {
	for _, n := range b.c.Networks {
		if len(n.NTP) == 0 {
			at := b.c.NTP.Listen
			if at.IsUnspecified() {
				at = netip.Addr{}
			}
			return b.listen(at, ntpPort)
		}
	}
	return nil
}

// timeOf is the server in those that are given which n's machines reach by their protocol; zero: none.
func (b *builder) timeOf(n *config.Network) netip.AddrPort {
	if len(n.NTP) > 0 {
		return netip.AddrPort{}
	}
	for _, a := range b.p.NTP.Given {
		if a.Addr().Is4() == n.CIDR.Addr().Is4() {
			return a
		}
	}
	return netip.AddrPort{}
}

func (n *NTP) lines() []string {
	var w writer
	if n.Enabled {
		w.line("listen %s for %s", list(n.Listen), list(n.Machines))
	} else {
		w.line("disabled")
	}
	if len(n.Given) > 0 {
		w.line("machines are given %s while somebody answers there", list(n.Given))
	}
	return w
}
