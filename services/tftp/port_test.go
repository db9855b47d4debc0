package tftp

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A queue that does not move holds neither a thread nor a goroutine for ever.
func TestSendGivesUp(t *testing.T) {
	for name, open := range map[string]func(fd int) (port, error){
		"thread": newBlockingPort,
		"poller": func(fd int) (port, error) {
			err := unix.SetNonblock(fd, true) // before the poller sees it
			return newPollPort(fd), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			stuck := os.NewFile(uintptr(fds[1]), "nobody reads")
			defer stuck.Close()
			p, err := open(fds[0])
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			failed := make(chan error, 1)
			go func() {
				out := newSender(p, 512, 1468)
				for {
					if err := out.packet([]byte("x")); err != nil {
						failed <- err
						return
					}
				}
			}()
			select {
			case err := <-failed:
				if !lost(err) {
					t.Errorf("%v is not taken for a lost packet", err)
				}
			case <-time.After(10 * time.Second):
				t.Error("it waits for ever")
			}
		})
	}
}

// A transfer that is stopped ends now, and not when its client should have answered.
func TestInterrupt(t *testing.T) {
	client, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for name, blocking := range map[string]bool{"thread": true, "poller": false} {
		t.Run(name, func(t *testing.T) {
			p, _, err := openPort(netip.AddrFrom4([4]byte{127, 0, 0, 1}), client.LocalAddr().(*net.UDPAddr).AddrPort(), blocking)
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			begun := time.Now()
			timer := time.AfterFunc(50*time.Millisecond, p.interrupt)
			defer timer.Stop()
			for range 2 { // now, and from then on
				if n, err := p.recv(make([]byte, 100), begun.Add(5*time.Second)); n != 0 {
					t.Errorf("%d bytes, %v", n, err)
				}
			}
			if d := time.Since(begun); d > 3*time.Second {
				t.Errorf("it went on for %v", d)
			}
		})
	}
}
