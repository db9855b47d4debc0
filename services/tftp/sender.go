package tftp

import (
	"encoding/binary"
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// maxSegments is UDP_MAX_SEGMENTS of kernels before 6.9.
	maxSegments = 64
	// maxTrain is the largest UDP payload in bytes, rounded down.
	maxTrain = 65000
)

// sender writes DATA packets to a port without allocating. A train of blocks
// leaves by one sendmsg, which the kernel cuts into packets (UDP_SEGMENT);
// where the kernel or the interface cannot, one packet leaves by one sendmsg.
type sender struct {
	port    port
	block   int // bytes
	segment bool

	headers [maxSegments][headerLen]byte
	iov     [2 * maxSegments]unix.Iovec
	control []byte
	msg     unix.Msghdr
}

// newSender sends blocks of block bytes; the path carries largest bytes of a block whole.
func newSender(p port, block, largest int) *sender {
	s := &sender{port: p, block: block, segment: block <= largest}
	s.control = make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&s.control[0]))
	h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(s.control[unix.CmsgLen(0):], uint16(block+headerLen))
	return s
}

// train is how many blocks leave together at most.
func (s *sender) train() int {
	if !s.segment {
		return 1
	}
	return max(1, min(maxSegments, maxTrain/(s.block+headerLen)))
}

// blocks sends n blocks of data, the first of them numbered first; the last
// may be short. n is at most train().
func (s *sender) blocks(first int64, data []byte, n int) error {
	for i := range n {
		h := &s.headers[i]
		binary.BigEndian.PutUint16(h[:], opData)
		binary.BigEndian.PutUint16(h[2:], uint16(first+int64(i))) // rolls over to 0
		s.iov[2*i] = iovec(h[:])
		block := data[i*s.block : min((i+1)*s.block, len(data))]
		s.iov[2*i+1] = iovec(block)
	}
	err := s.vectors(0, n)
	if n > 1 && cannotSegment(err) {
		s.segment = false
		for i := range n {
			if err = s.vectors(i, i+1); err != nil {
				break
			}
		}
	}
	return err
}

// cannotSegment reports whether the kernel (EINVAL), the interface (EIO: no
// checksum offload) or the path (EMSGSIZE: its MTU has shrunk) refuses a train.
func cannotSegment(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EIO) || errors.Is(err, unix.EMSGSIZE)
}

// vectors sends the blocks from..to of the vector array by one sendmsg.
func (s *sender) vectors(from, to int) error {
	s.msg = unix.Msghdr{Iov: &s.iov[2*from]}
	s.msg.SetIovlen(2 * (to - from))
	if to-from > 1 {
		s.msg.Control = &s.control[0]
		s.msg.SetControllen(len(s.control))
	}
	return s.port.send(&s.msg)
}

// packet sends p as it is.
func (s *sender) packet(p []byte) error {
	s.iov[0] = iovec(p)
	s.msg = unix.Msghdr{Iov: &s.iov[0]}
	s.msg.SetIovlen(1)
	return s.port.send(&s.msg)
}

func iovec(b []byte) unix.Iovec {
	v := unix.Iovec{Base: unsafe.SliceData(b)}
	v.SetLen(len(b))
	return v
}

func sendmsg(fd int, m *unix.Msghdr) error {
	if _, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(m)), unix.MSG_NOSIGNAL); errno != 0 {
		return errno
	}
	return nil
}

func recvmsg(fd int, b []byte) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
