package engine

import (
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"helperd/state"
)

// While nothing can be written, what is on disk is promised for what is left of
// it, reservations go on, and nobody else is answered.
func TestUnwritable(t *testing.T) {
	l := newLab(t, basic())
	a := l.lease(stranger)
	l.now += 2 * 3600
	l.handle(eui64(stranger), compose(ren, dhcpv6.WithClientID(duidLL(stranger)), ia(1, a), ours).ToBytes())
	l.e.Lost(&l.last.Records[0], l.now)
	l.e.SetWritable(false)
	for _, typ := range []dhcpv6.MessageType{ren, reb, req} {
		m := l.ask(stranger, typ, ia(1, a), ours)
		if typ == reb {
			m = l.ask(stranger, typ, ia(1, a))
		}
		if m == nil || lifetime(m, a) != 2*time.Hour || len(l.last.Records) != 0 {
			t.Errorf("%s: %v, records %v", typ, m, l.last.Records)
		}
	}
	if got := l.lease(node); got != ip("fd00:67::10") {
		t.Errorf("the reservation: %s", got)
	}
	for _, m := range []*dhcpv6.Message{
		l.ask(other, sol, ia(1)), l.ask(other, sol, ia(1), dhcpv6.WithRapidCommit), l.ask(other, req, ia(1, ip("fd00:67::103")), ours),
	} {
		if m != nil || len(l.last.Records) != 0 {
			t.Errorf("a new client: %v", m)
		}
	}
	l.now += 2*3600 - leastLeft + 1
	if m := l.ask(stranger, ren, ia(1, a), ours); m != nil {
		t.Errorf("promised again: %v", m)
	}
	l.e.SetWritable(true)
	if got := l.lease(other); !got.IsValid() || got == a {
		t.Errorf("afterwards a new client gets %s", got)
	}
}

// What the disk missed is written when it is back, as it is by then; and an
// earlier record that is stored counts, though a later one is lost.
func TestUnstored(t *testing.T) {
	l := newLab(t, basic())
	released, declined := l.lease(stranger), l.lease(other)
	l.handle(eui64(stranger), compose(rel, dhcpv6.WithClientID(duidLL(stranger)), ia(1, released), ours).ToBytes())
	l.e.Lost(&l.last.Records[0], l.now)
	l.handle(eui64(other), compose(dec, dhcpv6.WithClientID(duidLL(other)), ia(1, declined), ours).ToBytes())
	l.e.Lost(&l.last.Records[0], l.now)
	records := l.e.Unstored()
	if len(records) != 2 || len(l.e.Unstored()) != 0 {
		t.Fatalf("records %+v", records)
	}
	for _, r := range records {
		if r.Address == released && (r.State != state.Bound || r.Expires.Unix() > l.now) || r.Address == declined && r.State != state.Declined {
			t.Errorf("record %+v", r)
		}
		l.e.Stored(&r)
	}
	third := macs(1)[0]
	var two [2]Record
	for i := range two {
		l.handle(eui64(third), compose(req, dhcpv6.WithClientID(duidLL(third)), ia(1), ours).ToBytes())
		two[i] = l.last.Records[0]
	}
	l.e.Lost(&two[1], l.now)
	l.e.Stored(&two[0])
	for _, r := range l.e.Leases(l.now + 2*holdFor) {
		if r.Address == two[0].Address && r.Expires.Equal(two[0].Expires) {
			return
		}
	}
	t.Errorf("leases %+v, want one of %s until %s", l.e.Leases(l.now), two[0].Address, two[0].Expires)
}
