package ra

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// Intervals of RFC 4861 section 6.2.1 and constants of section 10.
const (
	minInterval        = 200 * time.Second // MinRtrAdvInterval
	maxInterval        = 600 * time.Second // MaxRtrAdvInterval
	maxInitialInterval = 16 * time.Second  // MAX_INITIAL_RTR_ADVERT_INTERVAL
	initialCount       = 3                 // MAX_INITIAL_RTR_ADVERTISEMENTS, and MAX_FINAL_RTR_ADVERTISEMENTS
	minDelay           = 3 * time.Second   // MIN_DELAY_BETWEEN_RAS
	maxAnswerDelay     = 500 * time.Millisecond
)

// maxWaiting is how many machines are answered each by itself. When more ask at
// once, one answer is for all.
const maxWaiting = 8

// schedule says when the advertisements of one link leave (RFC 4861 sections
// 6.2.4 and 6.2.6). It has no clock, and begins with announce.
type schedule struct {
	initial int       // how many of the next ones follow each other quickly
	last    time.Time // when the last one left for all; zero: none did
	next    time.Time // when the next one leaves for all

	answer  time.Time    // when those who wait are answered
	waiting []netip.Addr // who asked and is answered by itself
}

// announce makes the new or changed content leave as soon as it may, and twice more soon after.
func (s *schedule) announce(now time.Time) {
	s.initial = initialCount
	s.next = s.after(now)
}

// after gives the first moment from t on at which an advertisement for all may leave.
func (s *schedule) after(t time.Time) time.Time {
	if s.last.IsZero() {
		return t
	}
	if earliest := s.last.Add(minDelay); t.Before(earliest) {
		return earliest
	}
	return t
}

// solicited takes in that from asked. Machines that have a link-local address are
// answered by themselves, which may be at any time; all others with an answer for all.
func (s *schedule) solicited(now time.Time, from netip.Addr) {
	delay := rand.N(maxAnswerDelay)
	if from.IsLinkLocalUnicast() {
		switch {
		case slices.Contains(s.waiting, from):
			return
		case len(s.waiting) < maxWaiting:
			if len(s.waiting) == 0 {
				s.answer = now.Add(delay)
			}
			s.waiting = append(s.waiting, from)
			return
		}
	}
	at := now.Add(delay)
	if earliest := s.after(now); earliest.After(now) {
		at = earliest.Add(delay)
	}
	if at.Before(s.next) {
		s.next = at
	}
}

// due is when take has something to give.
func (s *schedule) due() time.Time {
	if len(s.waiting) > 0 && s.answer.Before(s.next) {
		return s.answer
	}
	return s.next
}

// take gives what leaves now: an advertisement for all, or answers to some. Who
// waits is served by the one for all too.
func (s *schedule) take(now time.Time) (all bool, some []netip.Addr) {
	if !now.Before(s.next) {
		s.sent(now)
		s.waiting = nil
		return true, nil
	}
	if len(s.waiting) > 0 && !now.Before(s.answer) {
		some, s.waiting = s.waiting, nil
	}
	return false, some
}

// sent plans the next advertisement after one for all.
func (s *schedule) sent(now time.Time) {
	interval := minInterval + rand.N(maxInterval-minInterval)
	if s.initial > 0 {
		s.initial--
	}
	if s.initial > 0 {
		interval = min(interval, maxInitialInterval)
	}
	s.last, s.next = now, now.Add(interval)
}
