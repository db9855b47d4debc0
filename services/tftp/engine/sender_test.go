package engine

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"helperd/services/tftp/packet"
)

// Without segmentation by the kernel, the interface or the path the same packets leave one by one.
func TestWithoutSegmentation(t *testing.T) {
	for name, errno := range map[string]error{
		"interface without checksums": unix.EIO, "old kernel": unix.EINVAL, "path with a smaller MTU": unix.EMSGSIZE,
	} {
		t.Run(name, func(t *testing.T) {
			client, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			p, _, err := OpenPort(netip.AddrFrom4([4]byte{127, 0, 0, 1}), client.LocalAddr().(*net.UDPAddr).AddrPort())
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			refusing := &noTrains{Port: p, with: errno}
			tr := &Transfer{port: refusing, src: Memory(make([]byte, 1500)), segment: true, Terms: packet.Terms{Block: 512, Window: 3, Timeout: time.Second}}
			out, now := newSender(), time.Now()
			if err := tr.begin(out, now); err != nil {
				t.Fatal(err)
			}
			packets := func() {
				t.Helper()
				in := make([]byte, 2048)
				for i, want := range []int{516, 516, 480} {
					client.SetReadDeadline(time.Now().Add(soon))
					if n, err := client.Read(in); n != want || err != nil || int(in[3]) != i+1 {
						t.Errorf("packet %d of %d bytes, want packet %d of %d (%v)", in[3], n, i+1, want, err)
					}
				}
			}
			packets()
			if err := tr.expired(out, tr.deadline); err != nil { // the second time it is not tried
				t.Fatal(err)
			}
			packets()
			if tr.segment || refusing.refused != 1 {
				t.Errorf("%d trains were tried, want 1", refusing.refused)
			}
		})
	}
}

// noTrains is a port on a kernel or an interface without UDP_SEGMENT.
type noTrains struct {
	Port
	with    error
	refused int
}

func (p *noTrains) send(m *unix.Msghdr) error {
	if m.Control != nil {
		p.refused++
		return os.NewSyscallError("sendmsg", p.with)
	}
	return p.Port.send(m)
}
