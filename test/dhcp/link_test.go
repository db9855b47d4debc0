package dhcp

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/netns"
)

// relayMAC is the router behind which the far networks lie.
var relayMAC = mac{0x02, 0x67, 0, 0, 0, 1}

// A reply is a message of the server with how it came.
type reply struct {
	*message
	way
	broken error // of the datagram or the options; nil: none
}

// A link is one end of a wire; a server is at the other. It hears all that
// the server sends, to whomever, and answers ARP and pings for the addresses in use.
type link struct {
	server *netns.NS
	dev    string // of the server
	serves mac    // of the server

	fd    int
	index int

	mu      sync.Mutex
	holders map[netip.Addr]mac
	waiting map[uint32]chan *reply // by transaction
	last    byte                   // of the MACs that were given out
}

func newLink(t *testing.T) *link {
	t.Helper()
	l := &link{server: netns.New(t), holders: map[netip.Addr]mac{}, waiting: map[uint32]chan *reply{}}
	far := netns.New(t)
	var ours string
	l.dev, ours = netns.Link(t, l.server, far, serverIP+"/24", "")
	l.server.IP(t, "route", "add", "10.30.0.0/16", "dev", l.dev)
	l.serves = hardware(t, l.server, l.dev)
	far.Do(t, func() { l.open(t, ours) })
	for _, a := range []string{"10.30.8.1", "10.30.9.1", "10.30.10.1", "10.30.11.1", "10.30.99.1"} {
		l.hold(netip.MustParseAddr(a), relayMAC)
	}
	l.hold(squatted, mac{0x02, 0x67, 0, 0, 0, 2})
	done := make(chan struct{})
	stop := make(chan struct{})
	go l.listen(stop, done)
	t.Cleanup(func() {
		close(stop)
		<-done
		_ = unix.Close(l.fd)
	})
	return l
}

// hardware reads the MAC of a device.
func hardware(t *testing.T, ns *netns.NS, dev string) (m mac) {
	t.Helper()
	ns.Do(t, func() {
		ifi, err := net.InterfaceByName(dev)
		if err != nil {
			t.Fatal(err)
		}
		m = mac(ifi.HardwareAddr)
	})
	return m
}

func (l *link) open(t *testing.T, dev string) {
	t.Helper()
	ifi, err := net.InterfaceByName(dev)
	if err != nil {
		t.Fatal(err)
	}
	all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
	l.index = ifi.Index
	l.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all))
	err = errors.Join(err,
		unix.Bind(l.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: l.index}),
		unix.SetsockoptInt(l.fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1),
		unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20),
		unix.SetsockoptTimeval(l.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
	if err != nil {
		t.Fatal(err)
	}
}

// hold makes a the address of m, which answers ARP for it from now on.
func (l *link) hold(a netip.Addr, m mac) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holders[a] = m
}

func (l *link) holder(a netip.Addr) (mac, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m, ok := l.holders[a]
	return m, ok
}

// newMAC gives the address of a machine that is in no list. dnsmasq, which holds
// no offers, goes by a hash of the MAC: it spreads these over the LAN's pool from
// its first address on, one after the other, so that no two clients meet and the
// end of the pool stays free for those that ask for an address.
func (l *link) newMAC() mac {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last++; l.last > 200 {
		panic(failure("more clients than the end of the pool leaves room for: make the pool larger"))
	}
	return mac{0x02, 0x00, 0x9a, 0, 0, l.last}
}

// await gives where the replies of a transaction arrive.
func (l *link) await(xid uint32) chan *reply {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok := l.waiting[xid]
	if !ok {
		c = make(chan *reply, 16)
		l.waiting[xid] = c
	}
	return c
}

func (l *link) send(frame []byte) error {
	return unix.Sendto(l.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: l.index})
}

// listen hears frames until stop is closed.
func (l *link) listen(stop, done chan struct{}) {
	defer close(done)
	b, control := make([]byte, 65536), make([]byte, 128)
	for {
		n, cn, _, from, err := unix.Recvmsg(l.fd, b, control, 0)
		select {
		case <-stop:
			return
		default:
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); err != nil || !ok || ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		l.hear(b[:n], partial(control[:cn]))
	}
}

// partial reads from PACKET_AUXDATA whether the kernel left the UDP checksum to the card.
func partial(control []byte) bool {
	list, _ := unix.ParseSocketControlMessage(control)
	for _, c := range list {
		if c.Header.Level == unix.SOL_PACKET && c.Header.Type == unix.PACKET_AUXDATA && len(c.Data) >= 4 {
			return binary.NativeEndian.Uint32(c.Data)&unix.TP_STATUS_CSUMNOTREADY != 0
		}
	}
	return false
}

func (l *link) hear(b []byte, partial bool) {
	for _, r := range [][]byte{arpReply(b, l.holder), echoReply(b, l.holder)} {
		if r != nil {
			_ = l.send(r)
			return
		}
	}
	payload, w, err := unwrap(b, partial)
	if payload == nil || w.from.Port() != 67 {
		return
	}
	m, bad := parse(append([]byte(nil), payload...))
	if m == nil {
		return
	}
	select {
	case l.await(m.xid) <- &reply{m, w, errors.Join(err, bad)}:
	case <-time.After(time.Second): // nobody reads them: a flood of one transaction
	}
}
