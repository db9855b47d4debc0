package engine

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"helperd/internal/guard"
	"helperd/plan"
	"helperd/services/lb/table"
)

// TestEveryByteWithoutPipes: when all pipes are taken, every size of transfer still comes
// through to the last byte and the FIN, both ways, with readers that are slow now and then.
func TestEveryByteWithoutPipes(t *testing.T) {
	for _, pipes := range []int{0, pipesMax - 2, pipesMax} {
		front, back := listenTCP(t), listenTCP(t)
		fd := descriptor(t, front)
		addr := netip.MustParseAddrPort(front.Addr().String())
		tab, err := table.Build(nil, &plan.Plan{LB: plan.LB{
			Enabled:   true,
			Frontends: []plan.Frontend{{Name: "front", Backend: "back", Listen: []netip.AddrPort{addr}}},
			Backends:  []plan.Backend{{Name: "back", Servers: []plan.Server{{Name: "s", Weight: 1, Address: netip.MustParseAddrPort(back.Addr().String())}}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		tab.Install(time.Now())
		e := New(Options{Guard: guard.New(nil), Fuse: &guard.Fuse{}, Workers: 2})
		for _, w := range e.workers {
			w.pools.open = pipes
		}
		e.Swap(tab)
		e.Attach(addr, []int{fd})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = e.Run(ctx, func() {}) }()
		go func() {
			for {
				c, err := back.AcceptTCP()
				if err != nil {
					return
				}
				go func() { // what came, back, after the FIN: half closed
					got, _ := io.ReadAll(c)
					if rand.N(3) == 0 {
						time.Sleep(time.Millisecond)
					}
					_, _ = c.Write(got)
					_ = c.Close()
				}()
			}
		}()
		var all sync.WaitGroup
		for i := range 60 {
			all.Go(func() {
				c, err := net.Dial("tcp", addr.String())
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = c.Close() }()
				_ = c.SetDeadline(time.Now().Add(8 * time.Second))
				data := make([]byte, i*bufferSize/3+rand.N(2*bufferSize))
				_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(data)
				all.Go(func() {
					_, _ = c.Write(data)
					_ = c.(*net.TCPConn).CloseWrite()
				})
				if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
					t.Errorf("pipes %d: %d of %d bytes, %v", pipes, len(got), len(data), err)
				}
			})
		}
		all.Wait()
		cancel()
		<-ended
		if n := e.Active(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	}
}
