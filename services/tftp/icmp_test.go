package tftp

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a router says of one packet does not end a transfer: the packet was lost.
func TestRouterErrors(t *testing.T) {
	for _, tt := range []struct {
		name           string
		onRecv, onSend error
	}{
		{"path MTU, while waiting", unix.EMSGSIZE, nil},
		{"path MTU, while sending", nil, unix.EMSGSIZE},
		{"host unreachable, while waiting", unix.EHOSTUNREACH, nil},
		{"host unreachable, while sending", nil, unix.EHOSTUNREACH},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
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
			sick := &sickPort{p, tt.onRecv, tt.onSend}
			tr := &transfer{port: sick, src: memory("content"), terms: terms{block: 512, window: 1, timeout: time.Second}}
			tr.out = newSender(sick, 512, 1468)
			done := make(chan error, 1)
			go func() { done <- tr.run() }()
			in := make([]byte, 600)
			client.SetReadDeadline(time.Now().Add(soon))
			_, from, err := client.ReadFromUDPAddrPort(in)
			if err != nil {
				t.Fatalf("no block came: %v; the transfer ended with %v", err, <-done)
			}
			client.WriteToUDPAddrPort([]byte{0, opACK, 0, 1}, from)
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// sickPort has one error in store, as the kernel keeps those of ICMP.
type sickPort struct {
	port
	onRecv, onSend error
}

func (p *sickPort) recv(b []byte, until time.Time) (int, error) {
	if err := p.onRecv; err != nil {
		p.onRecv = nil
		return 0, err
	}
	return p.port.recv(b, until)
}

func (p *sickPort) send(m *unix.Msghdr) error {
	if err := p.onSend; err != nil {
		p.onSend = nil
		return err
	}
	return p.port.send(m)
}

// A client that was gone before anything reached it did not get the file; one
// that is gone when its last block is repeated had it, and its ACK was lost.
func TestGoneAtTheEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		gone []error // what recv gives, in turn
		want error
	}{
		{"at once", []error{unix.ECONNREFUSED}, errGone},
		{"after a repetition", []error{os.ErrDeadlineExceeded, unix.ECONNREFUSED}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &deadPort{gone: tt.gone}
			tr := &transfer{port: p, src: memory("content"), terms: terms{block: 512, window: 1, timeout: time.Millisecond}}
			tr.out = newSender(p, 512, 1468)
			if err := tr.run(); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			if got := tr.bytes(); (got == 7) != (tt.want == nil) {
				t.Errorf("%d bytes arrived", got)
			}
		})
	}
}

// deadPort sends to nobody.
type deadPort struct {
	port
	gone []error
}

func (p *deadPort) recv(_ []byte, until time.Time) (int, error) {
	err := p.gone[0]
	p.gone = p.gone[1:]
	if errors.Is(err, os.ErrDeadlineExceeded) {
		time.Sleep(time.Until(until))
	}
	return 0, err
}

func (p *deadPort) send(*unix.Msghdr) error { return nil }
