package table

import (
	"sync/atomic"
	"time"
)

// Traffic counts the connections of a frontend, a backend or a server. It outlives tables.
type Traffic struct {
	Active    atomic.Int64  // open ones; at a server, those being made included
	MaxActive atomic.Int64  // most at a time
	Total     atomic.Uint64 // accepted by a frontend, or made to a server
	BytesIn   atomic.Uint64 // from clients
	BytesOut  atomic.Uint64 // to clients
	Rate      Meter         // new ones a second
}

// Enter counts one more open connection.
func (t *Traffic) Enter() { raise(&t.MaxActive, t.Active.Add(1)) }

// Reserve takes the place of an open connection when there are fewer than limit; 0: no
// limit. When the connection comes about, Peak is to follow.
func (t *Traffic) Reserve(limit int64) bool {
	return takeOne(&t.Active, limit)
}

// takeOne adds one when that makes n at most limit; 0: no limit. Adding first and undoing it would
// let two that come at once both find no place where there is one.
func takeOne(n *atomic.Int64, limit int64) bool {
	if limit <= 0 {
		n.Add(1)
		return true
	}
	for {
		old := n.Load()
		if old >= limit {
			return false
		}
		if n.CompareAndSwap(old, old+1) {
			return true
		}
	}
}

// Peak notes how many are open.
func (t *Traffic) Peak() { raise(&t.MaxActive, t.Active.Load()) }

// Leave undoes one Enter or Reserve.
func (t *Traffic) Leave() { t.Active.Add(-1) }

// Begun counts a connection that was accepted or made at a second of the clock.
func (t *Traffic) Begun(second int64) {
	t.Total.Add(1)
	t.Rate.Mark(second)
}

// raise makes highest at least v.
func raise(highest *atomic.Int64, v int64) {
	for {
		old := highest.Load()
		if v <= old || highest.CompareAndSwap(old, v) {
			return
		}
	}
}

// Counters of a frontend; they outlive tables.
type Counters struct {
	Traffic
	Refused atomic.Uint64 // address not in Allow
	TooFast atomic.Uint64 // above the rate of one client
	Unnamed atomic.Uint64 // no cluster could be told by name or node
	BadHead atomic.Uint64 // no PROXY header where one must be
	AtLimit atomic.Uint64 // times that accepting stopped at the frontend's limit

	places  atomic.Int64 // taken: those of Active, and of connections that are being accepted
	stalled atomic.Bool
	limit   atomic.Int64 // of connections, instead of that of the file; 0: none
}

// Place takes a place when fewer than limit are taken; 0: no limit.
func (c *Counters) Place(limit int64) bool {
	return takeOne(&c.places, limit)
}

// Free gives a place back.
func (c *Counters) Free() { c.places.Add(-1) }

// Stall notes that accepting stopped at the limit, at one listener of several maybe.
func (c *Counters) Stall() {
	if c.stalled.CompareAndSwap(false, true) {
		c.AtLimit.Add(1)
	}
}

// Unstall notes that accepting goes on.
func (c *Counters) Unstall() { c.stalled.Store(false) }

// Failures count what went wrong with connections of a backend or server, in
// the meaning of HAProxy's econ, wretr, wredis, cli_abrt and srv_abrt.
type Failures struct {
	Failed        atomic.Uint64 // connections that could not be made, after all tries; at the server of the last one
	Retries       atomic.Uint64 // tries at the same server after a failed one
	Redispatches  atomic.Uint64 // those at another server; counted at the one that failed
	ClientAborts  atomic.Uint64 // tunnels that the client reset, left before a server was found, or was silent in for too long
	ServerAborts  atomic.Uint64 // tunnels that the server reset, or was silent in for too long
	ChecksFailed  atomic.Uint64 // probes that were not answered well
	Falls         atomic.Uint64 // changes from up to anything else
	LastSession   atomic.Int64  // when the last connection was made, Unix seconds; 0: never
	DownSince     atomic.Int64  // Unix nanoseconds; 0: it is up
	DownBefore    atomic.Int64  // nanoseconds of earlier times that it was down
	ConnectMicros atomic.Int64  // moving average of the time that a connect takes, in microseconds
}

// Connected notes that a connect took a time and was done at a second of the clock.
func (f *Failures) Connected(took time.Duration, second int64) {
	f.LastSession.Store(second)
	now, old := took.Microseconds(), f.ConnectMicros.Load()
	if old != 0 {
		now = old + (now-old)/connectWeight
	}
	f.ConnectMicros.Store(max(now, 1)) // two at once may lose one of them: it is an average
}

// connectWeight is how slowly the average of connect times follows.
const connectWeight = 8

// Downtime is how long it was down since the start.
func (f *Failures) Downtime(now time.Time) time.Duration {
	d := time.Duration(f.DownBefore.Load())
	if since := f.DownSince.Load(); since != 0 {
		d += now.Sub(time.Unix(0, since))
	}
	return d
}

// down starts the clock of the downtime unless it runs.
func (f *Failures) down(now time.Time) { f.DownSince.CompareAndSwap(0, now.UnixNano()) }

// upAgain stops the clock of the downtime.
func (f *Failures) upAgain(now time.Time) {
	if since := f.DownSince.Swap(0); since != 0 {
		f.DownBefore.Add(max(0, now.UnixNano()-since))
	}
}

// A Meter counts events a second: those of the running second and of the one before.
type Meter struct {
	second      atomic.Int64
	count, prev atomic.Uint64
	max         atomic.Int64
}

// Mark counts an event at a second of the clock. A few events at the turn of a
// second may be counted in the wrong one.
func (m *Meter) Mark(second int64) {
	m.turn(second)
	raise(&m.max, int64(m.count.Add(1)))
}

func (m *Meter) turn(second int64) {
	old := m.second.Load()
	if second <= old || !m.second.CompareAndSwap(old, second) {
		return
	}
	n := m.count.Swap(0)
	if second > old+1 {
		n = 0
	}
	m.prev.Store(n)
}

// Rate is the number of events in the last whole second.
func (m *Meter) Rate(second int64) uint64 {
	m.turn(second)
	return m.prev.Load()
}

// Max is the highest number of events in one second.
func (m *Meter) Max() uint64 { return uint64(m.max.Load()) }
