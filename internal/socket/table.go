// Package socket owns the listening sockets of all services. They are counted
// by reference and keyed by network, address and device, so that a reload
// that asks for the same address keeps the socket with all that is queued in
// it: nothing is closed and bound again.
//
// A port that another process holds is not an error: the socket waits, says
// who holds the port, and takes it as soon as it is free.
//
// Sockets outlive the process too: a Store keeps copies of them, and Inherit takes
// them over, so that a restart refuses no connection and loses no datagram.
package socket

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/guard"
)

// Key names a socket.
type Key struct {
	Network string         // udp or tcp
	Addr    netip.AddrPort // explicit address; the wildcard only with Device
	Device  string         // SO_BINDTODEVICE; empty: none
}

func (k Key) String() string {
	if k.Device != "" {
		return fmt.Sprintf("%s %s%%%s", k.Network, k.Addr, k.Device)
	}
	return fmt.Sprintf("%s %s", k.Network, k.Addr)
}

// Options of a socket; they count when it is opened first.
type Options struct {
	// Shards is the number of sockets that share the address by SO_REUSEPORT, one a reader; 0 is 1.
	Shards int
	// Buffer is the size of the receive and send buffers in bytes; 0: the system's.
	Buffer int
	// Broadcast allows sending to broadcast addresses.
	Broadcast bool
}

// Status is what people see of a socket.
type Status struct {
	Network string `json:"network"`
	Address string `json:"address"`
	Device  string `json:"device,omitempty"`
	Bound   bool   `json:"bound"`
	// Holder names the process that holds the port while Bound is false.
	Holder string `json:"holder,omitempty"`
}

// Table owns all sockets of the process.
type Table struct {
	guard *guard.Group
	log   *slog.Logger
	retry time.Duration

	mu        sync.Mutex
	sockets   map[Key]*Socket
	inherited map[Key][]int // not asked for yet
	store     Store         // nil: none
}

// NewTable gives an empty table.
func NewTable(g *guard.Group, log *slog.Logger) *Table {
	return &Table{guard: g, log: log, retry: time.Second, sockets: map[Key]*Socket{}, inherited: map[Key][]int{}}
}

// Acquire takes a reference to the socket of k and opens it if it is new. A
// port that another process holds gives a socket that is not bound yet; every
// other failure is an error.
func (t *Table) Acquire(k Key, o Options) (*Socket, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.sockets[k]; s != nil {
		s.refs++
		return s, nil
	}
	s := &Socket{Key: k, table: t, options: o, refs: 1, bound: make(chan struct{}), closed: make(chan struct{})}
	fds, err := t.bind(k, o)
	switch {
	case err == nil:
		s.fds = fds
		t.keep(k, fds)
		close(s.bound)
	case errors.Is(err, unix.EADDRINUSE):
		s.holder = holder(k)
		t.log.Warn("port is held by another process, waiting for it", "socket", k.String(), "holder", s.holder)
		t.guard.Go("socket "+k.String(), s.waitForPort)
	default:
		return nil, explain(k, err)
	}
	t.sockets[k] = s
	return s, nil
}

func explain(k Key, err error) error {
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("bind %s: %w: ports below 1024 need CAP_NET_BIND_SERVICE; start helperd by its systemd unit or as root", k, err)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("bind %s: %w: there is no interface %s on this machine; see `ip link`", k, err, k.Device)
	}
	return fmt.Errorf("bind %s: %w", k, err)
}

// Close closes every socket; those in the store live on there. The daemon calls it last.
func (t *Table) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	end := closeSocket
	if t.store != nil {
		end = func(fd int) { _ = unix.Close(fd) }
	}
	for _, s := range t.sockets {
		s.closeLocked(end)
	}
	for _, fds := range t.inherited {
		for _, fd := range fds {
			end(fd)
		}
	}
	clear(t.sockets)
	clear(t.inherited)
}

// A Socket is bound, or waits for its port.
type Socket struct {
	Key     Key
	table   *Table
	options Options

	// guarded by table.mu
	refs   int
	fds    []int
	holder string
	done   bool

	bound  chan struct{}
	closed chan struct{}
}

// Wait returns when the socket is bound, or with an error when ctx ends or the socket is released before.
func (s *Socket) Wait(ctx context.Context) error {
	select {
	case <-s.bound:
		return nil
	default:
	}
	select {
	case <-s.bound:
		return nil
	case <-s.closed:
		return unix.EBADF
	case <-ctx.Done():
		return ctx.Err()
	}
}

// FDs are the descriptors, one a shard; nil before the socket is bound. They
// are non-blocking and stay the table's: never close them.
func (s *Socket) FDs() []int {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	return s.fds
}

// Status says whether the socket is bound and who is in the way.
func (s *Socket) Status() Status {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	return Status{Network: s.Key.Network, Address: s.Key.Addr.String(), Device: s.Key.Device, Bound: s.fds != nil, Holder: s.holder}
}

// Release gives the reference back. The last one closes the socket.
func (s *Socket) Release() {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	if s.refs--; s.refs > 0 || s.done {
		return
	}
	delete(s.table.sockets, s.Key)
	if s.fds != nil {
		s.table.forget(s.Key.storeName())
	}
	s.closeLocked(closeSocket)
}

func (s *Socket) closeLocked(end func(fd int)) {
	if s.done {
		return
	}
	s.done = true
	close(s.closed)
	for _, fd := range s.fds {
		end(fd)
	}
	s.fds = nil
}

// closeSocket ends a socket for all who have a duplicate: blocked readers wake.
func closeSocket(fd int) {
	_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	_ = unix.Close(fd)
}

// waitForPort tries to bind until it succeeds or the socket is released.
func (s *Socket) waitForPort() {
	tick := time.NewTicker(s.table.retry)
	defer tick.Stop()
	for {
		select {
		case <-s.closed:
			return
		case <-tick.C:
		}
		fds, err := open(s.Key, s.options)
		if errors.Is(err, unix.EADDRINUSE) {
			continue
		}
		if s.settle(fds, err) {
			return
		}
	}
}

// settle stores the outcome of a late bind; true ends the wait.
func (s *Socket) settle(fds []int, err error) bool {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	if err != nil {
		s.holder = err.Error()
		return false
	}
	if s.done {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		return true
	}
	s.fds, s.holder = fds, ""
	s.table.keep(s.Key, fds)
	close(s.bound)
	s.table.log.Info("port is free now and taken", "socket", s.Key.String())
	return true
}
