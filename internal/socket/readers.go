package socket

import (
	"context"
	"net"

	"helperd/internal/guard"
)

// Readers runs one loop a socket and follows a service from one set of sockets
// to the next: kept sockets are not touched.
type Readers struct {
	guard   *guard.Group
	name    string
	read    func(context.Context, *Socket) error
	running map[*Socket]context.CancelFunc
}

// NewReaders gives readers that run read, named for the panics it may end
// with. Read ends without an error when its context does, or when Wait says that the
// socket was given up; after an error it runs again.
func NewReaders(g *guard.Group, name string, read func(context.Context, *Socket) error) *Readers {
	return &Readers{g, name, read, map[*Socket]context.CancelFunc{}}
}

// Follow starts a reader for each socket that has none, and ends those of
// sockets that are not in the list. All end with ctx.
func (r *Readers) Follow(ctx context.Context, sockets []*Socket) {
	wanted := map[*Socket]bool{}
	for _, s := range sockets {
		wanted[s] = true
	}
	for s, cancel := range r.running {
		if !wanted[s] {
			cancel()
			delete(r.running, s)
		}
	}
	for _, s := range sockets {
		if r.running[s] == nil {
			reading, cancel := context.WithCancel(ctx)
			r.running[s] = cancel
			r.guard.Loop(reading, r.name, func(ctx context.Context) error { return r.read(ctx, s) })
		}
	}
}

// Stop ends all readers; it does not wait for them.
func (r *Readers) Stop() { r.Follow(context.Background(), nil) }

// Packets waits until s is bound and gives a connection to read its datagrams
// by, which is closed when ctx ends or stop is called. Neither a connection nor
// an error: s was given up, or ctx has ended.
func (s *Socket) Packets(ctx context.Context, g *guard.Group) (conn *net.UDPConn, stop func(), err error) {
	if s.Wait(ctx) != nil {
		return nil, nil, nil
	}
	conns, err := s.PacketConns()
	if err != nil {
		return nil, nil, err
	}
	ctx, stop = context.WithCancel(ctx)
	g.Go("close "+s.Key.String(), func() {
		<-ctx.Done()
		_ = conns[0].Close()
	})
	return conns[0], stop, nil
}
