package engine

import (
	"fmt"
	"hash/maphash"
	"net/netip"

	"helperd/plan"
	"helperd/services/dhcp/limit"
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
var rates = [...]limit.Rate{
	byClient: {Burst: 20, PerSecond: 4, Most: 1000, Rows: 16384}, // the accounts last for 10 s of 5,000 invented MACs a second
	byPort:   {Burst: 4096, PerSecond: 1000, Rows: 64},
	byRelay:  {Burst: 4096, PerSecond: 1000, Rows: 64},
	// A switch port that a relay names has one machine behind it, or a host of virtual ones.
	byCircuit: {Burst: 512, PerSecond: 64, Rows: 512},
}

const (
	byClient = iota
	byPort
	byRelay
	byCircuit
	accounts

	// declaredFactor is how much more a machine of the plan may ask than others.
	declaredFactor = 8
	// limitQuiet is the least time between two events of one kind of limit, in seconds.
	limitQuiet = 60
)

// limits has the accounts.
type limits struct {
	seed   maphash.Seed
	tables [accounts]limit.Table
	off    bool
	told   [accounts]limited
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
		l.tables[i].Rate = rates[i]
	}
	return l
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
	return limit.Key(l.seed, b[:16+n])
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
	clients := &l.tables[byClient]
	own := clients.Find(q.charge.keys[byClient], q.now, q.factor(byClient))
	if !clients.Spend(own, 0) {
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
		t, key, leave := &l.tables[kind], q.charge.keys[kind], int32(0)
		if own.New() {
			leave = t.Burst / 4
		}
		if key != 0 && !t.Spend(t.Find(key, q.now, 1), leave) {
			return e.limit(q, kind)
		}
	}
	return true
}

// factor is how many times the rate of kind goes for who asks.
func (q *request) factor(kind int) int32 {
	if kind == byClient && q.reservation != nil {
		return declaredFactor
	}
	return 1
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
	for kind, key := range q.charge.keys {
		if key != 0 && (kind == byClient || q.charge.common) {
			e.limits.tables[kind].Find(key, q.now, q.factor(kind)).Repay(2)
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
			r.PerSecond, q.subnet.Prefix, q.MAC)
	case byRelay:
		return fmt.Sprintf("machines in no list ask more than %d times a second through relay %s without taking what they are offered, the last with MAC %s; what is more gets no answer, machines in helper.yaml do. Find what floods the links of that relay",
			r.PerSecond, q.Relay, q.MAC)
	case byCircuit:
		return fmt.Sprintf("machines in no list ask more than %d times a second at port %q of relay %s, the last with MAC %s; what is more gets no answer, machines in helper.yaml do. Look at what is connected there",
			r.PerSecond, packet.Circuit(q.RelayInfo), q.Relay, q.MAC)
	}
	return fmt.Sprintf("MAC %s asks more than %d times a second without taking what it is offered, or more than %d times in any case; what is more gets no answer. See what its DHCP client or firmware does",
		q.MAC, r.PerSecond, r.Most)
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
