package engine

import (
	"fmt"
	"hash/maphash"
	"net/netip"

	"helperd/plan"
	"helperd/services/dhcp/packet"
	"helperd/timeline"
)

// What is limited is asking without taking: each message costs its client a
// token, and those of machines that are in no list and have no lease cost one
// of their port and relay too. An ACK gives back what its DISCOVER and REQUEST
// cost, so that a storm of machines that want to boot is never slowed down,
// while a flood of invented MACs soon is. Machines of the plan pay from no
// common account: no stranger can starve them. What is left of a common account
// in a flood is for those that ask again, as every real client does.
var rates = [...]rate{
	byClient: {burst: 20, perSecond: 4, most: 1000, rows: 16384}, // the accounts last for 10 s of 5,000 invented MACs a second
	byPort:   {burst: 4096, perSecond: 1000, rows: 64},
	byRelay:  {burst: 4096, perSecond: 1000, rows: 64},
	// A switch port that a relay names has one machine behind it, or a host of virtual ones.
	byCircuit: {burst: 512, perSecond: 64, rows: 512},
}

type rate struct {
	burst, perSecond int32
	most             int32 // messages in one second, whatever becomes of them; 0: any
	rows             int   // of the table, each of ways accounts; a power of two
}

const (
	byClient = iota
	byPort
	byRelay
	byCircuit
	accounts

	ways = 4
	// declaredFactor is how much more a machine of the plan may ask than others.
	declaredFactor = 8
	// limitQuiet is the least time between two events of one kind of limit, in seconds.
	limitQuiet = 60
)

// limits has the accounts. Their tables have a fixed size: whoever is new takes
// the place of the one that was heard longest ago, which is thereby forgiven.
type limits struct {
	seed   maphash.Seed
	tables [accounts][][ways]account
	off    bool
	told   [accounts]limited
}

// account is a token bucket.
type account struct {
	key   uint64 // 0: not in use
	at    int64  // Unix seconds of the last message
	since int64  // of the first
	left  int32
	seen  int32 // messages in that second
}

// limited is what people are told of the last one that was limited.
type limited struct {
	at, toldAt int64
	text       string
}

// charge is what a request costs, and whom.
type charge struct {
	keys   [accounts]uint64 // 0: not charged
	common bool             // to its port or relay
}

func newLimits() *limits {
	l := &limits{seed: maphash.MakeSeed()}
	for i := range l.tables {
		l.tables[i] = make([][ways]account, rates[i].rows)
	}
	return l
}

// find gives the account of key, a full one if it is new.
func (l *limits) find(kind int, key uint64, now int64, factor int32) *account {
	r, row := &rates[kind], &l.tables[kind][key&uint64(rates[kind].rows-1)]
	a := &row[0]
	for i := range row {
		if row[i].key == key {
			a = &row[i]
			break
		}
		if row[i].at < a.at {
			a = &row[i]
		}
	}
	if a.key != key {
		*a = account{key: key, at: now, since: now, left: r.burst * factor}
	}
	if passed := now - a.at; passed != 0 {
		a.left = int32(min(int64(a.left)+max(passed, 0)*int64(r.perSecond*factor), int64(r.burst*factor)))
		a.at, a.seen = now, 0
	}
	return a
}

// spend takes a token of a and leaves so many; false when there are no more.
func (a *account) spend(r *rate, leave int32) bool {
	a.seen++
	if a.left <= leave || r.most > 0 && a.seen > r.most {
		return false
	}
	a.left--
	return true
}

func (l *limits) hash(kind byte, mac plan.MAC, relay netip.Addr, rest []byte) uint64 {
	var b [16 + 256]byte
	b[0] = kind
	copy(b[1:], mac[:])
	if relay.Is4() {
		a := relay.As4()
		copy(b[7:], a[:])
	}
	n := copy(b[16:], rest)
	return max(maphash.Bytes(l.seed, b[:16+n]), 1)
}

// admit reports whether q is dealt with; if not, that is counted and told.
func (e *Engine) admit(q *request) bool {
	l := e.limits
	q.charge = charge{}
	if l.off {
		return true
	}
	circuit := packet.Circuit(q.RelayInfo)
	if !q.Relay.IsValid() {
		circuit = nil
	}
	// With the relay in the key nobody elsewhere can use up what a machine has here under its MAC.
	q.charge.keys[byClient] = l.hash(byClient, q.MAC, q.Relay, circuit)
	factor := int32(1)
	if q.reservation != nil {
		factor = declaredFactor
	}
	own := l.find(byClient, q.charge.keys[byClient], q.now, factor)
	if !own.spend(&rates[byClient], 0) {
		return e.limit(q, byClient)
	}
	if q.reservation != nil {
		return true
	}
	if b := e.table.find(q.subnet, q.MAC, q.id); b != nil && b.state == bound && b.live(q.now) {
		return true
	}
	q.charge.common = true
	if !q.Relay.IsValid() {
		q.charge.keys[byPort] = l.hash(byPort, plan.MAC{}, q.port(), nil)
	} else {
		q.charge.keys[byRelay] = l.hash(byRelay, plan.MAC{}, q.Relay, nil)
		if len(circuit) > 0 {
			q.charge.keys[byCircuit] = l.hash(byCircuit, plan.MAC{}, q.Relay, circuit)
		}
	}
	for kind := accounts - 1; kind > byClient; kind-- {
		key, r, leave := q.charge.keys[kind], &rates[kind], int32(0)
		if own.since == q.now {
			leave = r.burst / 4 // heard for the first time
		}
		if key != 0 && !l.find(kind, key, q.now, 1).spend(r, leave) {
			return e.limit(q, kind)
		}
	}
	return true
}

// port stands for the interface that q came in by: the first network on it.
func (q *request) port() netip.Addr {
	if len(q.link) > 0 {
		return q.link[0].Prefix.Addr()
	}
	return netip.Addr{}
}

// repay gives back what the request and its DISCOVER cost.
func (e *Engine) repay(q *request) {
	factor := int32(1)
	if q.reservation != nil {
		factor = declaredFactor
	}
	for kind, key := range q.charge.keys {
		if key != 0 && (kind == byClient || q.charge.common) {
			a := e.limits.find(kind, key, q.now, factor)
			a.left = min(a.left+2, rates[kind].burst*factor)
		}
	}
}

// limit counts a request that gets no answer, and tells of the first in a while.
func (e *Engine) limit(q *request, kind int) bool {
	e.count.Limited[kind]++
	t := &e.limits.told[kind]
	t.at = q.now
	if t.toldAt > 0 && t.toldAt <= q.now && q.now-t.toldAt < limitQuiet {
		return false
	}
	t.toldAt, t.text = q.now, limitText(q, kind)
	e.add(q, timeline.DHCPLimited, netip.Addr{}, t.text)
	return false
}

func limitText(q *request, kind int) string {
	r := rates[kind]
	switch kind {
	case byPort:
		return fmt.Sprintf("machines in no list ask more than %d times a second on the link of network %s without taking what they are offered, the last with MAC %s; what is more gets no answer, machines in helper.yaml do. Find what floods that link",
			r.perSecond, q.subnet.Prefix, q.MAC)
	case byRelay:
		return fmt.Sprintf("machines in no list ask more than %d times a second through relay %s without taking what they are offered, the last with MAC %s; what is more gets no answer, machines in helper.yaml do. Find what floods the links of that relay",
			r.perSecond, q.Relay, q.MAC)
	case byCircuit:
		return fmt.Sprintf("machines in no list ask more than %d times a second at port %q of relay %s, the last with MAC %s; what is more gets no answer, machines in helper.yaml do. Look at what is connected there",
			r.perSecond, packet.Circuit(q.RelayInfo), q.Relay, q.MAC)
	}
	return fmt.Sprintf("MAC %s asks more than %d times a second without taking what it is offered, or more than %d times in any case; what is more gets no answer. See what its DHCP client or firmware does",
		q.MAC, r.perSecond, r.most)
}

// problems says who was limited within the last minute.
func (l *limits) problems(now int64) (out []string) {
	for i := range l.told {
		if t := &l.told[i]; t.at > 0 && now-t.at < limitQuiet {
			out = append(out, t.text)
		}
	}
	return out
}

// Problems are what people should look at: addresses in use by others, and floods.
func (e *Engine) Problems(now int64) []string {
	return append(e.conflicts.problems(now), e.limits.problems(now)...)
}

// Resume decides a request again that waited for a probe. It is neither counted nor told of a second time.
func (e *Engine) Resume(req *packet.Request, link []*Subnet, now int64, a *Answer) {
	received, off := e.count.Received, e.limits.off
	e.limits.off = true
	e.Handle(req, link, now, a)
	e.count.Received, e.limits.off = received, off
	kept := a.Events[:0]
	for _, ev := range a.Events {
		if ev.Kind != timeline.DHCPDiscover {
			kept = append(kept, ev)
		}
	}
	a.Events = kept
}
