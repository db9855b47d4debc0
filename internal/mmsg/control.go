package mmsg

import (
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// controlIn holds a time stamp and a destination, in bytes.
	controlIn = 128
	// controlOut holds a source address, in bytes.
	controlOut = 48
)

// control is what comes and goes beside the messages, for batches that want it.
type control struct {
	in, out []byte // controlIn and controlOut bytes a message; nil: none is wanted
}

// WantStamps makes the kernel say when each message came in on c, and which of
// our addresses it was sent to: Queue answers from that one, also when c is
// bound to the wildcard.
func (b *Batch) WantStamps(c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
		family, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		if family == unix.AF_INET6 {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
		}
		if failed = err; err == nil {
			failed = unix.SetsockoptInt(int(fd), level, option, 1)
		}
		if failed == nil {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
		}
	})
	if err == nil {
		err = os.NewSyscallError("setsockopt", failed)
	}
	if err != nil {
		return err
	}
	b.control = control{make([]byte, len(b.in)*controlIn), make([]byte, len(b.out)*controlOut)}
	return nil
}

// Stamp is when the kernel took message i from the network, by the clock of
// this machine; false: it did not say.
func (b *Batch) Stamp(i int) (time.Time, bool) {
	data := b.find(i, unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS)
	if len(data) < int(unsafe.Sizeof(unix.Timespec{})) {
		return time.Time{}, false
	}
	ts := (*unix.Timespec)(unsafe.Pointer(&data[0]))
	return time.Unix(int64(ts.Sec), int64(ts.Nsec)), true
}

// expect makes room for what comes beside the next messages.
func (c *control) expect(in []header) {
	if c.in == nil {
		return
	}
	for i := range in {
		in[i].msg.Control = &c.in[i*controlIn]
		in[i].msg.SetControllen(controlIn)
	}
}

// find gives the data of the control message of that kind which came with message i, or nil.
func (b *Batch) find(i int, level, kind int32) []byte {
	if b.control.in == nil {
		return nil
	}
	rest := b.control.in[i*controlIn : i*controlIn+int(b.in[i].msg.Controllen)]
	for len(rest) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&rest[0]))
		n := int(h.Len)
		if n < unix.SizeofCmsghdr || n > len(rest) {
			return nil
		}
		if h.Level == level && h.Type == kind {
			return rest[unix.CmsgLen(0):n]
		}
		rest = rest[min(unix.CmsgSpace(n-unix.CmsgLen(0)), len(rest)):]
	}
	return nil
}

// answerFrom makes the address that message i was sent to the source of the next queued one.
func (b *Batch) answerFrom(i int) {
	out := &b.out[b.queued].msg
	out.Control = nil
	out.SetControllen(0)
	if b.control.in == nil {
		return
	}
	level, kind := int32(unix.IPPROTO_IP), int32(unix.IP_PKTINFO)
	data := b.find(i, level, kind)
	if data == nil {
		level, kind = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
		if data = b.find(i, level, kind); data == nil {
			return
		}
	}
	space := b.control.out[b.queued*controlOut : (b.queued+1)*controlOut]
	h := (*unix.Cmsghdr)(unsafe.Pointer(&space[0]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(len(data)))
	body := space[unix.CmsgLen(0):]
	copy(body, data)
	// The routes say by which interface, or the scope of the address does.
	if level == unix.IPPROTO_IP {
		(*unix.Inet4Pktinfo)(unsafe.Pointer(&body[0])).Ifindex = 0
	} else {
		(*unix.Inet6Pktinfo)(unsafe.Pointer(&body[0])).Ifindex = 0
	}
	out.Control = &space[0]
	out.SetControllen(unix.CmsgSpace(len(data)))
}
