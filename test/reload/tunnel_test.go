package reload

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"helperd/test/rig"
)

// tunnels are connections through the balancer to an echo server, that are there all the time.
type tunnels struct {
	idle  []*net.TCPConn
	half  []*net.TCPConn // the client has sent its FIN, and reads slowly what comes back
	busy  sync.WaitGroup
	stop  atomic.Bool
	moved atomic.Int64 // bytes that came back right
}

// halfSize is more than sockets, the pipe and the buffers on the way can hold: the rest waits in the server.
const halfSize = 24 << 20

func newTunnels(t *testing.T, m *rig.Machine, addr netip.AddrPort, idle, busy, half int) *tunnels {
	t.Helper()
	u := &tunnels{}
	for range idle {
		c := dialFrom(t, m, addr)
		u.idle = append(u.idle, c)
	}
	u.pingIdle(t, "at first")
	for i := range busy {
		c := dialFrom(t, m, addr)
		u.busy.Go(func() { u.stream(t, c, uint64(i)) })
	}
	for i := range half {
		c := dialFrom(t, m, addr)
		u.half = append(u.half, c)
		go func() {
			_, _ = io.Copy(c, io.LimitReader(noise(uint64(i)), halfSize))
			_ = c.CloseWrite()
		}()
	}
	t.Cleanup(func() { u.stop.Store(true); u.busy.Wait() })
	return u
}

func dialFrom(t *testing.T, m *rig.Machine, addr netip.AddrPort) (c *net.TCPConn) {
	t.Helper()
	m.Do(t, func() {
		conn, err := net.DialTimeout("tcp", addr.String(), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		c = conn.(*net.TCPConn)
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (u *tunnels) pingIdle(t *testing.T, when string) {
	t.Helper()
	lost := 0
	for i, c := range u.idle {
		if err := echoed(c, fmt.Appendf(nil, "ping %d %s", i, when)); err != nil {
			if lost++; lost == 1 {
				t.Errorf("idle tunnel %d %s: %v", i, when, err)
			}
		}
	}
	t.Logf("%d idle tunnels %s, %d lost", len(u.idle), when, lost)
}

func echoed(c *net.TCPConn, b []byte) error {
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(b); err != nil {
		return err
	}
	got := make([]byte, len(b))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(got, b) {
		return fmt.Errorf("%d bytes came back as others", len(b))
	}
	return nil
}

// noise is a stream that is the same for the same seed.
func noise(seed uint64) io.Reader {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	return rand.NewChaCha8(key)
}

// stream sends noise and reads it back, both at once, until it is told to stop.
func (u *tunnels) stream(t *testing.T, c *net.TCPConn, seed uint64) {
	done := make(chan error, 1)
	go func() {
		from := noise(seed)
		b := make([]byte, 32<<10)
		for !u.stop.Load() {
			_, _ = from.Read(b)
			_ = c.SetWriteDeadline(time.Now().Add(patience))
			if _, err := c.Write(b); err != nil {
				done <- fmt.Errorf("write: %w", err)
				return
			}
			time.Sleep(5 * time.Millisecond) // the load is to share two processors with the flood
		}
		done <- c.CloseWrite()
	}()
	want := noise(seed)
	got, expect := make([]byte, 16<<10), make([]byte, 16<<10)
	for {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		n, err := c.Read(got)
		_, _ = io.ReadFull(want, expect[:n])
		if !bytes.Equal(got[:n], expect[:n]) {
			t.Errorf("busy tunnel %d: bytes came back as others", seed)
			return
		}
		u.moved.Add(int64(n))
		if err != nil {
			if err != io.EOF {
				t.Errorf("busy tunnel %d: read: %v", seed, err)
			}
			break
		}
	}
	if err := <-done; err != nil {
		t.Errorf("busy tunnel %d: %v", seed, err)
	}
}

// finish ends all tunnels and checks that every byte came through.
func (u *tunnels) finish(t *testing.T) {
	t.Helper()
	u.pingIdle(t, "at the end")
	u.stop.Store(true)
	u.busy.Wait()
	for i, c := range u.half {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		got, err := io.ReadAll(c)
		want := make([]byte, halfSize)
		_, _ = io.ReadFull(noise(uint64(i)), want)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("half-closed tunnel %d: %d of %d bytes, right %t, %v", i, len(got), halfSize, bytes.Equal(got, want), err)
		}
	}
	t.Logf("busy tunnels moved %d MiB, %d half-closed ones %d MiB each", u.moved.Load()>>20, len(u.half), halfSize>>20)
}
