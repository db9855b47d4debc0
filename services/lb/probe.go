package lb

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/socket"
	"helperd/services/lb/engine"
)

// probeTime is how long Check waits for a worker.
const probeTime = 2 * time.Second

// Check connects to the first address that is bound and waits until a worker
// takes the connection and closes it. The workers know the question by its source, so
// no server sees it. Nothing is asked at the limit of connections, of a paused frontend, or while this
// machine lacks what the question takes: no configuration is to blame for that.
func (s *Service) Check(ctx context.Context) error {
	s.mu.Lock()
	var to netip.AddrPort
	for _, a := range s.addresses() {
		if l := s.listeners[a]; s.serving != nil && l.live && s.engine.Accepting(a) {
			to = a
			break
		}
	}
	s.mu.Unlock()
	if !to.IsValid() || s.engine.Paused() {
		return nil
	}
	wait := probeTime
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end))
	}
	err := knock(s.engine, to, wait)
	if err == nil || s.engine.Paused() || !s.engine.Accepting(to) || socket.Lacking(err) {
		return nil
	}
	return fmt.Errorf("ask the balancer at %s: %w", to, err)
}

// knock connects to one of our own sockets, from its own address.
func knock(e *engine.Engine, to netip.AddrPort, wait time.Duration) error {
	family, source := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Addr: to.Addr().As16()})
	target := unix.Sockaddr(&unix.SockaddrInet6{Addr: to.Addr().As16(), Port: int(to.Port())})
	if a := to.Addr().Unmap(); a.Is4() {
		family, source = unix.AF_INET, &unix.SockaddrInet4{Addr: a.As4()}
		target = &unix.SockaddrInet4{Addr: a.As4(), Port: int(to.Port())}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	limit := unix.NsecToTimeval(max(wait, time.Millisecond).Nanoseconds())
	for _, option := range []int{unix.SO_SNDTIMEO, unix.SO_RCVTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &limit); err != nil {
			return err
		}
	}
	if err := unix.Bind(fd, source); err != nil {
		return err
	}
	own, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	port := 0
	switch x := own.(type) {
	case *unix.SockaddrInet4:
		port = x.Port
	case *unix.SockaddrInet6:
		port = x.Port
	}
	forget := e.Expect(netip.AddrPortFrom(to.Addr().Unmap(), uint16(port)))
	defer forget()
	if err := again(func() error { return unix.Connect(fd, target) }); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	var b [1]byte
	if err := again(func() error { _, err := unix.Read(fd, b[:]); return err }); err != nil {
		return fmt.Errorf("no worker took the connection within %s: %w", wait, err)
	}
	return nil
}

// again repeats a call that a signal of the Go runtime interrupted. A connect that
// goes on meanwhile is EALREADY, and EISCONN when it is done.
func again(call func() error) error {
	for {
		switch err := call(); {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EALREADY):
		case errors.Is(err, unix.EISCONN):
			return nil
		default:
			return err
		}
	}
}
