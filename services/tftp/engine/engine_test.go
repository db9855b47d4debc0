package engine

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"helperd/internal/guard"
	"helperd/services/tftp/packet"
)

// carriage is an engine with one worker, whose transfers go to single clients.
type carriage struct {
	*Engine
	panics chan any
}

// ending is a story of which the end alone counts.
type ending struct {
	untold
	came chan error
}

func (e ending) Ended(_ *Transfer, err error) { e.came <- err }

func newCarriage(t *testing.T) *carriage {
	t.Helper()
	c := &carriage{panics: make(chan any, 8)}
	group := guard.New(func(_ string, v any, _ []byte) { c.panics <- v })
	e, err := New(group)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range e.workers[1:] {
		w.stop()
	}
	e.workers = e.workers[:1]
	c.Engine = e
	ctx, cancel := context.WithCancel(context.Background())
	done := e.Start(ctx)
	t.Cleanup(func() {
		cancel()
		e.Wake()
		<-done[0]
		group.Wait()
		e.Stop()
	})
	return c
}

// send begins a transfer of src to a new client.
func (c *carriage) send(t *testing.T, src Content) (*client, *Transfer) {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p, _, err := OpenPort(netip.AddrFrom4([4]byte{127, 0, 0, 1}), conn.LocalAddr().(*net.UDPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	tr := &Transfer{port: p, src: src, story: ending{came: make(chan error, 1)}, Terms: packet.Terms{Block: 512, Window: 1, Timeout: time.Second}}
	c.Carry(tr, tr.begin(newSender(), time.Now()))
	return &client{t: t, conn: conn}, tr
}

func (c *carriage) end(t *testing.T, tr *Transfer) error {
	t.Helper()
	select {
	case err := <-tr.story.(ending).came:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("the transfer does not end")
		return nil
	}
}

// faulty is content that panics beyond its first block.
type faulty struct{ Memory }

func (f faulty) at(off int64, n int) ([]byte, error) {
	if off > 0 {
		panic("a bug")
	}
	return f.Memory.at(off, n)
}

// A bug in one transfer ends that one.
func TestPanicEndsOneTransfer(t *testing.T) {
	c := newCarriage(t)
	whole := bytes.Repeat([]byte("0123456789abcdef"), 200)
	good, goodT := c.send(t, Memory(whole))
	bad, badT := c.send(t, faulty{Memory(whole)})
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

// halting is content that holds its worker up at the second block.
type halting struct {
	Memory
	reached, resume chan struct{}
}

func (h halting) at(off int64, n int) ([]byte, error) {
	if off > 0 {
		select {
		case h.reached <- struct{}{}:
		default:
		}
		<-h.resume
	}
	return h.Memory.at(off, n)
}

// worn is content that panics when it is read again.
type worn struct {
	Memory
	read *bool
}

func (w worn) at(off int64, n int) ([]byte, error) {
	if *w.read {
		panic("a bug")
	}
	*w.read = true
	return w.Memory.at(off, n)
}

// A bug that shows when many deadlines have passed holds up none of the others.
func TestPanicKeepsDeadlines(t *testing.T) {
	c := newCarriage(t)
	var silent []*client
	quiet := func() {
		for range 8 {
			w, _ := c.send(t, Memory("content"))
			w.data(1)
			silent = append(silent, w)
		}
	}
	quiet()
	_, badT := c.send(t, worn{Memory("content"), new(bool)})
	quiet()
	halt := halting{Memory(make([]byte, 600)), make(chan struct{}, 1), make(chan struct{})}
	first, _ := c.send(t, halt)
	first.data(1)
	first.ack(1)
	<-halt.reached
	time.Sleep(1100 * time.Millisecond) // all deadlines are the past when the worker goes on
	close(halt.resume)
	if err := c.end(t, badT); !errors.Is(err, errPanic) {
		t.Errorf("the transfer with the bug ends with %v", err)
	}
	for _, w := range silent {
		if w.next(time.Second) == nil {
			t.Fatal("a client that is silent is not sent its block again")
		}
	}
}

// onDisk is content that is not there before the disk has moved.
type onDisk struct {
	Memory
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
	return d.Memory.at(off, n)
}

// Who waits for a disk holds up nobody else, and goes on when the disk has moved.
func TestDiskHoldsUpNobody(t *testing.T) {
	c := newCarriage(t)
	whole := bytes.Repeat([]byte("0123456789abcdef"), 200)
	disk := onDisk{Memory(whole), make(chan struct{})}
	slow, slowT := c.send(t, disk)
	slow.data(1)
	slow.ack(1)
	quick, quickT := c.send(t, Memory(whole))
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
	w, tr := c.send(t, Memory("content"))
	tr2 := func() *Transfer { _, tr := c.send(t, Memory("content")); return tr }()
	w.data(1)
	begun := time.Now()
	tr.stopped.Store(true)
	c.Wake()
	if err := c.end(t, tr); !errors.Is(err, errStopped) || time.Since(begun) > 500*time.Millisecond {
		t.Errorf("it ends with %v after %v", err, time.Since(begun))
	}
	select {
	case err := <-tr2.story.(ending).came:
		t.Errorf("the other ends with %v", err)
	default:
	}
}

// One that comes after the engine has stopped is told so.
func TestStoppedEngineTakesNothing(t *testing.T) {
	e, err := New(guard.New(nil))
	if err != nil {
		t.Fatal(err)
	}
	e.Stop()
	end := ending{came: make(chan error, 1)}
	e.Carry(&Transfer{port: udpPort(-1), src: Memory(nil), story: end}, nil)
	if got := <-end.came; !errors.Is(got, errStopped) {
		t.Errorf("it ends with %v", got)
	}
}

// Packets that come together are told of once, and all of them are taken: what
// brings nothing on is followed by a look for more, and the rest is seen at the deadline.
func TestPacketsThatComeTogether(t *testing.T) {
	c := newCarriage(t)
	whole := bytes.Repeat([]byte("0123456789abcdef"), 200)
	halt := halting{Memory(whole[:600]), make(chan struct{}, 1), make(chan struct{})}
	first, _ := c.send(t, halt)
	behind, _ := c.send(t, Memory(whole))
	broken, brokenT := c.send(t, Memory(whole))
	first.data(1)
	behind.data(1)
	broken.data(1)
	first.ack(1)
	<-halt.reached
	behind.ack(0)
	behind.ack(1)
	broken.ack(1)
	if _, err := broken.conn.WriteToUDPAddrPort([]byte("\x00\x05\x00\x03full\x00"), broken.tid); err != nil {
		t.Fatal(err)
	}
	close(halt.resume)
	first.fetchFrom(2)
	if p := behind.next(500 * time.Millisecond); p == nil {
		t.Error("an ACK behind a useless one waits for the deadline")
	}
	var said *packet.Error
	if err := c.end(t, brokenT); !errors.As(err, &said) {
		t.Errorf("it ends with %v, want the client's error", err)
	}
}
