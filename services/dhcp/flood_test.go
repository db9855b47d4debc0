package dhcp

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/netns"
	"helperd/plan"
	"helperd/services/dhcp/packet"
)

const (
	floodNodes = 100  // machines of the plan, in scenario "flood"
	floodRate  = 5000 // DISCOVERs of invented MACs a second
	// mostGrowth is how much memory the server may take for a flood, in KiB.
	mostGrowth = 30 << 10
)

// floodNode gives MAC and address of a machine of scenario "flood".
func floodNode(i int) (plan.MAC, netip.Addr) {
	return plan.MAC{0x52, 0x54, 0, 0xf1, 0, byte(i)}, netip.AddrFrom4([4]byte{192, 168, 67, byte(100 + i)})
}

// floodTime is how long the flood lasts: 20 s are 100,000 MACs.
func floodTime(t *testing.T) time.Duration {
	d := 20 * time.Second
	if s := os.Getenv("HELPERD_DHCP_FLOOD"); s != "" {
		var err error
		if d, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// wire sends and receives whole IP packets on a link, as machines without an address do.
type wire struct {
	t     *testing.T
	fd    int
	index int
}

func newWire(t *testing.T, ns *netns.NS) *wire {
	t.Helper()
	w := &wire{t: t}
	ns.Do(t, func() {
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			t.Fatal(err)
		}
		w.index = ifi.Index
		if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_IP))); err != nil {
			t.Fatal(err)
		}
	})
	_ = unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	_ = unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
	t.Cleanup(func() { _ = unix.Close(w.fd) })
	return w
}

// broadcast sends a client's message; the room for the headers is before it.
func (w *wire) broadcast(frame []byte) {
	all := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	packet.Frame(frame, netip.AddrPortFrom(netip.IPv4Unspecified(), packet.ClientPort), netip.AddrPortFrom(all, packet.ServerPort))
	to := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: w.index, Halen: 6, Addr: [8]byte{255, 255, 255, 255, 255, 255}}
	_ = unix.Sendto(w.fd, frame, 0, to)
}

// flood broadcasts DISCOVERs, each of a MAC of its own, until ctx ends.
func (w *wire) flood(ctx context.Context, perSecond int) (sent int) {
	began := time.Now()
	for ctx.Err() == nil {
		due := int(time.Since(began).Seconds() * float64(perSecond))
		for ; sent < due; sent++ {
			m := plan.MAC{2, 0xf0}
			binary.BigEndian.PutUint32(m[2:], uint32(sent))
			w.broadcast(append(make([]byte, packet.Headers, 400), packet.NewDiscover(m, rand.Uint32())...))
		}
		time.Sleep(time.Millisecond)
	}
	return sent
}

// request gives a node's DHCPREQUEST for what it was offered.
func request(mac plan.MAC, xid uint32, addr, server netip.Addr) []byte {
	b := append(make([]byte, packet.Headers, 400), packet.NewDiscover(mac, xid)...)
	b = b[:packet.Headers+240]
	a, s := addr.As4(), server.As4()
	b = append(b, packet.MessageType, 1, byte(packet.Ask), packet.RequestedAddr, 4, a[0], a[1], a[2], a[3], packet.ServerID, 4, s[0], s[1], s[2], s[3], 255)
	return append(b, make([]byte, packet.Headers+300-len(b))...)
}

// boot takes one node's address by DISCOVER and REQUEST, asking once a second
// as long as it takes, and gives the time that each answer took.
func (w *wire) boot(mac plan.MAC, want netip.Addr) (waits []time.Duration) {
	w.t.Helper()
	server := netip.MustParseAddr("192.168.67.2")
	for _, step := range []struct{ ask, answer packet.Type }{{packet.Discover, packet.Offer}, {packet.Ask, packet.Ack}} {
		began := time.Now()
		for answered := false; !answered; {
			if time.Since(began) > 20*time.Second {
				w.t.Fatalf("%s got no answer of type %d in 20 s", mac, step.answer)
			}
			xid := rand.Uint32()
			frame := request(mac, xid, want, server)
			if step.ask == packet.Discover {
				frame = append(make([]byte, packet.Headers, 400), packet.NewDiscover(mac, xid)...)
			}
			w.broadcast(frame)
			got := w.await(xid, time.Now().Add(time.Second))
			answered = got != nil && got.Type == step.answer && got.Your == want
		}
		waits = append(waits, time.Since(began))
	}
	return waits
}

// await gives the answer with xid, or nil when the time is over.
func (w *wire) await(xid uint32, until time.Time) *packet.Request {
	b := make([]byte, 2048)
	var m packet.Request
	for time.Now().Before(until) {
		n, _, err := unix.Recvfrom(w.fd, b, 0)
		if err != nil {
			continue
		}
		if m.ParseReply(udpPayload(b[:n])) == nil && m.XID == xid {
			return &m
		}
	}
	return nil
}

// memory gives the largest resident and the present heap size of the server in KiB.
func (p *process) memory() (resident, heap int) {
	p.t.Helper()
	if _, err := fmt.Sscan(p.do("memory"), &resident, &heap); err != nil {
		p.t.Fatal(err)
	}
	return resident, heap
}

// 5,000 DISCOVERs a second of invented MACs leave the memory bounded, and every
// machine of the plan gets its address as quickly as ever.
func TestFloodOfInventedMACs(t *testing.T) {
	srv, cli := lan(t)
	p := startProcess(t, srv, t.TempDir(), "flood")
	nodes := newWire(t, cli)
	first, _ := floodNode(0)
	nodes.boot(first, netip.MustParseAddr("192.168.67.100"))
	residentBefore, heapBefore := p.memory()

	ctx, cancel := context.WithTimeout(t.Context(), floodTime(t))
	defer cancel()
	flood := newWire(t, cli)
	sent := make(chan int, 1)
	go func() { sent <- flood.flood(ctx, floodRate) }()
	var waits []time.Duration
	for i := 0; ctx.Err() == nil; i++ {
		mac, addr := floodNode(i % floodNodes)
		waits = append(waits, nodes.boot(mac, addr)...)
	}
	total := <-sent
	resident, heap := p.memory()
	slices.Sort(waits)
	p50, p99 := waits[len(waits)/2], waits[len(waits)*99/100]
	st := p.status()
	t.Logf("%d invented MACs in %s; %d answers to nodes, median %s, 99%% within %s, longest %s; at most resident %d -> %d KiB, heap %d -> %d KiB; counters %v",
		total, floodTime(t), len(waits), p50, p99, waits[len(waits)-1], residentBefore, resident, heapBefore, heap, st.Counters)
	if len(waits) < 2*floodNodes {
		t.Errorf("only %d answers to nodes", len(waits))
	}
	if p99 > 100*time.Millisecond {
		t.Errorf("a node waits %s", p99)
	}
	if resident-residentBefore > mostGrowth || heap-heapBefore > mostGrowth {
		t.Errorf("memory grew: resident %d -> %d KiB, heap %d -> %d KiB", residentBefore, resident, heapBefore, heap)
	}
	if st.Counters["limited_link"] == 0 {
		t.Error("the flood was not limited")
	}
	p.until("status", contains("on the link of network 192.168.67.0/24"))
}
