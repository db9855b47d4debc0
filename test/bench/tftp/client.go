package tftp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Opcodes of RFC 1350 and 2347.
const (
	opRead  = 1
	opData  = 3
	opACK   = 4
	opError = 5
	opOACK  = 6
)

// ask is what clients do: each fetches one file, all at once.
type ask struct {
	server  netip.AddrPort
	from    []netip.Addr // one client each
	file    string
	content []byte
	block   int           // blksize; 512: no option is sent
	window  int           // windowsize; 1: no option is sent
	delay   time.Duration // before every ACK: stands for a round trip, for one client
	limit   time.Duration // after it a client breaks off with what it has; 0: never
}

// patience is how long a client waits for a packet before it sends its last one again.
const patience = time.Second

// client is one transfer.
type client struct {
	*ask
	fd        int
	connected bool
	granted   int // window
	size      int // block in bytes
	have      uint16
	got       int
	inWindow  int  // blocks since the last ACK
	gap       bool // told the server of one, and wait for it to go back
	last      []byte
	heard     time.Time
	ended     bool
}

// run lets all clients fetch and gives the bytes that they got. It is one
// thread that waits for all of them, so that it costs little beside the server.
// The caller's thread is in the namespace that the clients are to be in.
func (a *ask) run() (total int, resent int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // a delay is 50 us longer otherwise
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return 0, 0, err
	}
	defer unix.Close(ep)
	clients := make([]*client, len(a.from))
	defer func() {
		for _, c := range clients {
			if c != nil {
				_ = unix.Close(c.fd)
			}
		}
	}()
	for i, addr := range a.from {
		if clients[i], err = a.dial(addr); err != nil {
			return 0, 0, err
		}
		if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, clients[i].fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}); err != nil {
			return 0, 0, err
		}
	}
	for _, c := range clients {
		if err := c.request(); err != nil {
			return 0, 0, err
		}
	}
	begun := time.Now()
	events := make([]unix.EpollEvent, len(clients))
	buf := make([]byte, 2048)
	for left := len(clients); left > 0; {
		n, err := unix.EpollWait(ep, events, int(patience.Milliseconds()))
		if err != nil && err != unix.EINTR {
			return 0, 0, err
		}
		now := time.Now()
		over := a.limit > 0 && now.Sub(begun) > a.limit
		for _, e := range events[:max(n, 0)] {
			c := clients[e.Fd]
			c.heard = now
			if err := c.drain(buf, over); err != nil {
				return 0, 0, fmt.Errorf("%s after %d of %d bytes: %w", c.file, c.got, len(c.content), err)
			}
			if c.ended {
				left--
				total += c.got
				_ = unix.EpollCtl(ep, unix.EPOLL_CTL_DEL, c.fd, nil)
			}
		}
		for _, c := range clients {
			if !c.ended && now.Sub(c.heard) > patience {
				resent++
				c.heard, c.inWindow = now, 0
				if err := c.send(c.last); err != nil {
					return 0, 0, err
				}
			}
		}
		if now.Sub(begun) > time.Minute {
			return 0, 0, errors.New("not done within a minute")
		}
	}
	return total, resent, nil
}

func (a *ask) dial(addr netip.Addr) (*client, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	c := &client{ask: a, fd: fd, granted: 1, size: 512, heard: time.Now()}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<20) // what is lost here is not the server's fault
	return c, unix.Bind(fd, &unix.SockaddrInet4{Addr: addr.As4()})
}

func (c *client) request() error {
	fields := []string{c.file, "octet"}
	if c.block != 512 {
		fields = append(fields, "blksize", strconv.Itoa(c.block))
	}
	if c.window > 1 {
		fields = append(fields, "windowsize", strconv.Itoa(c.window))
	}
	c.last = append([]byte{0, opRead}, strings.Join(fields, "\x00")+"\x00"...)
	return c.send(c.last)
}

func (c *client) send(p []byte) error {
	if !c.connected {
		return unix.Sendto(c.fd, p, 0, &unix.SockaddrInet4{Addr: c.server.Addr().As4(), Port: int(c.server.Port())})
	}
	// No scheduler of ours in the measured path: the call does not block.
	if _, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(c.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p))); errno != 0 {
		return errno
	}
	return nil
}

// drain takes all packets that are there. When the time is over, the client breaks off.
func (c *client) drain(buf []byte, over bool) error {
	for !c.ended {
		if !c.connected { // the first packet tells the server's port
			n, from, err := unix.Recvfrom(c.fd, buf, 0)
			if err == nil {
				if err = unix.Connect(c.fd, from); err == nil {
					c.connected = true
					err = c.take(buf[:n])
				}
			}
			if err != nil {
				return err
			}
			continue
		}
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)))
		if errno == unix.EAGAIN {
			break
		}
		if errno != 0 {
			return errno
		}
		if err := c.take(buf[:n]); err != nil {
			return err
		}
	}
	if over && !c.ended {
		c.ended = true
		return c.send([]byte{0, opError, 0, 0, 'e', 'n', 'o', 'u', 'g', 'h', 0})
	}
	return nil
}

// take takes one packet.
func (c *client) take(p []byte) error {
	if len(p) < 4 {
		return fmt.Errorf("a packet of %d bytes", len(p))
	}
	number := binary.BigEndian.Uint16(p[2:])
	switch binary.BigEndian.Uint16(p) {
	case opError:
		return fmt.Errorf("error %d: %q", number, p[4:])
	case opOACK:
		if err := c.grant(p[2:]); err != nil {
			return err
		}
		return c.ack(0)
	case opData:
	default:
		return fmt.Errorf("a packet that begins with % x", p[:4])
	}
	if number != c.have+1 {
		if c.granted > 1 && !c.gap { // RFC 7440 section 4: say once what is here
			c.gap = true
			return c.ack(c.have)
		}
		return nil
	}
	data := p[4:]
	if !bytes.Equal(data, c.content[c.got:min(c.got+len(data), len(c.content))]) {
		return errors.New("the bytes are not those of the file")
	}
	c.gap = false
	c.have, c.got = number, c.got+len(data)
	c.inWindow++
	c.ended = len(data) < c.size
	if c.ended && c.got != len(c.content) {
		return errors.New("the file ends too early")
	}
	if c.inWindow == c.granted || c.ended {
		return c.ack(number)
	}
	return nil
}

// grant reads an OACK.
func (c *client) grant(options []byte) error {
	fields := strings.Split(string(options), "\x00")
	for i := 0; i+1 < len(fields); i += 2 {
		v, err := strconv.Atoi(fields[i+1])
		if err != nil {
			return err
		}
		switch strings.ToLower(fields[i]) {
		case "blksize":
			c.size = v
		case "windowsize":
			c.granted = v
		}
	}
	return nil
}

func (c *client) ack(number uint16) error {
	if c.delay > 0 {
		pause := unix.NsecToTimespec(int64(c.delay))
		_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&pause)), 0, 0)
	}
	c.inWindow = 0
	c.last = []byte{0, opACK, byte(number >> 8), byte(number)}
	return c.send(c.last)
}
