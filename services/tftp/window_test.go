package tftp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"helperd/services/tftp/packet"
	"helperd/timeline"
)

// Every edge of a file's length against every shape of window.
func TestWindows(t *testing.T) {
	g := newRig(t, nil)
	for _, size := range []int{0, 1, 511, 512, 513, 2048, 5000, 512 * 64, 100_001} {
		want := g.put(t, fmt.Sprint("f", size), size)
		for _, window := range []int{1, 4, 16, 64} {
			t.Run(fmt.Sprintf("%d bytes by %d", size, window), func(t *testing.T) {
				w := g.dial(t)
				ask := []string{fmt.Sprint("f", size), "octet"}
				if window > 1 {
					ask = append(ask, "windowsize", strconv.Itoa(window))
				}
				w.ask(packet.OpRead, ask...)
				if window > 1 {
					w.oack()
					w.ack(0)
				}
				if got := w.fetch(512, window, nil); !bytes.Equal(got, want) {
					t.Errorf("got %d bytes, want %d; or they differ", len(got), len(want))
				}
				w.silence(20 * time.Millisecond)
				if e := g.seen(t, timeline.TFTPGet, fmt.Sprint("/f", size)); e.Bytes != int64(size) || e.Total != int64(size) {
					t.Errorf("event says %d of %d", e.Bytes, e.Total)
				}
			})
		}
	}
}

func TestExactBurst(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 20*1024)
	w := g.dial(t)
	w.ask(packet.OpRead, "f", "octet", "blksize", "1024", "windowsize", "4")
	w.oack()
	w.silence(50 * time.Millisecond) // nothing before ACK 0
	w.ack(0)
	for n := range uint16(4) {
		w.data(n + 1)
	}
	w.silence(50 * time.Millisecond)
	w.ack(4)
	for n := range uint16(4) {
		w.data(n + 5)
	}
	w.silence(50 * time.Millisecond)
	w.ack(6) // 7 and 8 were lost: the window starts again at 7
	for n := range uint16(4) {
		w.data(n + 7)
	}
	w.ack(6) // 7 itself was lost: once more
	for n := range uint16(4) {
		w.data(n + 7)
	}
	w.ack(6) // and the same again is a duplicate of the network
	w.silence(50 * time.Millisecond)
	w.ack(99) // from the future
	w.silence(50 * time.Millisecond)
	w.ack(10)
	w.data(11)
}

// Firmware of EDK2 acknowledges every packet that it does not expect. One lost
// packet must not double all that follow.
func TestOneLossDoublesNothing(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 400*1024+1)
	w := g.dial(t)
	w.ask(packet.OpRead, "f", "octet", "blksize", "1024", "windowsize", "4")
	w.oack()
	w.ack(0)
	packets, expect, inWindow := 0, uint16(1), 0
	for {
		p := w.next(soon)
		if len(p) < 4 || p[1] != packet.OpData {
			t.Fatalf("got %.40q", p)
		}
		if packets++; packets == 6 {
			continue // lost
		}
		if binary.BigEndian.Uint16(p[2:]) != expect {
			w.ack(expect - 1)
			inWindow = 0
			continue
		}
		expect++
		inWindow++
		if last := len(p)-4 < 1024; last || inWindow == 4 {
			w.ack(expect - 1)
			inWindow = 0
			if last {
				break
			}
		}
	}
	for w.next(50*time.Millisecond) != nil {
		packets++
	}
	if packets > 420 {
		t.Errorf("%d packets for 401 blocks of which one was lost", packets)
	}
}

func TestRetransmission(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 5000)
	t.Run("data", func(t *testing.T) {
		t.Parallel()
		w := g.dial(t)
		w.ask(packet.OpRead, "f", "octet")
		first := w.data(1)
		begun := time.Now()
		if again := w.data(1); !bytes.Equal(first, again) {
			t.Error("the block changed")
		}
		if d := time.Since(begun); d < 800*time.Millisecond {
			t.Errorf("sent again after %v, want 1 s", d)
		}
		w.ack(1)
		w.data(2)
	})
	t.Run("oack, by the timeout asked", func(t *testing.T) {
		t.Parallel()
		w := g.dial(t)
		w.ask(packet.OpRead, "f", "octet", "timeout", "2")
		w.oack()
		begun := time.Now()
		w.oack()
		if d := time.Since(begun); d < 1800*time.Millisecond {
			t.Errorf("sent again after %v, want 2 s", d)
		}
		w.ack(0)
		w.data(1)
	})
}

// A client that repeats what does not help neither stops the clock of a
// transfer nor keeps it alive.
func TestChatter(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 5000)
	w := g.dial(t)
	w.ask(packet.OpRead, "f", "octet")
	w.data(1)
	w.ack(1)
	w.data(2)
	for range 40 {
		w.ack(1) // DATA 2 never came
		if w.next(50*time.Millisecond) != nil {
			return
		}
	}
	t.Error("no block was sent again in two seconds")
}

func TestLoss(t *testing.T) {
	g := newRig(t, nil)
	want := g.put(t, "f", 300_000)
	for _, window := range []int{4, 16, 64} {
		t.Run(strconv.Itoa(window), func(t *testing.T) {
			w := g.dial(t)
			w.ask(packet.OpRead, "f", "octet", "blksize", "1024", "windowsize", strconv.Itoa(window))
			w.oack()
			w.ack(0)
			r := rand.New(rand.NewPCG(1, uint64(window)))
			lost := 0
			// Not the last block of a window alone: that costs a second, by design.
			got := w.fetch(1024, window, func(n int) bool {
				if n%window != window-1 && n < 290 && lost < 20 && r.IntN(20) == 0 {
					lost++
					return true
				}
				return false
			})
			if !bytes.Equal(got, want) {
				t.Errorf("got %d bytes, want %d; or they differ", len(got), len(want))
			}
			if lost == 0 {
				t.Error("nothing was lost: the test tests nothing")
			}
		})
	}
}

func TestRollOver(t *testing.T) {
	g := newRig(t, nil)
	want := g.put(t, "f", 65540*8+3)
	w := g.dial(t)
	w.ask(packet.OpRead, "f", "octet", "blksize", "8", "windowsize", "64")
	w.oack()
	w.ack(0)
	if got := w.fetch(8, 64, nil); !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want %d; or they differ", len(got), len(want))
	}
}
