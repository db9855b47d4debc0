package engine

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"helperd/services/tftp/packet"
)

// A queue that does not move holds nobody up: the packet counts as lost.
func TestSendNeverWaits(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1]) // nobody reads there
	p, out := udpPort(fds[0]), newSender()
	defer p.Close()
	for range 100_000 {
		if err = p.write([]byte("x")); err != nil {
			break
		}
	}
	if !lost(err) {
		t.Fatalf("%v is not taken for a lost packet", err)
	}
	now := time.Now()
	tr := &Transfer{port: p, src: Memory("content"), Terms: packet.Terms{Block: 512, Window: 1, Timeout: time.Second}}
	if err := tr.begin(out, now); err != nil {
		t.Fatal(err)
	}
	if got := tr.deadline.Sub(now); got != hesitation {
		t.Errorf("sent again after %v, want %v: the queue may move soon", got, hesitation)
	}
	for range 2 {
		if err := tr.expired(out, tr.deadline); err != nil {
			t.Fatal(err)
		}
	}
	if got := tr.deadline.Sub(now); got < time.Second {
		t.Errorf("sent again after %v, want a second or more: the queue does not move", got)
	}
	if _, err := p.recv(make([]byte, 8)); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("an empty port gives %v, want EAGAIN", err)
	}
}
