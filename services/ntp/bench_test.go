package ntp

import (
	"net"
	"testing"

	"helperd/internal/mmsg"
	"helperd/services/ntp/packet"
)

// loop is a reader and a client that asks it by whole batches.
type loop struct {
	reader *reader
	client *mmsg.Batch
	conn   *net.UDPConn
	server *net.UDPConn
}

func newLoop(t testing.TB) *loop {
	t.Helper()
	g := newRig(t, func(g *rig) { g.plan.Nodes = nil }) // in a plan that was compiled they are found by a map
	g.ready(t)
	open := func(addr string) *net.UDPConn {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(addr)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	l := &loop{client: mmsg.New(batchSize, 128, 128), conn: open(nodeAddr), server: open(helperAddr)}
	var err error
	if l.reader, err = g.newReader(l.server); err != nil {
		t.Fatal(err)
	}
	return l
}

// turn asks by one batch and has it answered.
func (l *loop) turn(t testing.TB, p []byte) {
	to := l.server.LocalAddr().(*net.UDPAddr).AddrPort()
	raw, err := l.conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for range batchSize {
		l.client.QueueTo(to, copy(l.client.Reply(), p))
	}
	if failed, err := l.client.Send(raw); failed > 0 || err != nil {
		t.Fatal(failed, err)
	}
	l.serve(t)
	for got := 0; got < batchSize; {
		n, err := l.client.Receive(raw)
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
}

// serve answers one batch.
func (l *loop) serve(t testing.TB) {
	*l.reader.limits = limits{seed: l.reader.limits.seed} // or most are not answered
	for got := 0; got < batchSize; {
		n, err := l.reader.batch.Receive(l.reader.raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.reader.turn(n); err != nil {
			t.Fatal(err)
		}
		got += n
	}
}

func TestNothingIsAllocated(t *testing.T) {
	l := newLoop(t)
	p := request(0)
	packet.Stamp(p, 0x9e3779b97f4a7c15) // far off, as chrony's random numbers
	l.turn(t, p)
	to := l.server.LocalAddr().(*net.UDPAddr).AddrPort()
	raw, _ := l.conn.SyscallConn()
	if n := testing.AllocsPerRun(100, func() {
		for range batchSize {
			l.client.QueueTo(to, copy(l.client.Reply(), p))
		}
		_, _ = l.client.Send(raw)
		l.serve(t)
		_, _ = l.client.Receive(raw)
	}); n != 0 {
		t.Errorf("%v allocations a batch of %d", n, batchSize)
	}
}

// A batch of 32 requests, its client's part included.
func BenchmarkBatch(b *testing.B) {
	l := newLoop(b)
	p := request(0)
	b.ReportAllocs()
	for b.Loop() {
		l.turn(b, p)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batchSize, "ns/packet")
}
