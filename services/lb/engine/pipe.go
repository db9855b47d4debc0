package engine

import "golang.org/x/sys/unix"

const (
	bufferSize = 64 << 10
	pipeSize   = 1 << 20
	// pipesMax bounds the pipes of a worker, used and spare: each holds up to
	// 1 MiB of the kernel's memory and two descriptors. A direction that gets none copies.
	pipesMax   = 256
	sparePipes = 32
	spareBufs  = 32
)

// A pipe carries the bytes of one direction between two splices.
type pipe struct{ r, w int32 }

// pools keep pipes and buffers of one worker for the next direction that needs one.
type pools struct {
	pipes   []*pipe
	open    int // pipes, used and spare
	buffers [][]byte
}

// pipe gives an empty pipe, or nil when there are no more.
func (p *pools) pipe() *pipe {
	if n := len(p.pipes); n > 0 {
		x := p.pipes[n-1]
		p.pipes = p.pipes[:n-1]
		return x
	}
	if p.open >= pipesMax {
		return nil
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC) != nil {
		return nil
	}
	// Users without privileges may be over their share of pipe memory: then it stays at 64 KiB.
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize)
	p.open++
	return &pipe{int32(fds[0]), int32(fds[1])}
}

// putPipe takes a pipe back; one that still holds bytes is closed.
func (p *pools) putPipe(x *pipe, empty bool) {
	if empty && len(p.pipes) < sparePipes {
		p.pipes = append(p.pipes, x)
		return
	}
	sysClose(x.r)
	sysClose(x.w)
	p.open--
}

// keep copies bytes that could not be sent. A rest far smaller than a buffer gets
// memory of its own size, so that many slow readers do not hold a buffer each.
func (p *pools) keep(rest []byte) []byte {
	if len(rest) <= bufferSize/4 {
		return append([]byte(nil), rest...)
	}
	if n := len(p.buffers); n > 0 {
		b := p.buffers[n-1]
		p.buffers = p.buffers[:n-1]
		return append(b, rest...)
	}
	return append(make([]byte, 0, bufferSize), rest...)
}

func (p *pools) putBuffer(b []byte) {
	if cap(b) == bufferSize && len(p.buffers) < spareBufs {
		p.buffers = append(p.buffers, b[:0])
	}
}

func (p *pools) close() {
	for _, x := range p.pipes {
		sysClose(x.r)
		sysClose(x.w)
	}
	p.pipes, p.buffers, p.open = nil, nil, 0
}
