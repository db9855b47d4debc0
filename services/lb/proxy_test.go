package lb

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestProxySmall(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		t.Run(ip, func(t *testing.T) {
			r := newRig(t)
			front := freeAddr(t, ip)
			b := newBackend(t, any0(ip), echo)
			r.apply(lbPlan(front, unchecked, tcpServer("s1", b.addr)))
			c := r.dial(front)
			for _, msg := range []string{"a", "hello", strings.Repeat("x", 5000)} {
				if _, err := io.WriteString(c, msg); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(msg))
				if _, err := io.ReadFull(c, got); err != nil || string(got) != msg {
					t.Fatalf("echo of %d bytes: %v", len(msg), err)
				}
			}
			_ = c.CloseWrite()
			if rest, err := io.ReadAll(c); err != nil || len(rest) != 0 {
				t.Fatalf("end: %q %v", rest, err)
			}
			waitFor(t, "tunnel gone", func() bool { return r.lb.engine.Active() == 0 })
			s := r.server("back", "s1")
			if s.Total != 1 || s.Active != 0 || s.BytesIn != 5006 || s.BytesOut != 5006 {
				t.Errorf("counters: %+v", s)
			}
			if err := r.lb.Check(t.Context()); err != nil {
				t.Error(err)
			}
			if n := b.conns.Load(); n != 1 {
				t.Errorf("Check reached the server: %d connections", n)
			}
		})
	}
}

// TestProxyBulk moves 100 MB each way and compares checksums.
func TestProxyBulk(t *testing.T) {
	const size = 100 << 20
	chunk := make([]byte, 1<<20)
	fill := rand.NewChaCha8([32]byte{1})
	_, _ = fill.Read(chunk)
	want := sha256.New()
	for range size / len(chunk) {
		want.Write(chunk)
	}
	send := func(c net.Conn) {
		for range size / len(chunk) {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
		_ = c.(*net.TCPConn).CloseWrite()
	}
	received := make(chan []byte, 1)
	b := newBackend(t, any0("127.0.0.1"), func(c *net.TCPConn) {
		sent := make(chan struct{})
		go func() { send(c); close(sent) }()
		h := sha256.New()
		_, _ = io.Copy(h, c)
		received <- h.Sum(nil)
		<-sent // the return closes the connection
	})
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	r.apply(lbPlan(front, unchecked, tcpServer("s1", b.addr)))
	c := r.dial(front)
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	go send(c)
	h := sha256.New()
	n, err := io.Copy(h, c)
	if err != nil || n != size || !bytes.Equal(h.Sum(nil), want.Sum(nil)) {
		t.Errorf("download: %d bytes, %v", n, err)
	}
	if got := <-received; !bytes.Equal(got, want.Sum(nil)) {
		t.Error("upload: checksum differs")
	}
}

// TestSlowReader has each side stop reading for a while, so that bytes wait in the balancer.
func TestSlowReader(t *testing.T) {
	const size = 8 << 20
	b := newBackend(t, any0("127.0.0.1"), func(c *net.TCPConn) {
		time.Sleep(100 * time.Millisecond)
		echo(c)
	})
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	r.apply(lbPlan(front, unchecked, tcpServer("s1", b.addr)))
	c := r.dial(front)
	data := make([]byte, size)
	fill := rand.NewChaCha8([32]byte{2})
	_, _ = fill.Read(data)
	go func() {
		_, _ = c.Write(data)
		_ = c.CloseWrite()
	}()
	time.Sleep(300 * time.Millisecond)
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes back, %v", len(got), err)
	}
}

func TestHalfClose(t *testing.T) {
	tests := []struct {
		name  string
		serve func(*net.TCPConn)
		run   func(t *testing.T, c *net.TCPConn)
	}{
		{"client first", func(c *net.TCPConn) {
			in, _ := io.ReadAll(c) // only ends when the FIN is passed on
			time.Sleep(20 * time.Millisecond)
			_, _ = c.Write(bytes.ToUpper(in))
		}, func(t *testing.T, c *net.TCPConn) {
			_, _ = io.WriteString(c, "ping")
			_ = c.CloseWrite()
			if got, err := io.ReadAll(c); string(got) != "PING" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		}},
		{"server first", func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "bye")
			_ = c.CloseWrite()
			in, _ := io.ReadAll(c)
			if string(in) != "later" {
				panic("server got " + string(in))
			}
		}, func(t *testing.T, c *net.TCPConn) {
			if got, err := io.ReadAll(c); string(got) != "bye" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
			time.Sleep(20 * time.Millisecond)
			if _, err := io.WriteString(c, "later"); err != nil {
				t.Error(err)
			}
			_ = c.CloseWrite()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			front := freeAddr(t, "127.0.0.1")
			done := make(chan struct{})
			b := newBackend(t, any0("127.0.0.1"), func(c *net.TCPConn) { tt.serve(c); close(done) })
			r.apply(lbPlan(front, unchecked, tcpServer("s1", b.addr)))
			tt.run(t, r.dial(front))
			select {
			case <-done:
			case <-time.After(5 * time.Second):
				t.Fatal("the server did not see the end")
			}
			waitFor(t, "tunnel gone", func() bool { return r.lb.engine.Active() == 0 })
		})
	}
}

func TestReset(t *testing.T) {
	t.Run("of the server", func(t *testing.T) {
		r := newRig(t)
		front := freeAddr(t, "127.0.0.1")
		b := newBackend(t, any0("127.0.0.1"), func(c *net.TCPConn) {
			_, _ = c.Read(make([]byte, 1))
			_ = c.SetLinger(0)
		})
		r.apply(lbPlan(front, unchecked, tcpServer("s1", b.addr)))
		c := r.dial(front)
		_, _ = io.WriteString(c, "x")
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("client sees %v", err)
		}
	})
	t.Run("of the client", func(t *testing.T) {
		r := newRig(t)
		front := freeAddr(t, "127.0.0.1")
		seen := make(chan error, 1)
		b := newBackend(t, any0("127.0.0.1"), func(c *net.TCPConn) {
			_, _ = c.Write([]byte("x"))
			_, err := c.Read(make([]byte, 1))
			seen <- err
		})
		r.apply(lbPlan(front, unchecked, tcpServer("s1", b.addr)))
		c := r.dial(front)
		_, _ = io.ReadFull(c, make([]byte, 1))
		_ = c.SetLinger(0)
		_ = c.Close()
		if err := <-seen; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("server sees %v", err)
		}
	})
}

// TestResetAfterAnswer: what a server sent before its reset reaches the client.
func TestResetAfterAnswer(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	b := newBackend(t, any0("127.0.0.1"), func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 1)) // the rest stays unread: the close is a reset
		_, _ = io.WriteString(c, "413 too large")
	})
	r.apply(lbPlan(front, unchecked, tcpServer("s1", b.addr)))
	c := r.dial(front)
	_, _ = io.WriteString(c, strings.Repeat("x", 2000))
	got, err := io.ReadAll(c)
	if string(got) != "413 too large" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestSendProxy(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			r := newRig(t)
			front := freeAddr(t, "127.0.0.1")
			heard := make(chan []byte, 1)
			b := newBackend(t, any0("127.0.0.1"), func(c *net.TCPConn) {
				in, _ := io.ReadAll(c)
				heard <- in
			})
			p := lbPlan(front, unchecked, tcpServer("s1", b.addr))
			p.LB.Backends[0].SendProxy = version
			r.apply(p)
			c := r.dial(front)
			own := c.LocalAddr().(*net.TCPAddr).AddrPort()
			_, _ = io.WriteString(c, "data")
			_ = c.CloseWrite()
			want := []byte("PROXY TCP4 " + own.Addr().String() + " " + front.Addr().String() + " " + portOf(own) + " " + portOf(front) + "\r\ndata")
			if version == "v2" {
				want = []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01")
				want = append(want, byte(own.Port()>>8), byte(own.Port()), byte(front.Port()>>8), byte(front.Port()))
				want = append(want, "data"...)
			}
			if got := <-heard; !bytes.Equal(got, want) {
				t.Errorf("server heard\n%q, want\n%q", got, want)
			}
		})
	}
}

func portOf(a netip.AddrPort) string { s := a.String(); return s[strings.LastIndex(s, ":")+1:] }

func TestTimeouts(t *testing.T) {
	tests := []struct {
		name           string
		client, server time.Duration
	}{
		{"client", 200 * time.Millisecond, time.Minute},
		{"server", time.Minute, 200 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			front := freeAddr(t, "127.0.0.1")
			b := newBackend(t, any0("127.0.0.1"), echo)
			p := lbPlan(front, unchecked, tcpServer("s1", b.addr))
			p.LB.Frontends[0].ClientTimeout, p.LB.Backends[0].ServerTimeout = tt.client, tt.server
			r.apply(p)
			c := r.dial(front)
			for range 4 { // activity keeps it open for longer than the limit
				time.Sleep(100 * time.Millisecond)
				_, _ = io.WriteString(c, "x")
				if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
					t.Fatalf("closed while active: %v", err)
				}
			}
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("silent tunnel: %v", err)
			}
			if n := r.lb.Status().Counters["timeouts"]; n != 1 {
				t.Errorf("timeouts = %d", n)
			}
		})
	}
}

// TestConnectTimeout has a server whose queue is full: a connect hangs, and the next server is tried.
func TestConnectTimeout(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	_ = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	_ = syscall.Listen(fd, 0)
	sa, _ := syscall.Getsockname(fd)
	hung := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(sa.(*syscall.SockaddrInet4).Port))
	for range 3 {
		if c, err := net.DialTimeout("tcp", hung.String(), 100*time.Millisecond); err == nil {
			defer c.Close()
		}
	}
	good := newBackend(t, any0("127.0.0.1"), name("good"))
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	p := lbPlan(front, unchecked, tcpServer("hung", hung), tcpServer("good", good.addr))
	p.LB.Backends[0].ConnectTimeout = 150 * time.Millisecond
	r.apply(p)
	for range 2 {
		if got, err := ask(front); got != "good" || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if s := r.tableServer("hung"); s.Redispatches.Load() == 0 || s.Active.Load() != 0 {
		t.Errorf("hung server: %d redispatches, %d active", s.Redispatches.Load(), s.Active.Load())
	}
}

func TestRefusesOthers(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	b := newBackend(t, any0("127.0.0.1"), name("s1"))
	p := lbPlan(front, unchecked, tcpServer("s1", b.addr))
	p.LB.Frontends[0].Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.8/29")}
	r.apply(p)
	if got, _ := ask(front); got != "" {
		t.Errorf("a client that is not allowed got %q", got)
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	c, err := d.Dial("tcp", front.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); string(got) != "s1" || err != nil {
		t.Errorf("an allowed client got %q, %v", got, err)
	}
	if n := r.lb.Status().Counters["refused"]; n != 1 || b.conns.Load() != 1 {
		t.Errorf("refused = %d, server had %d", n, b.conns.Load())
	}
}

// TestMaxConnections: what is over the limit waits, and is served when there is room.
func TestMaxConnections(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	b := newBackend(t, any0("127.0.0.1"), echo)
	p := lbPlan(front, unchecked, tcpServer("s1", b.addr))
	p.LB.MaxConnections = 5
	r.apply(p)
	var conns []*net.TCPConn
	for range 8 {
		c := r.dial(front)
		_, _ = io.WriteString(c, "x")
		conns = append(conns, c)
	}
	answered := func(c *net.TCPConn, wait time.Duration) bool {
		_ = c.SetReadDeadline(time.Now().Add(wait))
		_, err := c.Read(make([]byte, 1))
		return err == nil
	}
	var in, out []*net.TCPConn
	for _, c := range conns {
		if answered(c, 150*time.Millisecond) {
			in = append(in, c)
		} else {
			out = append(out, c)
		}
	}
	if len(in) != 5 || b.conns.Load() != 5 {
		t.Fatalf("%d connections were served, the server had %d", len(in), b.conns.Load())
	}
	if err := r.lb.Check(t.Context()); err != nil {
		t.Errorf("Check at the limit: %v", err)
	}
	for i := range out {
		_ = in[i].Close()
	}
	for i, c := range out {
		if !answered(c, 5*time.Second) {
			t.Errorf("connection %d was not served after another ended", i)
		}
	}
}

// TestServerQueue: a server with its own limit has connections wait for it, and some in vain.
func TestServerQueue(t *testing.T) {
	r := newRig(t)
	front := freeAddr(t, "127.0.0.1")
	b := newBackend(t, any0("127.0.0.1"), echo)
	s := tcpServer("s1", b.addr)
	s.MaxConnections = 1
	p := lbPlan(front, unchecked, s)
	p.LB.Backends[0].QueueTimeout = 400 * time.Millisecond
	r.apply(p)
	first := r.dial(front)
	_, _ = io.WriteString(first, "x")
	_, _ = io.ReadFull(first, make([]byte, 1)) // the place is taken: another worker may have been quicker
	second := r.dial(front)
	if _, err := second.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a connection without a place: %v", err)
	}
	third := r.dial(front)
	_, _ = io.WriteString(third, "x")
	time.Sleep(50 * time.Millisecond)
	_ = first.Close()
	if _, err := io.ReadFull(third, make([]byte, 1)); err != nil {
		t.Errorf("a connection that got a place: %v", err)
	}
}
