package tftp

import (
	"net/netip"
	"sync"
	"time"
)

// Caps on transfers at a time.
const (
	maxTransfers = 1024
	maxPerClient = 64
	maxOnAThread = 64 // transfers that block a thread each; the others use the poller
)

// repeatWithin is how long a repeated request means the same transfer, even
// when that has begun: the repetition may have waited in the queue.
const repeatWithin = 3 * time.Second

// job is one request from its arrival to its end.
type job struct {
	client   netip.AddrPort
	request  string // the packet
	arrived  time.Time
	blocking bool // has a thread to block
	transfer *transfer
	stopped  bool // maybe before the transfer has begun
}

// jobs are the requests under way, within their caps.
type jobs struct {
	mu        sync.Mutex
	byClient  map[netip.AddrPort]*job // the newest of a client port
	perAddr   map[netip.Addr]int
	total     int
	onThreads int
	all       map[*job]struct{}
	closed    bool
}

func newJobs() *jobs {
	return &jobs{byClient: map[netip.AddrPort]*job{}, perAddr: map[netip.Addr]int{}, all: map[*job]struct{}{}}
}

// admission is what becomes of a packet.
type admission int

const (
	admitted  admission = iota
	duplicate           // the running transfer answers it
	tooMany
)

// enter admits a request. A client that repeats its request is answered by the
// transfer that it started; one that asks for something else from the same
// port has given up the transfer before.
func (js *jobs) enter(client netip.AddrPort, packet []byte) (*job, admission) {
	js.mu.Lock()
	defer js.mu.Unlock()
	if js.closed {
		return nil, duplicate
	}
	if old := js.byClient[client]; old != nil {
		fresh := old.transfer == nil || !old.transfer.started.Load() || time.Since(old.arrived) < repeatWithin
		if fresh && old.request == string(packet) {
			return nil, duplicate
		}
		old.stop()
	}
	addr := client.Addr()
	if js.total >= maxTransfers || js.perAddr[addr] >= maxPerClient {
		return nil, tooMany
	}
	j := &job{client: client, request: string(packet), arrived: time.Now(), blocking: js.onThreads < maxOnAThread}
	js.byClient[client] = j
	js.all[j] = struct{}{}
	js.perAddr[addr]++
	js.total++
	if j.blocking {
		js.onThreads++
	}
	return j, admitted
}

// leave ends j. After it, nobody stops j's transfer: its port may be closed.
func (js *jobs) leave(j *job) {
	js.mu.Lock()
	defer js.mu.Unlock()
	if js.byClient[j.client] == j {
		delete(js.byClient, j.client)
	}
	delete(js.all, j)
	js.total--
	if j.blocking {
		js.onThreads--
	}
	addr := j.client.Addr()
	if js.perAddr[addr]--; js.perAddr[addr] == 0 {
		delete(js.perAddr, addr)
	}
}

// begin notes that j sends t.
func (js *jobs) begin(j *job, t *transfer) {
	js.mu.Lock()
	defer js.mu.Unlock()
	j.transfer = t
	if j.stopped || js.closed {
		j.stop()
	}
}

// stop makes the transfer end; the caller holds the lock.
func (j *job) stop() {
	j.stopped = true
	if t := j.transfer; t != nil && t.stopped.CompareAndSwap(false, true) {
		t.port.interrupt()
	}
}

// running is the number of requests under way.
func (js *jobs) running() int {
	js.mu.Lock()
	defer js.mu.Unlock()
	return js.total
}

// stopAll ends every transfer, and admits nothing until open.
func (js *jobs) stopAll() {
	js.mu.Lock()
	defer js.mu.Unlock()
	js.closed = true
	for j := range js.all {
		j.stop()
	}
}

func (js *jobs) open() {
	js.mu.Lock()
	defer js.mu.Unlock()
	js.closed = false
}
