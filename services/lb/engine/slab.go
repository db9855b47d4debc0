package engine

import (
	"net/netip"
	"time"

	"helperd/services/lb/table"
)

// The phases of a tunnel.
const (
	free       uint8 = iota
	heading          // for the PROXY header
	peeking          // for the name that the client asks for
	waiting          // for a server that has room, or before a server is tried again
	connecting       // to a server
	open
)

var phaseNames = [...]string{free: "free", heading: "heading", peeking: "peeking", waiting: "waiting", connecting: "connecting", open: "open"}

// The directions of a tunnel, and the sides they come from.
const (
	fromClient = 0
	fromServer = 1
)

// A direction is one half of a tunnel: bytes move from one socket to the other.
type direction struct {
	from, to int32
	off      int32  // bytes of pend that were sent
	inPipe   int32  // bytes in pipe
	moved    uint64 // bytes that were sent on
	pend     []byte // bytes that were read and could not be sent
	pipe     *pipe  // while the direction is in bulk
	full     uint8  // reads in a row that filled the buffer
	readable bool   // as far as is known
	writable bool
	hup      bool // the FIN is in: a short read is the last
	urgent   bool // there is, or was, urgent data (TCP's URG)
	eof      bool // the FIN was read
	done     bool // and passed on
}

// A tunnel is a client's connection and the one made for it to a server.
// Each costs memory as long as the connection lives: keep it small.
type tunnel struct {
	links
	d      [2]direction
	gen    int32
	id     uint64
	phase  uint8
	queued bool // is in worker.again
	tries  uint8
	half   bool  // one side has sent its FIN
	read   int32 // bytes of an HTTP head that need not be looked at again
	// at is when a connecting or waiting tunnel must act, by the worker's clock.
	at       int64
	queueEnd int64         // when waiting for room ends; 0: never waited
	wait     *table.Waiter // nil: does not wait for room
	dialed   time.Duration // since the start of the engine
	// active is when bytes last moved, either way: a side that is spoken to is not
	// held to be silent. silent is how long none may move, in milliseconds.
	active, silent int64
	began          int64 // when it was accepted, by the worker's clock

	client   netip.Addr
	frontend *table.Frontend
	backend  *table.Backend
	server   *table.Server
	tried    []*table.Server
	lost     *table.Server // the one that failed last, until another is tried
	proxied  *proxied      // nil: there was no PROXY header, or one without addresses
}

// slab holds the tunnels of a worker in blocks, so that they do not move and
// the collector sees few objects.
type slab struct {
	blocks [][]tunnel
	spare  []int32
}

const block = 64

func (s *slab) at(idx int32) *tunnel { return &s.blocks[idx/block][idx%block] }

// take gives a free tunnel.
func (s *slab) take() (int32, *tunnel) {
	if len(s.spare) == 0 {
		first := int32(len(s.blocks) * block)
		s.blocks = append(s.blocks, make([]tunnel, block))
		for i := first + block - 1; i >= first; i-- {
			s.spare = append(s.spare, i)
		}
	}
	idx := s.spare[len(s.spare)-1]
	s.spare = s.spare[:len(s.spare)-1]
	t := s.at(idx)
	*t = tunnel{gen: t.gen, links: links{slot: none}}
	return idx, t
}

// put makes a tunnel free. Events of the old one no longer match its generation.
func (s *slab) put(idx int32, t *tunnel) {
	*t = tunnel{gen: t.gen + 1, links: links{slot: none}}
	s.spare = append(s.spare, idx)
}

// each calls fn for every tunnel that is not free.
func (s *slab) each(fn func(int32, *tunnel)) {
	for b := range s.blocks {
		for i := range s.blocks[b] {
			if t := &s.blocks[b][i]; t.phase != free {
				fn(int32(b*block+i), t)
			}
		}
	}
}
