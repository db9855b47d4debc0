package tftp

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"helperd/services/tftp/engine"
)

// Caps on transfers at a time.
const (
	maxTransfers = 1024
	maxPerClient = 64
	// maxEnding is how many may be on their way out beside those, in a flood of
	// strangers' requests that push each other out: it bounds sockets and memory.
	maxEnding = 256
)

const (
	// repeatWithin is how long a repeated request means the same transfer, even
	// when that has begun: the repetition may have waited in the queue.
	repeatWithin = 3 * time.Second
	// patience is how long a client has to answer before another request of its
	// own address may take the place. Firmware that starts again does not tell.
	patience = time.Second
)

// job is one request from its arrival to its end.
type job struct {
	client   netip.AddrPort
	request  string // the packet
	arrived  time.Time
	node     bool // the client has the address of a node
	transfer *engine.Transfer
	stopped  bool // maybe before the transfer has begun

	queue *list.List    // of its rank; nil: it has lost its place
	place *list.Element // in it
}

// jobs are the requests under way, within their caps. A request costs its
// sender one packet and may bear any address, so who has not answered yet is
// the first to go when there is no room, and strangers go before nodes.
type jobs struct {
	mu       sync.Mutex
	byClient map[netip.AddrPort]*job // the newest of a client port
	perAddr  map[netip.Addr]int      // that have a place
	all      map[*job]struct{}       // also those on their way out
	wake     func()                  // tells the transfers' owners that some are stopped
	closed   bool

	// Those that have a place, the oldest of a rank in front.
	waiting, started           list.List // of strangers
	waitingNodes, startedNodes list.List
}

func newJobs() *jobs {
	return &jobs{byClient: map[netip.AddrPort]*job{}, perAddr: map[netip.Addr]int{}, all: map[*job]struct{}{}, wake: func() {}}
}

// admission is what becomes of a packet.
type admission int

const (
	admitted  admission = iota
	duplicate           // the running transfer answers it
	tooMany
	flooded // not answered: a client that is told of an error does not ask again, one that hears nothing does
)

// enter admits a request of a client, which may be a node. A client that repeats its request is
// answered by the transfer that it started; one that asks for something else
// from the same port has given up the transfer before.
func (js *jobs) enter(client netip.AddrPort, packet []byte, node bool) (*job, admission) {
	js.mu.Lock()
	defer js.mu.Unlock()
	if js.closed {
		return nil, duplicate
	}
	now := time.Now()
	if old := js.byClient[client]; old != nil {
		fresh := old.transfer == nil || !old.transfer.Started() || now.Sub(old.arrived) < repeatWithin
		if fresh && old.request == string(packet) {
			return nil, duplicate
		}
		js.stop(old)
	}
	if !node && len(js.all) >= maxTransfers+maxEnding {
		return nil, flooded
	}
	if !js.room(client.Addr(), node, now) {
		return nil, tooMany
	}
	j := &job{client: client, request: string(packet), arrived: now, node: node}
	js.byClient[client] = j
	js.all[j] = struct{}{}
	js.perAddr[client.Addr()]++
	js.rank(j, &js.waiting, &js.waitingNodes)
	return j, admitted
}

// rank puts j at the end of the one queue or, for a node, the other.
func (js *jobs) rank(j *job, strangers, nodes *list.List) {
	j.queue = strangers
	if j.node {
		j.queue = nodes
	}
	j.place = j.queue.PushBack(j)
}

// room reports whether there is a place for one more of addr, and makes one if it may.
func (js *jobs) room(addr netip.Addr, node bool, now time.Time) bool {
	if js.perAddr[addr] >= maxPerClient {
		own := js.silent(addr, node, now)
		if own == nil {
			return false
		}
		js.stop(own)
	}
	if js.waiting.Len()+js.started.Len()+js.waitingNodes.Len()+js.startedNodes.Len() < maxTransfers {
		return true
	}
	ranks := []*list.List{&js.waiting}
	if node {
		ranks = append(ranks, &js.started, &js.waitingNodes)
	}
	for _, rank := range ranks {
		if first := rank.Front(); first != nil {
			js.stop(first.Value.(*job))
			return true
		}
	}
	return false
}

// silent is the oldest transfer of addr whose client has not answered in time, or nil.
func (js *jobs) silent(addr netip.Addr, node bool, now time.Time) *job {
	rank := &js.waiting
	if node {
		rank = &js.waitingNodes
	}
	for e := rank.Front(); e != nil; e = e.Next() {
		j := e.Value.(*job)
		if now.Sub(j.arrived) < patience {
			return nil // as are all that came after it
		}
		if j.client.Addr() == addr {
			return j
		}
	}
	return nil
}

// answered notes that j's client is there.
func (js *jobs) answered(j *job) {
	js.mu.Lock()
	defer js.mu.Unlock()
	if j.queue != nil {
		j.queue.Remove(j.place)
		js.rank(j, &js.started, &js.startedNodes)
	}
}

// stop takes j's place away and makes its transfer end; the caller holds the lock.
func (js *jobs) stop(j *job) {
	js.release(j)
	j.stopped = true
	if t := j.transfer; t != nil && t.Stop() {
		js.wake()
	}
}

// release gives j's place back, once.
func (js *jobs) release(j *job) {
	if j.queue == nil {
		return
	}
	j.queue.Remove(j.place)
	j.queue, j.place = nil, nil
	if js.byClient[j.client] == j {
		delete(js.byClient, j.client)
	}
	addr := j.client.Addr()
	if js.perAddr[addr]--; js.perAddr[addr] == 0 {
		delete(js.perAddr, addr)
	}
}

// leave ends j.
func (js *jobs) leave(j *job) {
	js.mu.Lock()
	defer js.mu.Unlock()
	js.release(j)
	delete(js.all, j)
}

// begin notes that j sends t.
func (js *jobs) begin(j *job, t *engine.Transfer) {
	js.mu.Lock()
	defer js.mu.Unlock()
	j.transfer = t
	if j.stopped || js.closed {
		t.Stop() // whoever takes t over looks
	}
}

// running is the number of requests under way.
func (js *jobs) running() int {
	js.mu.Lock()
	defer js.mu.Unlock()
	return len(js.all)
}

// stopAll ends every transfer, and admits nothing until open.
func (js *jobs) stopAll() {
	js.mu.Lock()
	defer js.mu.Unlock()
	js.closed = true
	for j := range js.all {
		js.stop(j)
	}
}

// open admits requests; wake is called when transfers are to be stopped.
func (js *jobs) open(wake func()) {
	js.mu.Lock()
	defer js.mu.Unlock()
	js.closed, js.wake = false, wake
}
