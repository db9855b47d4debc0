package lb

import (
	"io"
	"net"
	"testing"
)

// BenchmarkConnections opens a connection, exchanges a byte each way and closes it.
func BenchmarkConnections(b *testing.B) {
	r := newRig(b)
	front := freeAddr(b, "127.0.0.1")
	s := newBackend(b, any0("127.0.0.1"), echo)
	r.apply(lbPlan(front, unchecked, tcpServer("s1", s.addr)))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		one := make([]byte, 1)
		for pb.Next() {
			c, err := net.Dial("tcp", front.String())
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = c.Write(one)
			if _, err := io.ReadFull(c, one); err != nil {
				b.Error(err)
			}
			_ = c.Close()
		}
	})
}

// BenchmarkMessages sends small messages through open tunnels.
func BenchmarkMessages(b *testing.B) {
	r := newRig(b)
	front := freeAddr(b, "127.0.0.1")
	s := newBackend(b, any0("127.0.0.1"), echo)
	r.apply(lbPlan(front, unchecked, tcpServer("s1", s.addr)))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", front.String())
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		msg := make([]byte, 200)
		for pb.Next() {
			_, _ = c.Write(msg)
			if _, err := io.ReadFull(c, msg); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkBulk downloads through one tunnel.
func BenchmarkBulk(b *testing.B) {
	r := newRig(b)
	front := freeAddr(b, "127.0.0.1")
	chunk := make([]byte, 1<<20)
	s := newBackend(b, any0("127.0.0.1"), func(c *net.TCPConn) {
		for {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	})
	r.apply(lbPlan(front, unchecked, tcpServer("s1", s.addr)))
	c, err := net.Dial("tcp", front.String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	in := make([]byte, len(chunk))
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.ReadFull(c, in); err != nil {
			b.Fatal(err)
		}
	}
}
