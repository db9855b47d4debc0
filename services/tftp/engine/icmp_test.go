package engine

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"helperd/services/tftp/packet"
)

// fakePort has packets for nobody, and an error in store, as the kernel keeps those of ICMP.
type fakePort struct {
	Port
	sent int
	next error // of the next send
}

func (p *fakePort) send(*unix.Msghdr) error { return p.write(nil) }

func (p *fakePort) write([]byte) error {
	if err := p.next; err != nil {
		p.next = nil
		return err
	}
	p.sent++
	return nil
}

// untold is a story that nobody hears.
type untold struct{}

func (untold) Started()                      {}
func (untold) Progress(*Transfer, time.Time) {}
func (untold) Ended(*Transfer, error)        {}

// content of one block by a port.
func oneBlock(p Port) *Transfer {
	return &Transfer{port: p, src: Memory("content"), story: untold{}, Terms: packet.Terms{Block: 512, Window: 1, Timeout: time.Second}}
}

// What a router says of one packet does not end a transfer: the packet was lost.
func TestRouterErrors(t *testing.T) {
	for _, tt := range []struct {
		name           string
		onRecv, onSend error
		atOnce         bool // the block is sent again without a wait
	}{
		{"path MTU, while waiting", unix.EMSGSIZE, nil, true},
		{"path MTU, while sending", nil, unix.EMSGSIZE, false},
		{"host unreachable, while waiting", unix.EHOSTUNREACH, nil, false},
		{"host unreachable, while sending", nil, unix.EHOSTUNREACH, false},
		{"a packet filter", nil, unix.EPERM, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, out, now := &fakePort{next: tt.onSend}, newSender(), time.Now()
			tr := oneBlock(p)
			if err := tr.begin(out, now); err != nil {
				t.Fatal(err)
			}
			if tt.onRecv != nil {
				before := p.sent
				if err := tr.take(out, nil, tt.onRecv, now); err != nil {
					t.Fatal(err)
				}
				if again := p.sent > before; again != tt.atOnce {
					t.Errorf("sent again at once: %v, want %v", again, tt.atOnce)
				}
			}
			if got := tr.deadline.Sub(now); got != time.Second {
				t.Errorf("the next try is in %v, want a second", got)
			}
			if err := tr.expired(out, tr.deadline); err != nil || p.sent == 0 {
				t.Fatalf("%v after %d packets", err, p.sent)
			}
			if err := tr.take(out, []byte{0, packet.OpACK, 0, 1}, nil, now); !errors.Is(err, errDone) {
				t.Errorf("it ends with %v", err)
			}
		})
	}
}

// A client that was gone before anything reached it did not get the file; one
// that is gone when its last block is repeated had it, and its ACK was lost.
func TestGoneAtTheEnd(t *testing.T) {
	for _, tt := range []struct {
		name     string
		repeated bool
		want     error
	}{
		{"at once", false, errGone},
		{"after a repetition", true, errDone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, out, now := &fakePort{}, newSender(), time.Now()
			tr := oneBlock(p)
			if err := tr.begin(out, now); err != nil {
				t.Fatal(err)
			}
			if tt.repeated {
				if err := tr.expired(out, tr.deadline); err != nil {
					t.Fatal(err)
				}
			}
			if err := tr.take(out, nil, unix.ECONNREFUSED, now); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			if got := tr.Bytes(); (got == 7) != tt.repeated {
				t.Errorf("%d bytes arrived", got)
			}
		})
	}
}

// A client that never answers is given up after five tries with growing gaps.
func TestSilence(t *testing.T) {
	p, out, now := &fakePort{}, newSender(), time.Now()
	tr := oneBlock(p)
	err := tr.begin(out, now)
	for err == nil {
		err = tr.expired(out, tr.deadline)
	}
	if waited := tr.deadline.Sub(now); !errors.Is(err, errSilent) || p.sent != 1+tries || waited != 31*time.Second {
		t.Errorf("%v after %d packets and %v, want 6 packets in 31 s", err, p.sent, waited)
	}
}
