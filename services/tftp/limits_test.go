package tftp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"helperd/plan"
	"helperd/services/tftp/packet"
)

// crowd asks as clients do, one port each.
type crowd struct {
	*jobs
	t    *testing.T
	port uint16
}

func newCrowd(t *testing.T) *crowd { return &crowd{newJobs(), t, 1024} }

// asks admits a request of addr, or gives nil.
func (c *crowd) asks(addr string, node bool) *job {
	c.t.Helper()
	c.port++
	j, verdict := c.enter(netip.AddrPortFrom(netip.MustParseAddr(addr), c.port), []byte("request"), node)
	if (verdict == admitted) != (j != nil) {
		c.t.Fatalf("verdict %d with job %v", verdict, j)
	}
	return j
}

// stranger is the address of the i-th machine that nobody knows.
func stranger(i int) string { return fmt.Sprintf("10.66.%d.%d", i/250, 1+i%250) }

// fill takes every place by strangers; begin says what each does.
func (c *crowd) fill(begin func(*job)) []*job {
	c.t.Helper()
	out := make([]*job, maxTransfers)
	for i := range out {
		if out[i] = c.asks(stranger(i), false); out[i] == nil {
			c.t.Fatalf("request %d is refused", i)
		}
		begin(out[i])
	}
	return out
}

func silently(*job) {}

// Forged requests fill all places and hold up nobody: the oldest one goes.
func TestForgedRequestsGiveWay(t *testing.T) {
	c := newCrowd(t)
	forged := c.fill(silently)
	client := c.asks("10.1.1.1", false)
	if client == nil || !forged[0].stopped || forged[1].stopped {
		t.Fatalf("a client that comes last is admitted: %v; the oldest goes: %v, the next stays: %v", client != nil, forged[0].stopped, !forged[1].stopped)
	}
	c.answered(client)
	for i := range maxTransfers { // a second wave
		c.leave(forged[i])
		c.asks(stranger(2000+i), false)
	}
	if client.stopped {
		t.Error("a client that has answered lost its place to requests that nobody answers")
	}
}

// Nodes have a place whatever strangers do; strangers never take a node's.
func TestNodesBeforeStrangers(t *testing.T) {
	c := newCrowd(t)
	busy := c.fill(c.answered)
	if c.asks("10.1.1.1", false) != nil {
		t.Error("a stranger took the place of one that is being served")
	}
	node := c.asks("192.168.67.21", true)
	if node == nil || !busy[0].stopped || busy[1].stopped {
		t.Fatalf("a node is admitted: %v; one stranger goes: %v", node != nil, busy[0].stopped)
	}
	c.leave(busy[0])
	if c.asks("10.1.1.2", false) != nil || node.stopped {
		t.Error("a stranger took the place of a node that has not answered yet")
	}
}

// One address has its share, and gets the places back that it forgot.
func TestShareOfOneAddress(t *testing.T) {
	c := newCrowd(t)
	var first *job
	for i := range maxPerClient {
		j := c.asks("192.168.67.21", true)
		if i == 0 {
			first = j
		}
	}
	if c.asks("192.168.67.21", true) != nil {
		t.Fatal("more than its share, all at once")
	}
	first.arrived = first.arrived.Add(-2 * patience) // firmware that was reset leaves such behind
	if c.asks("192.168.67.21", true) == nil || !first.stopped {
		t.Error("a forgotten transfer keeps its place")
	}
	if c.asks("192.168.67.21", true) != nil {
		t.Error("more than its share")
	}
	if c.asks("192.168.67.22", true) == nil {
		t.Error("another address is refused")
	}
}

// Requests that push each other out faster than they end are bounded, too.
func TestFloodIsBounded(t *testing.T) {
	c := newCrowd(t)
	for i := range 20_000 {
		c.asks(stranger(i), false)
	}
	if got := c.running(); got > maxTransfers+maxEnding {
		t.Errorf("%d requests are under way, want at most %d", got, maxTransfers+maxEnding)
	}
	if c.asks("192.168.67.21", true) == nil {
		t.Error("a node is refused in the flood")
	}
	for j := range c.all {
		c.leave(j)
	}
	if len(c.perAddr)+len(c.byClient)+c.waiting.Len()+c.waitingNodes.Len() != 0 {
		t.Errorf("left behind: %d addresses, %d clients, %d places", len(c.perAddr), len(c.byClient), c.waiting.Len()+c.waitingNodes.Len())
	}
}

func TestRation(t *testing.T) {
	var r ration
	now := time.Now()
	took := 0
	for range 10 * rationBurst {
		if r.take(now) {
			took++
		}
	}
	if took != rationBurst {
		t.Errorf("%d at once, want %d", took, rationBurst)
	}
	if !r.take(now.Add(rationEvery)) || r.take(now.Add(rationEvery)) {
		t.Error("want one more after a while, and only one")
	}
}

// Strangers do not push the stories of nodes out of the timeline.
func TestStrangersAreRationed(t *testing.T) {
	node := netip.MustParseAddr("192.168.67.21")
	g := newRig(t, func(p *plan.Plan) {
		p.Nodes = []*plan.Node{{Name: "worker-0", FQDN: "worker-0.ocp4.example.com", IP: node}}
	})
	absent := &miss{wire: packet.ErrNotFound, detail: "there is no such file"}
	for i := range 1000 {
		g.missed(netip.MustParseAddr(stranger(i)), fmt.Sprint("/x", i), absent)
		g.missed(node, fmt.Sprint("/x", i), absent)
	}
	of := map[bool]int{}
	for _, e := range g.events.Since(0) {
		of[e.Addr == node]++
	}
	if of[true] != 1000 || of[false] < rationBurst || of[false] > rationBurst+30 {
		t.Errorf("%d events of a node and %d of strangers, want all 1000 and about %d", of[true], of[false], rationBurst)
	}
	if g.count.untold.Load() != uint64(1000-of[false]) {
		t.Errorf("%d were not told, says the metric", g.count.untold.Load())
	}
}
