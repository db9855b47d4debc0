package engine

import (
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/state"
)

// While nothing can be written, what is on disk is promised for what is left of
// it, reservations go on, and nobody else is answered.
func TestUnwritable(t *testing.T) {
	l := newLab(t, basic())
	a := l.lease(stranger)
	l.now += 2 * 3600
	l.e.SetWritable(false)
	for _, tt := range []struct {
		name string
		typ  dhcpv4.MessageType
		mods []dhcpv4.Modifier
	}{
		{"renewing", dhcpv4.MessageTypeRequest, []dhcpv4.Modifier{ciaddr(a.String())}},
		{"after a restart of the client", dhcpv4.MessageTypeRequest, []dhcpv4.Modifier{requested(a.String())}},
		{"from the beginning", dhcpv4.MessageTypeDiscover, nil},
		{"selecting", dhcpv4.MessageTypeRequest, []dhcpv4.Modifier{requested(a.String()), server("192.168.67.2")}},
	} {
		got := l.sendUnstored(stranger, tt.typ, tt.mods...)
		if got == nil || yiaddr(got) != a || l.last.Durable {
			t.Fatalf("%s: %v, record %v", tt.name, got, l.last.Durable)
		}
		if tt.typ == dhcpv4.MessageTypeRequest && got.IPAddressLeaseTime(0) != 2*time.Hour {
			t.Errorf("%s: promised %s", tt.name, got.IPAddressLeaseTime(0))
		}
	}
	if got := l.lease(node); got != ip("192.168.67.10") {
		t.Errorf("the reservation: %s", got)
	}
	if got := l.sendUnstored(other, dhcpv4.MessageTypeDiscover); got != nil || len(l.events()) == 0 {
		t.Errorf("a new client: %v, events %v", got, l.events())
	}
	if got := l.sendUnstored(other, dhcpv4.MessageTypeRequest, requested("192.168.67.101"), server("192.168.67.2")); got != nil || l.last.Durable {
		t.Errorf("a new client selects: %v", got)
	}
	l.now += 2*3600 - leastLeft + 1
	if got := l.sendUnstored(stranger, dhcpv4.MessageTypeRequest, ciaddr(a.String())); got != nil {
		t.Errorf("promised again for %s", got.IPAddressLeaseTime(0))
	}
	l.e.SetWritable(true)
	if got := l.lease(other); !got.IsValid() || got == a {
		t.Errorf("afterwards a new client gets %s", got)
	}
	if got := l.sendUnstored(stranger, dhcpv4.MessageTypeRequest, ciaddr(a.String())); got == nil || !l.last.Durable || got.IPAddressLeaseTime(0) != 4*time.Hour {
		t.Errorf("afterwards the lease is renewed: %v", got)
	}
}

// A renewal that was lost takes nothing from what the disk has for sure.
func TestLostRenewal(t *testing.T) {
	l := newLab(t, basic())
	a := l.lease(stranger)
	l.now += 2 * 3600
	l.sendUnstored(stranger, dhcpv4.MessageTypeRequest, ciaddr(a.String()))
	l.e.Lost(&l.last.Record, l.now)
	l.e.SetWritable(false)
	if got := l.sendUnstored(stranger, dhcpv4.MessageTypeRequest, ciaddr(a.String())); got == nil || got.IPAddressLeaseTime(0) != 2*time.Hour {
		t.Errorf("after a lost renewal: %v", got)
	}
}

// An earlier record that is stored counts, though a later one of the same lease is lost.
func TestLaterRecordIsLost(t *testing.T) {
	l := newLab(t, basic())
	l.send(stranger, dhcpv4.MessageTypeDiscover)
	var two [2]Record
	for i := range two {
		l.sendUnstored(stranger, dhcpv4.MessageTypeRequest, requested("192.168.67.100"), server("192.168.67.2"))
		two[i] = l.last.Record
	}
	l.e.Lost(&two[1], l.now) // the queue was full
	l.e.Stored(&two[0])      // and its client is told of an hour
	l.now += 2 * holdFor
	if got := l.e.Leases(l.now); len(got) != 1 || got[0].Expires.Unix() != two[0].Expires.Unix() {
		t.Errorf("leases %+v, want one until %s", got, two[0].Expires)
	}
}

// What the disk missed is written when it is back, as it is by then.
func TestUnstored(t *testing.T) {
	l := newLab(t, basic())
	released, declined := l.lease(stranger), l.lease(other)
	l.sendUnstored(stranger, dhcpv4.MessageTypeRelease, ciaddr(released.String()))
	l.e.Lost(&l.last.Record, l.now)
	l.sendUnstored(other, dhcpv4.MessageTypeDecline, requested(declined.String()), server("192.168.67.2"))
	l.e.Lost(&l.last.Record, l.now)
	got := map[string]Record{}
	for _, r := range l.e.Unstored() {
		got[r.Address.String()] = r
	}
	if r := got[released.String()]; len(got) != 2 || r.State != state.Bound || r.Expires.Unix() > l.now {
		t.Errorf("released: %+v of %d", r, len(got))
	}
	if r := got[declined.String()]; r.State != state.Declined || r.Expires.Unix() != l.now+quarantine {
		t.Errorf("declined: %+v", r)
	}
	for _, r := range got {
		l.e.Lost(&r, l.now) // again
	}
	third := bondNIC
	third[0] = 2
	if a := l.lease(third); a == declined {
		t.Errorf("a declined address was given away")
	}
	// The released address has a new client by now: its record must not be written over.
	for range 3 {
		third[5]++
		l.lease(third)
	}
	for _, r := range l.e.Unstored() {
		if r.Address == released && r.MAC == stranger && r.version < l.e.table.at(released).version {
			t.Errorf("an old record would be written: %+v", r)
		}
		l.e.Stored(&r)
	}
	if left := l.e.Unstored(); len(left) != 0 {
		t.Errorf("still to be written: %+v", left)
	}
}
