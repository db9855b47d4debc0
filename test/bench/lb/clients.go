package lb

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/netns"
	"helperd/test/bench"
)

// clients are many on one thread. They fail at once when something is not as it should be.
type clients struct {
	*backends
	server *unix.RawSockaddrInet4
	slots  []slot
	byFD   []int32 // index of the slot
	serial int
	buf    [64 << 10]byte
	begun  time.Time
}

// A slot is one client with its connection.
type slot struct {
	fd     int32
	tag    int32
	got    int // bytes of the answer
	busy   bool
	closed bool // the server's FIN is in
	since  time.Duration
}

// impatience is how long nothing may happen.
const impatience = 10 * time.Second

// clients runs fn with n clients of the server in ns, and ends them by a reset.
func (b *backends) clients(ns *netns.NS, server netip.AddrPort, n int, fn func(*clients) error) error {
	return ns.Call(func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		c := &clients{backends: b, server: address(server), slots: make([]slot, n), begun: time.Now()}
		for i := range c.slots {
			c.slots[i].fd = -1
		}
		before := b.live
		err := fn(c)
		c.end()
		for c.begun = time.Now(); b.live > before && c.now() < impatience; { // else the next load pays for it
			_ = b.each(10, nil)
		}
		return err
	})
}

// end resets what is open.
func (c *clients) end() {
	for i := range c.slots {
		if fd := c.slots[i].fd; fd >= 0 {
			_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			closeSocket(fd)
		}
	}
}

func (c *clients) now() time.Duration { return time.Since(c.begun) }

// dial begins the connection of slot i. Clients have many addresses, so that ports do not run out.
func (c *clients) dial(i int) error {
	c.serial++
	fd, e := dial(address(netip.AddrPortFrom(bench.ClientAddr(10+c.serial%200), 0)), c.server)
	if e != 0 {
		return fmt.Errorf("connect: %w", e)
	}
	for int(fd) >= len(c.byFD) {
		c.byFD = append(c.byFD, make([]int32, 1024)...)
	}
	c.byFD[fd] = int32(i)
	s := &c.slots[i]
	c.clientTag--
	*s = slot{fd: fd, tag: c.clientTag, since: c.now()}
	if e := c.add(fd, s.tag); e != 0 {
		return fmt.Errorf("epoll_ctl: %w", e)
	}
	return nil
}

// each calls fn for what happens within 100 ms.
func (c *clients) each(fn func(i int, s *slot, ev uint32) error) error {
	return c.eachWithin(100, fn)
}

func (c *clients) eachWithin(ms int, fn func(i int, s *slot, ev uint32) error) error {
	return c.backends.each(ms, func(fd, tag int32, ev uint32) error {
		i := int(c.byFD[fd])
		s := &c.slots[i]
		if s.fd != fd || s.tag != tag {
			return nil
		}
		if ev&unix.EPOLLERR != 0 {
			v, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
			return fmt.Errorf("client %d: %w", i, unix.Errno(v))
		}
		s.closed = s.closed || ev&unix.EPOLLRDHUP != 0
		if err := fn(i, s, ev); err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
		return nil
	})
}

// ask sends a request.
func (c *clients) ask(s *slot, what byte) error {
	var request [requestSize]byte
	request[0] = what
	s.got, s.busy = 0, true
	if e := send(s.fd, request[:]); e != 0 {
		return fmt.Errorf("send: %w", e)
	}
	return nil
}

// answer reads what is there, and reports whether it is the whole answer.
func (c *clients) answer(s *slot) (whole bool, err error) {
	n, e := receive(s.fd, c.buf[:])
	switch {
	case e == unix.EAGAIN:
		return false, nil
	case e != 0:
		return false, fmt.Errorf("receive: %w", e)
	case n == 0 || s.got+n > answerSize:
		return false, fmt.Errorf("an answer of %d bytes, want %d", s.got+n, answerSize)
	}
	s.got += n
	s.busy = s.got < answerSize
	return !s.busy, nil
}

// connections makes connections that exchange a request and an answer and are closed by the server, until the time is over.
func (c *clients) connections(last time.Duration) (done int, err error) {
	for i := range c.slots {
		if err := c.dial(i); err != nil {
			return 0, err
		}
	}
	for end := c.now() + last; c.now() < end; {
		err := c.each(func(i int, s *slot, ev uint32) error {
			if !s.busy && s.got == 0 && ev&unix.EPOLLOUT != 0 {
				return c.ask(s, wantLast)
			}
			if ev&unix.EPOLLIN != 0 && s.busy {
				if _, err := c.answer(s); err != nil {
					return err
				}
			}
			if !s.closed {
				return nil
			}
			if s.got != answerSize {
				return errors.New("closed before the answer")
			}
			done++
			closeSocket(s.fd)
			s.fd = -1
			return c.dial(i)
		})
		if err != nil {
			return 0, err
		}
	}
	return done, nil
}

// tunnels opens the connection of every slot and exchanges one request over it, so many at a time.
func (c *clients) tunnels(atOnce int) error {
	next, open := 0, 0
	for last := c.now(); open < len(c.slots); {
		for ; next < len(c.slots) && next < open+atOnce; next++ {
			if err := c.dial(next); err != nil {
				return err
			}
		}
		err := c.each(func(_ int, s *slot, ev uint32) error {
			last = c.now()
			if !s.busy && s.got == 0 && ev&unix.EPOLLOUT != 0 {
				return c.ask(s, wantAnswer)
			}
			return c.reply(s, ev, func() error { open++; return nil })
		})
		if err != nil {
			return err
		}
		if c.now()-last > impatience {
			return fmt.Errorf("no more than %d of %d tunnels were opened", open, len(c.slots))
		}
	}
	return nil
}

// reply handles an event of a kept tunnel and calls fn for a whole answer.
func (c *clients) reply(s *slot, ev uint32, fn func() error) error {
	if s.closed {
		return errors.New("the tunnel was closed")
	}
	if ev&unix.EPOLLIN == 0 || !s.busy {
		return nil
	}
	whole, err := c.answer(s)
	if err != nil || !whole {
		return err
	}
	return fn()
}

// requests asks over kept tunnels, one at a time on each, until the time is over.
func (c *clients) requests(last time.Duration) (done int, err error) {
	for i := range c.slots {
		if err := c.ask(&c.slots[i], wantAnswer); err != nil {
			return 0, err
		}
	}
	for end := c.now() + last; c.now() < end; {
		err := c.each(func(_ int, s *slot, ev uint32) error {
			return c.reply(s, ev, func() error { done++; return c.ask(s, wantAnswer) })
		})
		if err != nil {
			return 0, err
		}
	}
	return done, nil
}

// rest runs fn, in which other clients may be under way.
func (c *clients) rest(fn func() error) error {
	c.mu.Unlock()
	defer c.mu.Lock()
	return fn()
}

// quiet gives an error when bytes or the end of a tunnel have come.
func (c *clients) quiet() error {
	for i := range c.slots {
		if n, _, err := unix.Recvfrom(int(c.slots[i].fd), c.buf[:1], unix.MSG_PEEK); !errors.Is(err, unix.EAGAIN) {
			return fmt.Errorf("client %d: %d bytes, %v", i, n, err)
		}
	}
	return nil
}

// check asks once over every tunnel.
func (c *clients) check(atOnce int) error {
	next, done := 0, 0
	for last := c.now(); done < len(c.slots); {
		for ; next < len(c.slots) && next < done+atOnce; next++ {
			if err := c.ask(&c.slots[next], wantAnswer); err != nil {
				return fmt.Errorf("client %d: %w", next, err)
			}
		}
		err := c.each(func(_ int, s *slot, ev uint32) error {
			return c.reply(s, ev, func() error { done++; last = c.now(); return nil })
		})
		if err != nil {
			return err
		}
		if c.now()-last > impatience {
			return fmt.Errorf("%d of %d tunnels answer", done, len(c.slots))
		}
	}
	return nil
}

// paced asks over kept tunnels at a fixed rate, whether answers come or not, and gives
// the time from when a request was due to its answer, in order.
func (c *clients) paced(rate int, last time.Duration) ([]time.Duration, error) {
	gap := time.Second / time.Duration(rate)
	took := make([]time.Duration, 0, int(last/gap)+1)
	idle := make([]int, len(c.slots))
	for i := range idle {
		idle[i] = i
	}
	var queue []time.Duration
	next := c.now() + gap
	for end := c.now() + last; c.now() < end || len(idle) < len(c.slots); {
		for now := c.now(); next <= now && next < end; next += gap {
			queue = append(queue, next)
		}
		for len(queue) > 0 && len(idle) > 0 {
			s := &c.slots[idle[len(idle)-1]]
			idle = idle[:len(idle)-1]
			s.since, queue = queue[0], queue[1:]
			if err := c.ask(s, wantAnswer); err != nil {
				return nil, err
			}
		}
		if c.now() > end+impatience {
			return nil, fmt.Errorf("%d requests are not answered", len(c.slots)-len(idle))
		}
		pause := unix.NsecToTimespec(max(0, int64(next-c.now())))
		_, _ = unix.Ppoll([]unix.PollFd{{Fd: c.fd, Events: unix.POLLIN}}, &pause, nil)
		err := c.eachWithin(0, func(i int, s *slot, ev uint32) error {
			return c.reply(s, ev, func() error {
				took = append(took, c.now()-s.since)
				idle = append(idle, i)
				return nil
			})
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(took)
	return took, nil
}
