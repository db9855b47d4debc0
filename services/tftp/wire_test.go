package tftp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"helperd/internal/netns"
	"helperd/plan"
	"helperd/timeline"
)

func TestOptions(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 3000)
	tests := []struct {
		name string
		ask  []string
		want []string // nil: DATA at once
	}{
		{"none", nil, nil},
		{"unknown ones are passed over", []string{"multicast", "", "blksize2", "1024"}, nil},
		{"OVMF", []string{"tsize", "0", "blksize", "1468", "windowsize", "4"}, []string{"tsize", "3000", "blksize", "1468", "windowsize", "4"}},
		{"in the order asked", []string{"windowsize", "4", "tsize", "0", "timeout", "3", "blksize", "1024"}, []string{"windowsize", "4", "tsize", "3000", "timeout", "3", "blksize", "1024"}},
		{"names in any case", []string{"BlkSize", "1024", "TSIZE", "0"}, []string{"BlkSize", "1024", "TSIZE", "3000"}},
		{"smallest block", []string{"blksize", "8"}, []string{"blksize", "8"}},
		{"block below the smallest", []string{"blksize", "7"}, nil},
		{"block above the MTU", []string{"blksize", "65464"}, []string{"blksize", "1468"}},
		{"block above the largest", []string{"blksize", "65465"}, []string{"blksize", "1468"}},
		{"no number", []string{"blksize", "1k", "tsize", "-1", "windowsize", "+4"}, nil},
		{"window above the cap", []string{"windowsize", "65535"}, []string{"windowsize", "64"}},
		{"window zero", []string{"windowsize", "0"}, nil},
		{"timeout out of range", []string{"timeout", "0", "timeout", "256"}, nil},
		{"twice", []string{"blksize", "512", "blksize", "1024"}, []string{"blksize", "512"}},
		{"half understood", []string{"x", "y", "tsize", "0"}, []string{"tsize", "3000"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := g.dial(t)
			w.ask(opRead, append([]string{"f", "octet"}, tt.ask...)...)
			if tt.want == nil {
				if n := len(w.data(1)); n != 512 {
					t.Errorf("first block has %d bytes, want 512", n)
				}
			} else if diff := cmp.Diff(tt.want, w.oack()); diff != "" {
				t.Error(diff)
			}
			w.raw(w.tid, []byte{0, opError, 0, 0, 0})
		})
	}
}

func TestRefusals(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 100)
	tests := []struct {
		name   string
		packet string
		code   uint16
	}{
		{"no such file", "\x00\x01nope\x00octet\x00", codeNotFound},
		{"a folder", "\x00\x01/\x00octet\x00", codeNotFound},
		{"write", "\x00\x02f\x00octet\x00", codeAccess},
		{"mail", "\x00\x01f\x00mail\x00", codeIllegal},
		{"no mode", "\x00\x01f\x00", codeIllegal},
		{"mode without end", "\x00\x01f\x00octet", codeIllegal},
		{"no name", "\x00\x01\x00octet\x00", codeIllegal},
		{"option without value", "\x00\x01f\x00octet\x00tsize\x00", codeIllegal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := g.dial(t)
			w.raw(g.server, []byte(tt.packet))
			text := w.refusal(tt.code)
			if strings.Contains(text, g.dir) {
				t.Errorf("%q shows a path of the server", text)
			}
		})
	}
	for _, stray := range []string{"", "\x00", "\x00\x03\x00\x01x", "\x00\x04\x00\x01", "\x00\x05\x00\x00x\x00", "\x00\x06", "\x09\x09zzzz"} {
		w := g.dial(t)
		w.raw(g.server, []byte(stray))
		w.silence(50 * time.Millisecond)
	}
}

func TestPaddedRequest(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 100)
	w := g.dial(t)
	w.raw(g.server, []byte("\x00\x01f\x00octet\x00tsize\x000\x00\x00\x00\x00\x00"))
	if diff := cmp.Diff([]string{"tsize", "100"}, w.oack()); diff != "" {
		t.Error(diff)
	}
}

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
				w.ask(opRead, ask...)
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
	w.ask(opRead, "f", "octet", "blksize", "1024", "windowsize", "4")
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

// A duplicated ACK in lock step must not double the packets (RFC 1123 section 4.2.3.1).
func TestSorcerersApprentice(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 5000)
	w := g.dial(t)
	w.ask(opRead, "f", "octet")
	w.data(1)
	w.ack(1)
	w.data(2)
	w.ack(1)
	w.ack(0)
	w.silence(100 * time.Millisecond)
	w.ack(2)
	w.data(3)
	w.silence(100 * time.Millisecond)
}

func TestRetransmission(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 5000)
	t.Run("data", func(t *testing.T) {
		t.Parallel()
		w := g.dial(t)
		w.ask(opRead, "f", "octet")
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
		w.ask(opRead, "f", "octet", "timeout", "2")
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

func TestLoss(t *testing.T) {
	g := newRig(t, nil)
	want := g.put(t, "f", 300_000)
	for _, window := range []int{4, 16, 64} {
		t.Run(strconv.Itoa(window), func(t *testing.T) {
			w := g.dial(t)
			w.ask(opRead, "f", "octet", "blksize", "1024", "windowsize", strconv.Itoa(window))
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
	w.ask(opRead, "f", "octet", "blksize", "8", "windowsize", "64")
	w.oack()
	w.ack(0)
	if got := w.fetch(8, 64, nil); !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want %d; or they differ", len(got), len(want))
	}
}

// A stranger who knows the port of a transfer gets nothing and disturbs nobody.
func TestStranger(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 5000)
	w, stranger := g.dial(t), g.dial(t)
	w.ask(opRead, "f", "octet")
	w.data(1)
	stranger.raw(w.tid, []byte{0, opACK, 0, 1})
	stranger.raw(w.tid, []byte{0, opError, 0, 0, 0})
	stranger.silence(100 * time.Millisecond)
	w.silence(10 * time.Millisecond)
	w.ack(1)
	w.data(2)
}

// A client that repeats its request before our answer arrived has one transfer.
func TestRepeatedRequest(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 5000)
	g.put(t, "g", 700)
	w := g.dial(t)
	w.ask(opRead, "f", "octet")
	w.ask(opRead, "f", "octet")
	w.data(1)
	w.silence(100 * time.Millisecond)
	tid := w.tid
	w.ack(1)
	w.data(2)
	w.ask(opRead, "g", "octet") // another file from the same port: the first is given up
	w.data(1)
	if w.tid == tid {
		t.Error("the new transfer has the port of the old one")
	}
	w.ack(1)
	w.data(2)
	w.ack(2)
	w.silence(1200 * time.Millisecond) // longer than the first transfer would wait
}

func TestClientGone(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 5000)
	w := g.dial(t)
	w.ask(opRead, "f", "octet")
	w.data(1)
	w.ack(1)
	w.data(2)
	w.conn.Close()
	e := g.seen(t, timeline.TFTPFailed, "/f")
	if e.Bytes != 512 || e.Total != 5000 || !strings.Contains(e.Detail, "closed its port") {
		t.Errorf("event %+v", e)
	}
}

func TestClientStops(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 5000)
	w := g.dial(t)
	w.ask(opRead, "f", "octet")
	w.data(1)
	w.ack(1)
	w.data(2)
	w.raw(w.tid, []byte("\x00\x05\x00\x03disk full\x1b[31m\x00"))
	e := g.seen(t, timeline.TFTPFailed, "/f")
	if want := "the client stopped the transfer: error 3: disk full?[31m"; e.Detail != want {
		t.Errorf("event says %q, want %q", e.Detail, want)
	}
}

// UEFI firmware reads the size from the OACK and stops; that is no failure.
func TestSizeProbe(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 5000)
	w := g.dial(t)
	w.ask(opRead, "f", "octet", "tsize", "0", "blksize", "1468", "windowsize", "4")
	w.oack()
	w.raw(w.tid, []byte("\x00\x05\x00\x08User aborted the transfer\x00"))
	w.ask(opRead, "f", "octet", "blksize", "1468", "windowsize", "4")
	w.oack()
	w.ack(0)
	w.fetch(1468, 4, nil)
	g.seen(t, timeline.TFTPGet, "/f")
	for _, e := range g.events.Since(0) {
		if e.Kind == timeline.TFTPFailed {
			t.Errorf("event %+v", e)
		}
	}
}

func TestCaps(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 5000)
	for range maxPerClient {
		w := g.dial(t)
		w.ask(opRead, "f", "octet")
		w.data(1)
	}
	w := g.dial(t)
	w.ask(opRead, "f", "octet")
	w.refusal(codeUndefined)
	other := g.dialFrom(t, "127.0.0.2")
	other.ask(opRead, "f", "octet")
	other.data(1)
	other.ack(1)
	other.data(2) // by the poller: the threads are taken
}

// The answer comes from the address that was asked, also on a wildcard socket.
func TestAnswersFromAskedAddress(t *testing.T) {
	g := newRig(t, func(p *plan.Plan) {
		p.TFTP.Listen[0] = netip.AddrPortFrom(netip.IPv4Unspecified(), p.TFTP.Listen[0].Port())
	})
	g.put(t, "f", 100)
	w := g.dial(t)
	w.server = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.7"), g.server.Port())
	w.ask(opRead, "f", "octet")
	w.data(1)
	if w.tid.Addr() != w.server.Addr() {
		t.Errorf("asked %v, answered by %v", w.server, w.tid)
	}
}

func TestIPv6(t *testing.T) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		netns.SkipOrFail(t, "no IPv6 here: "+err.Error())
	}
	addr := c.LocalAddr().(*net.UDPAddr).AddrPort()
	c.Close()
	g := newRig(t, func(p *plan.Plan) { p.TFTP.Listen = []netip.AddrPort{addr} })
	want := g.put(t, "f", 50_000)
	w := g.dialFrom(t, "::1")
	w.server = addr
	w.ask(opRead, "f", "octet", "blksize", "1400", "windowsize", "8")
	w.oack()
	w.ack(0)
	if got := w.fetch(1400, 8, nil); !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want %d; or they differ", len(got), len(want))
	}
}
