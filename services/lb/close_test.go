package lb

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// TestCloseWithDataInFlight has one side send more than fits into the sockets and end by a FIN or
// a reset while the other one has not read yet.
func TestCloseWithDataInFlight(t *testing.T) {
	data := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(data)
	send := func(c *net.TCPConn, reset bool) {
		_, _ = c.Write(data)
		if reset {
			_ = c.SetLinger(0)
			_ = c.Close()
			return
		}
		_ = c.CloseWrite()
	}
	check := func(t *testing.T, got []byte, err error, reset bool) {
		t.Helper()
		if reset {
			if !errors.Is(err, syscall.ECONNRESET) || !bytes.HasPrefix(data, got) {
				t.Errorf("%d bytes and %v, want a reset", len(got), err)
			}
			return
		}
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d of %d bytes and %v", len(got), len(data), err)
		}
	}
	for _, reset := range []bool{false, true} {
		name := map[bool]string{false: "FIN", true: "RST"}[reset]
		t.Run(name+" of the client", func(t *testing.T) {
			type result struct {
				got []byte
				err error
			}
			heard := make(chan result, 1)
			r, front := oneServer(t, func(c *net.TCPConn) {
				time.Sleep(100 * time.Millisecond)
				got, err := io.ReadAll(c)
				heard <- result{got, err}
			})
			go send(r.dial(front), reset)
			x := <-heard
			check(t, x.got, x.err, reset)
		})
		t.Run(name+" of the server", func(t *testing.T) {
			r, front := oneServer(t, func(c *net.TCPConn) { send(c, reset); _, _ = io.Copy(io.Discard, c) })
			c := r.dial(front)
			time.Sleep(100 * time.Millisecond)
			got, err := io.ReadAll(c)
			check(t, got, err, reset)
		})
	}
}

func oneServer(t *testing.T, serve func(*net.TCPConn)) (*rig, netip.AddrPort) {
	t.Helper()
	r, front := newRig(t), freeAddr(t, "127.0.0.1")
	r.apply(lbPlan(front, unchecked, tcpServer("s1", newBackend(t, any0("127.0.0.1"), serve).addr)))
	return r, front
}

// TestResetOfHalfClosed: a reset is passed on also after a FIN of the same side or the other one.
func TestResetOfHalfClosed(t *testing.T) {
	for _, first := range []string{"client", "server"} {
		t.Run(first+" first", func(t *testing.T) {
			seen := make(chan error, 1)
			r, front := oneServer(t, func(c *net.TCPConn) {
				if first == "server" {
					_ = c.CloseWrite()
				}
				for { // the FIN, and then what comes after it
					if _, err := c.Write([]byte("x")); err != nil && first == "client" {
						seen <- err
						return
					}
					if _, err := c.Read(make([]byte, 1)); err != nil && err != io.EOF {
						seen <- err
						return
					}
					time.Sleep(5 * time.Millisecond)
				}
			})
			c := r.dial(front)
			if first == "client" {
				_ = c.CloseWrite()
				_, _ = io.ReadFull(c, make([]byte, 1))
			} else {
				closed(t, c)
			}
			_ = c.SetLinger(0)
			_ = c.Close()
			select {
			case err := <-seen:
				if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
					t.Errorf("the server sees %v", err)
				}
			case <-time.After(10 * time.Second):
				t.Error("the server does not see the reset")
			}
			waitFor(t, "the end", func() bool { return r.lb.engine.Active() == 0 })
		})
	}
}

// TestHalfClosedTimeout: after a FIN the limit of the other side counts, as in HAProxy, and no half-closed
// tunnel lives for ever.
func TestHalfClosedTimeout(t *testing.T) {
	tests := []struct {
		name           string
		byServer       bool // sends the first FIN
		client, server time.Duration
	}{
		{"FIN of the client: the server's limit", false, 100 * time.Millisecond, 600 * time.Millisecond},
		{"FIN of the server: the client's limit", true, 600 * time.Millisecond, 100 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stop := make(chan struct{})
			t.Cleanup(func() { close(stop) })
			r, front := newRig(t), freeAddr(t, "127.0.0.1")
			p := lbPlan(front, unchecked, tcpServer("s1", newBackend(t, any0("127.0.0.1"), func(c *net.TCPConn) {
				if tt.byServer {
					_ = c.CloseWrite()
				}
				<-stop // never says anything, nor closes
			}).addr))
			p.LB.Frontends[0].ClientTimeout, p.LB.Backends[0].ServerTimeout = tt.client, tt.server
			r.apply(p)
			c, began := r.dial(front), time.Now()
			if !tt.byServer {
				_ = c.CloseWrite()
			}
			waitFor(t, "a tunnel", func() bool { return r.tableServer("s1").Total.Load() == 1 })
			waitFor(t, "its end", func() bool { return r.lb.engine.Active() == 0 })
			if d := time.Since(began); d < 590*time.Millisecond {
				t.Errorf("it ended after %s", d)
			}
			f := &r.lb.table.Groups[0].Failures
			if byClient := f.ClientAborts.Load() == 1; byClient != tt.byServer || f.ClientAborts.Load()+f.ServerAborts.Load() != 1 {
				t.Errorf("aborts: %d of clients, %d of servers", f.ClientAborts.Load(), f.ServerAborts.Load())
			}
		})
	}
}

// TestManyAddresses: a frontend serves all its addresses, of both families, and servers of either family.
func TestManyAddresses(t *testing.T) {
	r := newRig(t)
	list := []netip.AddrPort{freeAddr(t, "127.0.0.1"), freeAddr(t, "127.0.0.2"), freeAddr(t, "::1")}
	p := lbPlan(list[0], unchecked,
		tcpServer("v4", newBackend(t, any0("127.0.0.1"), echo).addr), tcpServer("v6", newBackend(t, any0("::1"), echo).addr))
	p.LB.Frontends[0].Listen = list
	p.LB.Frontends[0].Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	r.apply(p)
	for _, a := range list {
		for range 2 { // round robin: each server
			c := r.dial(a)
			say(t, c, "x")
			found := false
			for _, s := range r.lb.engine.Sessions() {
				found = found || s.Client == local(c) && s.Local == a
			}
			if !found {
				t.Errorf("no session of %s at %s", local(c), a)
			}
		}
	}
	for _, name := range []string{"v4", "v6"} {
		if n := r.tableServer(name).Total.Load(); n != 3 {
			t.Errorf("%s has %d connections", name, n)
		}
	}
	if n := r.lb.table.Frontends[0].Counters.Total.Load(); n != 6 {
		t.Errorf("the frontend counts %d", n)
	}
}
