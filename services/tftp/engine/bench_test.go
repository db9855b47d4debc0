package engine

import (
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"helperd/services/tftp/packet"
)

// BenchmarkWindow is one window and its ACK, from memory to a socket and back.
func BenchmarkWindow(b *testing.B) {
	for _, window := range []int{1, 4, 16} {
		b.Run(strconv.Itoa(window), func(b *testing.B) {
			client, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			p, _, err := OpenPort(netip.AddrFrom4([4]byte{127, 0, 0, 1}), client.LocalAddr().(*net.UDPAddr).AddrPort())
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			const block = 1468
			out, now := newSender(), time.Now()
			t := &Transfer{port: p, src: endless(make([]byte, maxTrain)), segment: true, story: untold{}, Terms: packet.Terms{Block: block, Window: window, Timeout: time.Second}}
			if err := t.begin(out, now); err != nil {
				b.Fatal(err)
			}
			in := make([]byte, 2048)
			b.SetBytes(int64(block * window))
			b.ReportAllocs()
			for b.Loop() {
				var from netip.AddrPort
				for range window {
					if _, from, err = client.ReadFromUDPAddrPort(in); err != nil {
						b.Fatal(err)
					}
				}
				in[1] = packet.OpACK
				if _, err := client.WriteToUDPAddrPort(in[:packet.HeaderLen], from); err != nil {
					b.Fatal(err)
				}
				n, err := p.recv(in)
				if err := t.take(out, in[:n], err, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// endless is content that repeats itself.
type endless []byte

func (e endless) Size() int64                       { return 1 << 62 }
func (e endless) ready(int64, int) bool             { return true }
func (e endless) at(_ int64, n int) ([]byte, error) { return e[:n], nil }
func (e endless) passed(int64)                      {}
func (e endless) Close()                            {}
