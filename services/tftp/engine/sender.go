package engine

import (
	"encoding/binary"
	"errors"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"helperd/services/tftp/packet"
)

const (
	// maxSegments is UDP_MAX_SEGMENTS of kernels before 6.9.
	maxSegments = 64
	// maxTrain is the largest UDP payload in bytes, rounded down.
	maxTrain = 65000
	// maxCopied is the largest block in bytes that is copied behind its header:
	// that is cheaper than to have the kernel gather the two.
	maxCopied = 2048
)

// sender writes packets to ports without allocating; a goroutine that sends has
// one. A train of blocks leaves by one sendmsg, which the kernel cuts into
// packets (UDP_SEGMENT).
type sender struct {
	headers [maxSegments][packet.HeaderLen]byte
	iov     [2 * maxSegments]unix.Iovec
	control []byte
	msg     unix.Msghdr
	single  [packet.HeaderLen + maxCopied]byte
}

func newSender() *sender {
	s := &sender{control: make([]byte, unix.CmsgSpace(2))}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&s.control[0]))
	h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	return s
}

// senders are lent to requests.
var senders = sync.Pool{New: func() any { return newSender() }}

// Refuse tells the client of p, as far as a packet arrives: one that hears nothing asks again.
func Refuse(p Port, e *packet.Error) {
	_ = p.write(e.Bytes())
}

// train is how many blocks of block bytes leave together at most.
func train(block int) int { return max(1, min(maxSegments, maxTrain/(block+packet.HeaderLen))) }

// blocks sends n blocks of block bytes from data, the first of them numbered
// first; the last may be short. n is at most train(block) with segment, and
// else they leave one by one. It reports whether the kernel refused a train: the
// blocks have left all the same.
func (s *sender) blocks(p Port, block int, segment bool, first int64, data []byte, n int) (refused bool, err error) {
	if n == 1 && len(data) <= maxCopied {
		header(s.single[:], first)
		return false, p.write(s.single[:packet.HeaderLen+copy(s.single[packet.HeaderLen:], data)])
	}
	for i := range n {
		h := &s.headers[i]
		header(h[:], first+int64(i))
		s.iov[2*i] = iovec(h[:])
		s.iov[2*i+1] = iovec(data[i*block : min((i+1)*block, len(data))])
	}
	if segment && n > 1 {
		binary.NativeEndian.PutUint16(s.control[unix.CmsgLen(0):], uint16(block+packet.HeaderLen))
		if err := s.vectors(p, 0, n); !cannotSegment(err) {
			return false, err
		}
		refused = true
	}
	for i := range n {
		if err := s.vectors(p, i, i+1); err != nil {
			return refused, err
		}
	}
	return refused, nil
}

// cannotSegment reports whether the kernel (EINVAL), the interface (EIO: no
// checksum offload) or the path (EMSGSIZE: its MTU has shrunk) refuses a train.
func cannotSegment(err error) bool {
	return err != nil && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EIO) || errors.Is(err, unix.EMSGSIZE))
}

// vectors sends the blocks from..to of the vector array by one sendmsg.
func (s *sender) vectors(p Port, from, to int) error {
	s.msg = unix.Msghdr{Iov: &s.iov[2*from]}
	s.msg.SetIovlen(2 * (to - from))
	if to-from > 1 {
		s.msg.Control = &s.control[0]
		s.msg.SetControllen(len(s.control))
	}
	return p.send(&s.msg)
}

// header writes that of a block into h. Numbers roll over to 0.
func header(h []byte, number int64) {
	binary.BigEndian.PutUint16(h, packet.OpData)
	binary.BigEndian.PutUint16(h[2:], uint16(number))
}

func iovec(b []byte) unix.Iovec {
	v := unix.Iovec{Base: unsafe.SliceData(b)}
	v.SetLen(len(b))
	return v
}
