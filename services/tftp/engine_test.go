package tftp

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"helperd/internal/guard"
)

// carriage is an engine with one worker, whose transfers go to single clients.
type carriage struct {
	*engine
	ends   map[*transfer]chan error
	panics chan any
}

func newCarriage(t *testing.T) *carriage {
	t.Helper()
	c := &carriage{ends: map[*transfer]chan error{}, panics: make(chan any, 8)}
	group := guard.New(func(_ string, v any, _ []byte) { c.panics <- v })
	e, err := newEngine(group, func(tr *transfer, err error) { c.ends[tr] <- err })
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range e.workers[1:] {
		w.stop()
	}
	e.workers = e.workers[:1]
	c.engine = e
	ctx, cancel := context.WithCancel(context.Background())
	done := e.start(ctx)
	t.Cleanup(func() {
		cancel()
		e.wake()
		<-done[0]
		group.Wait()
		e.stop()
		for tr := range c.ends {
			tr.port.close()
		}
	})
	return c
}

// send begins a transfer of src to a new client.
func (c *carriage) send(t *testing.T, src content) (*wire, *transfer) {
	t.Helper()
	w := (&rig{}).dial(t)
	p, _, err := openPort(netip.AddrFrom4([4]byte{127, 0, 0, 1}), w.conn.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	tr := &transfer{port: p, src: src, terms: terms{block: 512, window: 1, timeout: time.Second}}
	c.ends[tr] = make(chan error, 1)
	c.carry(tr, tr.begin(newSender(), time.Now()))
	return w, tr
}

func (c *carriage) end(t *testing.T, tr *transfer) error {
	t.Helper()
	select {
	case err := <-c.ends[tr]:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("the transfer does not end")
		return nil
	}
}

// faulty is content that panics beyond its first block.
type faulty struct{ memory }

func (f faulty) at(off int64, n int) ([]byte, error) {
	if off > 0 {
		panic("a bug")
	}
	return f.memory.at(off, n)
}

// A bug in one transfer ends that one.
func TestPanicEndsOneTransfer(t *testing.T) {
	c := newCarriage(t)
	whole := bytes.Repeat([]byte("0123456789abcdef"), 200)
	good, goodT := c.send(t, memory(whole))
	bad, badT := c.send(t, faulty{memory(whole)})
	good.data(1)
	bad.data(1)
	bad.ack(1)
	if err := c.end(t, badT); !errors.Is(err, errPanic) {
		t.Errorf("the transfer with the bug ends with %v", err)
	}
	if v := <-c.panics; v != "a bug" {
		t.Errorf("reported: %v", v)
	}
	good.ack(1)
	good.fetchFrom(2)
	if err := c.end(t, goodT); err != nil {
		t.Errorf("the other ends with %v", err)
	}
}

// fetchFrom takes blocks of 512 bytes up to the last, from a given one on.
func (w *wire) fetchFrom(number uint16) {
	w.t.Helper()
	for ; ; number++ {
		n := len(w.data(number))
		w.ack(number)
		if n < 512 {
			return
		}
	}
}

// onDisk is content that is not there before the disk has moved.
type onDisk struct {
	memory
	moved chan struct{}
}

func (d onDisk) ready(off int64, _ int) bool {
	select {
	case <-d.moved:
		return true
	default:
		return off == 0
	}
}

func (d onDisk) at(off int64, n int) ([]byte, error) {
	if off > 0 {
		<-d.moved
	}
	return d.memory.at(off, n)
}

// Who waits for a disk holds up nobody else, and goes on when the disk has moved.
func TestDiskHoldsUpNobody(t *testing.T) {
	c := newCarriage(t)
	whole := bytes.Repeat([]byte("0123456789abcdef"), 200)
	disk := onDisk{memory(whole), make(chan struct{})}
	slow, slowT := c.send(t, disk)
	slow.data(1)
	slow.ack(1)
	quick, quickT := c.send(t, memory(whole))
	quick.fetchFrom(1)
	if err := c.end(t, quickT); err != nil {
		t.Errorf("the other ends with %v", err)
	}
	slow.silence(20 * time.Millisecond)
	close(disk.moved)
	slow.fetchFrom(2)
	if err := c.end(t, slowT); err != nil {
		t.Errorf("it ends with %v", err)
	}
}

// A transfer that is stopped ends now, and not when its client should have answered.
func TestStopEndsNow(t *testing.T) {
	c := newCarriage(t)
	w, tr := c.send(t, memory("content"))
	tr2 := func() *transfer { _, tr := c.send(t, memory("content")); return tr }()
	w.data(1)
	begun := time.Now()
	tr.stopped.Store(true)
	c.wake()
	if err := c.end(t, tr); !errors.Is(err, errStopped) || time.Since(begun) > 500*time.Millisecond {
		t.Errorf("it ends with %v after %v", err, time.Since(begun))
	}
	select {
	case err := <-c.ends[tr2]:
		t.Errorf("the other ends with %v", err)
	default:
	}
}

// One that comes after the engine has stopped is told so.
func TestStoppedEngineTakesNothing(t *testing.T) {
	var got error
	e, err := newEngine(guard.New(nil), func(_ *transfer, err error) { got = err })
	if err != nil {
		t.Fatal(err)
	}
	e.stop()
	e.carry(&transfer{port: udpPort(-1)}, nil)
	if !errors.Is(got, errStopped) {
		t.Errorf("it ends with %v", got)
	}
}
