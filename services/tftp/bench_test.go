package tftp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"
)

// BenchmarkRequest is what a request costs before its first packet.
func BenchmarkRequest(b *testing.B) {
	packet := []byte("\x00\x01artifacts/rhcos/kernel\x00octet\x00tsize\x000\x00blksize\x001468\x00windowsize\x004\x00")
	b.ReportAllocs()
	for b.Loop() {
		r, bad := parseRequest(packet)
		if bad != nil {
			b.Fatal(bad)
		}
		negotiate(&r, 1<<20, 1468)
	}
}

// BenchmarkWindow is one window and its ACK, from memory to a socket and back.
func BenchmarkWindow(b *testing.B) {
	for _, bb := range []struct {
		name     string
		blocking bool
		window   int
	}{{"thread/1", true, 1}, {"thread/4", true, 4}, {"thread/16", true, 16}, {"poller/1", false, 1}, {"poller/16", false, 16}} {
		b.Run(bb.name, func(b *testing.B) {
			client, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			to := client.LocalAddr().(*net.UDPAddr).AddrPort()
			p, _, err := openPort(netip.AddrFrom4([4]byte{127, 0, 0, 1}), to, bb.blocking)
			if err != nil {
				b.Fatal(err)
			}
			defer p.close()
			const block = 1468
			t := &transfer{port: p, src: memory(make([]byte, 4<<20)), terms: terms{block: block, window: bb.window, timeout: time.Second}, last: -1}
			t.out = newSender(p, block, block)
			in := make([]byte, 2048)
			b.SetBytes(int64(block * bb.window))
			b.ReportAllocs()
			for b.Loop() {
				if t.acked+int64(bb.window) >= 4<<20/block {
					t.acked, t.sent = 0, 0
				}
				if err := t.sendWindow(); err != nil {
					b.Fatal(err)
				}
				var from netip.AddrPort
				var n int
				for range bb.window {
					if n, from, err = client.ReadFromUDPAddrPort(in); err != nil {
						b.Fatal(err)
					}
				}
				in[1] = opACK
				if _, err := client.WriteToUDPAddrPort(in[:min(n, 4)], from); err != nil {
					b.Fatal(err)
				}
				if _, err := p.recv(t.in[:], time.Now().Add(time.Second)); err != nil {
					b.Fatal(err)
				}
				if t.judge(binary.BigEndian.Uint16(t.in[2:])) != advance {
					b.Fatal("the ACK brought nothing")
				}
			}
		})
	}
}
