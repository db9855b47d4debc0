package ra

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// neighbour gives the link-local address of machine n.
func neighbour(n int) netip.Addr {
	a := netip.MustParseAddr("fe80::1:0:0:0").As16()
	binary.BigEndian.PutUint32(a[12:], uint32(n))
	return netip.AddrFrom16(a)
}

var begin = time.Unix(1_700_000_000, 0)

// run takes what is due until the end and gives the moments at which an advertisement left for all.
func (s *schedule) run(from, until time.Time, some func(time.Time, []netip.Addr)) (all []time.Time) {
	for at := s.due(); at.Before(until); at = s.due() {
		if at.Before(from) {
			at = from
		}
		toAll, toSome := s.take(at)
		if toAll {
			all = append(all, at)
		}
		if len(toSome) > 0 && some != nil {
			some(at, toSome)
		}
	}
	return all
}

// RFC 4861 section 6.2.4.
func TestUnsolicited(t *testing.T) {
	var s schedule
	s.announce(begin)
	all := s.run(begin, begin.Add(24*time.Hour), nil)
	if len(all) < 24*6 || !all[0].Equal(begin) {
		t.Fatalf("%d advertisements in a day, the first at %s", len(all), all[0])
	}
	seen := map[time.Duration]bool{}
	for i := 1; i < len(all); i++ {
		gap := all[i].Sub(all[i-1])
		if i < initialCount && gap > maxInitialInterval {
			t.Errorf("initial advertisement %d came after %s", i, gap)
		}
		if i >= initialCount && (gap < minInterval || gap > maxInterval) {
			t.Errorf("advertisement %d came after %s", i, gap)
		}
		seen[gap] = true
	}
	if len(seen) < len(all)/2 {
		t.Errorf("only %d different intervals: routers would fall into step", len(seen))
	}
}

// RFC 4861 section 6.2.6.
func TestSolicited(t *testing.T) {
	quiet := func() *schedule { // the initial ones are over, the next is far
		s := &schedule{}
		s.announce(begin.Add(-time.Hour))
		s.run(begin.Add(-time.Hour), begin, nil)
		s.last, s.next = begin.Add(-100*time.Second), begin.Add(300*time.Second)
		return s
	}
	t.Run("by one without an address", func(t *testing.T) {
		s := quiet()
		s.solicited(begin, netip.IPv6Unspecified())
		all := s.run(begin, begin.Add(time.Minute), nil)
		if len(all) != 1 || all[0].Sub(begin) >= maxAnswerDelay {
			t.Errorf("answered at %v", all)
		}
		if next := s.next.Sub(all[0]); next < minInterval || next > maxInterval {
			t.Errorf("the next one comes after %s", next)
		}
	})
	t.Run("by a global address", func(t *testing.T) {
		s := quiet()
		s.solicited(begin, netip.MustParseAddr("fd00:7::11"))
		if all := s.run(begin, begin.Add(time.Minute), func(time.Time, []netip.Addr) { t.Error("answered to one") }); len(all) != 1 {
			t.Errorf("answered at %v", all)
		}
	})
	t.Run("soon after another answer", func(t *testing.T) {
		s := quiet()
		s.last = begin.Add(-time.Second)
		s.solicited(begin, netip.IPv6Unspecified())
		all := s.run(begin, begin.Add(time.Minute), nil)
		if gap := all[0].Sub(s.last); len(all) != 1 || all[0].Sub(begin) < 2*time.Second || all[0].Sub(begin) > 2*time.Second+maxAnswerDelay {
			t.Errorf("answered at %v, %s after the one before", all, gap)
		}
	})
	t.Run("just before the next one", func(t *testing.T) {
		s := quiet()
		s.next = begin
		s.solicited(begin, netip.IPv6Unspecified())
		if !s.next.Equal(begin) {
			t.Errorf("the next one moved to %s", s.next)
		}
	})
	t.Run("by few", func(t *testing.T) {
		s := quiet()
		for range 3 { // who asks again does not get two
			for n := range maxWaiting {
				s.solicited(begin, neighbour(n))
			}
		}
		answered := 0
		all := s.run(begin, begin.Add(time.Minute), func(at time.Time, list []netip.Addr) {
			if answered += len(list); at.Sub(begin) >= maxAnswerDelay {
				t.Errorf("answered after %s", at.Sub(begin))
			}
		})
		if answered != maxWaiting || len(all) != 0 {
			t.Errorf("%d answers, %d for all", answered, len(all))
		}
	})
}

// A flood is answered as seldom as the RFC wants it, whoever it seems to come from.
func TestSolicitedByMany(t *testing.T) {
	var s schedule
	s.announce(begin)
	var all []time.Time
	some := 0
	end := begin.Add(time.Minute)
	n := 0
	for now := begin; now.Before(end); now = now.Add(time.Millisecond) {
		for range 5 {
			n++
			s.solicited(now, neighbour(n))
		}
		s.solicited(now, netip.IPv6Unspecified())
		if len(s.waiting) > maxWaiting {
			t.Fatalf("%d wait", len(s.waiting))
		}
		toAll, toSome := s.take(now)
		if some += len(toSome); toAll {
			all = append(all, now)
		}
	}
	for i := 1; i < len(all); i++ {
		if gap := all[i].Sub(all[i-1]); gap < minDelay {
			t.Errorf("two for all within %s", gap)
		}
	}
	if len(all) < 15 || len(all) > 21 || some > 60*60 {
		t.Errorf("%d machines were answered by %d advertisements for all and %d for one", n, len(all), some)
	}
	t.Logf("%d solicitations in a minute: %d advertisements for all, %d for one", n*6/5, len(all), some)
}

// What changes is said at once, but not sooner than 3 s after the last one.
func TestAnnounce(t *testing.T) {
	var s schedule
	s.announce(begin)
	s.take(begin)
	s.announce(begin.Add(time.Second))
	all := s.run(begin.Add(time.Second), begin.Add(3*time.Minute), nil)
	if len(all) != initialCount || !all[0].Equal(begin.Add(minDelay)) {
		t.Errorf("said at %v", all)
	}
}
