package packet

import "time"

// sinceNTP is the number of seconds from 1900, where NTP's first era begins, to 1970.
const sinceNTP = 2208988800

// Time is a time stamp of RFC 5905 section 6: 32 bits of seconds since 1900, in
// the era that is at hand, and 32 bits of their fraction. 0 is unknown.
type Time uint64

// TimeOf is the time stamp of a time since 1970 in seconds and nanoseconds.
func TimeOf(sec, nsec int64) Time {
	return Time(uint64(uint32(sec+sinceNTP))<<32 | uint64(nsec)<<32/1e9)
}

// Now is the clock of this machine.
func Now() Time {
	t := time.Now()
	return TimeOf(t.Unix(), int64(t.Nanosecond()))
}

// Sub is t-u to the second, for times that lie up to 68 years apart, in whatever era.
func (t Time) Sub(u Time) time.Duration {
	return time.Duration(int32(uint32(t>>32)-uint32(u>>32))) * time.Second
}

// atMost is the earlier one of t and u, in whatever era. A clock that was set back was
// set last now, and clients drop an answer that says it will be (RFC 5905 appendix A.5.1.1).
func (t Time) atMost(u Time) Time {
	if int64(u-t) < 0 {
		return u
	}
	return t
}

// Short is d in the format of RFC 5905 section 6 for root delay and root
// dispersion, 16 bits of seconds and 16 of their fraction, rounded up.
func Short(d time.Duration) uint32 {
	switch {
	case d <= 0:
		return 0
	case d >= 1<<16*time.Second:
		return 1<<32 - 1
	}
	return uint32((uint64(d)<<16 + uint64(time.Second) - 1) / uint64(time.Second))
}
