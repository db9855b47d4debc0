package dhcp

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/mmsg"
)

// A reader never waits for a full send buffer. Others do once, and then not as long as it stays full.
func TestFullSendBuffer(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	near, far := os.NewFile(uintptr(fds[0]), "near"), os.NewFile(uintptr(fds[1]), "far")
	defer near.Close()
	defer far.Close()
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	send := func(w *sender, count int) (failed int, took time.Duration) {
		t.Helper()
		if _, err := far.Write([]byte("ask")); err != nil {
			t.Fatal(err)
		}
		b := mmsg.New(count, 16, 16)
		if n, err := b.Receive(raw); n != 1 || err != nil {
			t.Fatalf("%d received, %v", n, err)
		}
		for range count {
			b.Queue(0, copy(b.Reply(), "answer"))
		}
		began := time.Now()
		failed = w.transmit(b, near)
		return failed, time.Since(began)
	}
	const many = 2000 // more than any queue of a socket pair
	p := &port{}
	quickest := longestSend
	for range 5 { // one that the machine interrupts proves nothing
		failed, took := send(&sender{port: p, hasty: true}, many)
		if failed == 0 {
			t.Fatal("the buffer is not full")
		}
		quickest = min(quickest, took)
	}
	if quickest >= longestSend {
		t.Error("a reader waits")
	}
	patient := &sender{port: p}
	if failed, took := send(patient, many); failed == 0 || took < longestSend || !p.stuck.Load() {
		t.Errorf("%d failed after %s", failed, took)
	}
	quickest = longestSend
	for range 5 {
		_, took := send(patient, many)
		quickest = min(quickest, took)
	}
	if quickest >= longestSend {
		t.Error("it waits again and again for a buffer that stays full")
	}
	_ = far.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	for b := make([]byte, 16); ; { // the other side reads again
		if _, err := far.Read(b); err != nil {
			break
		}
	}
	if failed, _ := send(patient, 1); failed > 0 || p.stuck.Load() {
		t.Errorf("%d failed when there was room again", failed)
	}
}
