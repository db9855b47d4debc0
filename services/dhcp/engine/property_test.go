package engine

import (
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"pgregory.net/rapid"

	"helperd/plan"
)

// Whatever clients send in whatever order, with commits that come late, fail, or
// fail and are on disk all the same, reloads and restarts in between: an address that was acknowledged to one client is not
// acknowledged to another before its time is over, is in the pool or reserved
// for the client, and is known after a restart.
func TestNoAddressTwice(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := newLab(t, basic())
		type promise struct {
			mac   plan.MAC
			until int64
		}
		promised := map[netip.Addr]promise{}
		disk := map[netip.Addr]stateLease{}
		have := map[plan.MAC]string{} // what a client believes to have
		offered := map[plan.MAC]string{}
		asked := map[plan.MAC]int{} // a client hears only the answer to its last request
		type written struct {
			mac    plan.MAC
			asked  int
			at     int64 // a client counts its lease from the request (RFC 2131 section 4.4.1)
			record Record
			answer *dhcpv4.DHCPv4
		}
		var queue []written
		accept := func(mac plan.MAC, got *dhcpv4.DHCPv4, at int64) {
			addr := yiaddr(got)
			switch got.MessageType() {
			case dhcpv4.MessageTypeOffer:
				offered[mac] = addr.String()
			case dhcpv4.MessageTypeNak:
				delete(have, mac)
			case dhcpv4.MessageTypeAck:
				if p, ok := promised[addr]; ok && p.mac != mac && p.until > l.now {
					rt.Fatalf("%s is promised to %s for %d s more and was given to %s", addr, p.mac, p.until-l.now, mac)
				}
				if (mac == node) != (addr == ip("192.168.67.10")) || mac != node && !l.policy.subnets[1].Prefix.Contains(addr) {
					rt.Fatalf("%s got %s", mac, addr)
				}
				promised[addr] = promise{mac, at + int64(got.IPAddressLeaseTime(0).Seconds())}
				have[mac] = addr.String()
				if mac != node && promised[addr].until > l.now && disk[addr].Expires.Unix() < promised[addr].until {
					rt.Fatalf("%s is promised until %d, the disk says %d", addr, promised[addr].until, disk[addr].Expires.Unix())
				}
			}
		}
		macs := []plan.MAC{node, {2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, {2, 0, 0, 0, 0, 3}, {2, 0, 0, 0, 0, 4}, {2, 0, 0, 0, 0, 5}, {2, 0, 0, 0, 0, 6}, {2, 0, 0, 0, 0, 7}}
		addrs := []string{"192.168.67.10", "192.168.67.100", "192.168.67.102", "192.168.67.104", "192.168.67.105", "10.0.0.1"}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			mac := rapid.SampledFrom(macs).Draw(rt, "client")
			var mods []dhcpv4.Modifier
			if rapid.Bool().Draw(rt, "with id") {
				mods = append(mods, opt(61, "\x00"+mac.String()))
			}
			var got *dhcpv4.DHCPv4
			send := func(typ dhcpv4.MessageType, more ...dhcpv4.Modifier) {
				asked[mac]++
				got = l.sendUnstored(mac, typ, append(mods, more...)...)
			}
			l.last = Answer{}
			mustWrite := false
			switch rapid.IntRange(0, 12).Draw(rt, "step") {
			case 0:
				send(dhcpv4.MessageTypeDiscover, requested(rapid.SampledFrom(addrs).Draw(rt, "wanted")))
			case 1:
				send(dhcpv4.MessageTypeDiscover)
			case 2:
				send(dhcpv4.MessageTypeDiscover, opt(80, ""))
			case 3, 4:
				if offered[mac] != "" {
					send(dhcpv4.MessageTypeRequest, server("192.168.67.2"), requested(offered[mac]))
				}
			case 5:
				send(dhcpv4.MessageTypeRequest, requested(rapid.SampledFrom(addrs).Draw(rt, "remembered")))
			case 6:
				if have[mac] != "" {
					send(dhcpv4.MessageTypeRequest, ciaddr(have[mac]))
				}
			case 7:
				l.now += rapid.SampledFrom([]int64{1, 59, 61, 3000, 7200, 14402}).Draw(rt, "seconds")
			case 8:
				if a := have[mac]; a != "" && rapid.Bool().Draw(rt, "release") {
					send(dhcpv4.MessageTypeRelease, ciaddr(a))
					delete(promised, netip.MustParseAddr(a))
					delete(have, mac)
				} else if a != "" {
					send(dhcpv4.MessageTypeDecline, requested(a), server("192.168.67.2"))
					delete(promised, netip.MustParseAddr(a))
					delete(have, mac)
				}
			case 9:
				if rapid.Bool().Draw(rt, "restart") {
					queue = nil
					var leases []stateLease
					for _, r := range disk {
						leases = append(leases, r)
					}
					l.e = New(leases)
				}
				d := basic()
				d.Subnets[0].Pool.Last = ip(rapid.SampledFrom([]string{"192.168.67.102", "192.168.67.104"}).Draw(rt, "end of pool"))
				l.adopt(d)
			case 12: // the clock is set; clients count by themselves; the disk is up to date before it fails or the server ends
				mustWrite = true
				by := rapid.SampledFrom([]int64{-1 << 20, 1 << 20}).Draw(rt, "clock")
				l.now += by
				for addr, p := range promised {
					p.until += by
					promised[addr] = p
				}
				for i := range queue {
					queue[i].at += by
				}
				for _, r := range l.e.Stepped(by, l.now) {
					queue = append(queue, written{record: r})
				}
			}
			switch {
			case l.last.Durable && (l.e.unwritable || rapid.IntRange(0, 9).Draw(rt, "room in the queue") == 0):
				l.e.Lost(&l.last.Record, l.now)
			case l.last.Durable:
				queue = append(queue, written{mac, asked[mac], l.now, l.last.Record, got})
			case got != nil:
				accept(mac, got, l.now)
			}
			if l.e.unwritable && (mustWrite || rapid.IntRange(0, 4).Draw(rt, "disk is back") == 0) {
				l.e.SetWritable(true)
				for _, r := range l.e.Unstored() {
					queue = append(queue, written{record: r})
				}
			}
			if len(queue) == 0 || !mustWrite && rapid.IntRange(0, 2).Draw(rt, "disk is busy") > 0 {
				continue
			}
			fails := !mustWrite && rapid.IntRange(0, 4).Draw(rt, "disk") == 0
			partly := fails && rapid.Bool().Draw(rt, "the disk has it all the same")
			if fails {
				l.e.SetWritable(false)
			}
			for _, w := range queue {
				if partly {
					disk[w.record.Address] = w.record.Lease
				}
				if fails {
					l.e.Lost(&w.record, l.now)
					continue
				}
				disk[w.record.Address] = w.record.Lease
				l.e.Stored(&w.record)
			}
			for _, w := range queue {
				if !fails && w.answer != nil && w.asked == asked[w.mac] {
					accept(w.mac, w.answer, w.at)
				}
			}
			queue = nil
		}
	})
}
