package dhcp

import (
	"testing"
	"time"
)

// A lease outlives the minute in which the clock is set from 1970 to today.
func TestLeaseOutlivesTheClock(t *testing.T) {
	s, a := pooled(t)
	s.engine.Stored(&a.Record)
	at := s.clock.Now
	s.clock.Now = func() time.Time { return at().Add(50 * 365 * 24 * time.Hour) }
	if leases := s.Leases(); len(leases) != 1 || leases[0].Expires.Before(s.clock.Now()) {
		t.Errorf("leases %+v", leases)
	}
	s.store(s.commits.take(nil), newSender(s))
	if stored, err := s.host.Leases.Leases(); err != nil || len(stored) != 1 || stored[0].Expires.Before(s.clock.Now()) {
		t.Errorf("the disk has %+v, %v", stored, err)
	}
}
