package tftp

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Without segmentation by the kernel the same packets leave one by one.
func TestWithoutSegmentation(t *testing.T) {
	client, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p, _, err := openPort(netip.AddrFrom4([4]byte{127, 0, 0, 1}), client.LocalAddr().(*net.UDPAddr).AddrPort(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	refusing := &noTrains{port: p}
	s := newSender(refusing, 512, 1468)
	if s.train() != maxSegments {
		t.Fatalf("trains of %d blocks", s.train())
	}
	if err := s.blocks(1, make([]byte, 1500), 3); err != nil {
		t.Fatal(err)
	}
	in := make([]byte, 2048)
	for _, want := range []int{516, 516, 480} {
		client.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := client.Read(in); n != want || err != nil {
			t.Errorf("packet of %d bytes, want %d (%v)", n, want, err)
		}
	}
	if s.train() != 1 || refusing.refused != 1 {
		t.Errorf("trains of %d blocks after %d refusals", s.train(), refusing.refused)
	}
}

// noTrains is a port on a kernel without UDP_SEGMENT.
type noTrains struct {
	port
	refused int
}

func (p *noTrains) send(m *unix.Msghdr) error {
	if m.Control != nil {
		p.refused++
		return os.NewSyscallError("sendmsg", unix.EIO)
	}
	return p.port.send(m)
}
