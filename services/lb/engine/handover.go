package engine

import (
	"net/netip"
	"sync/atomic"
	"time"

	"helperd/plan"
	"helperd/services/lb/table"
)

const (
	// pendingMax bounds the unsent bytes that are copied for the next process, in all. Connections beyond are reset.
	pendingMax = 256 << 20
	// exportTime is how long a worker may take to give its tunnels away.
	exportTime = 5 * time.Second
)

// A Carried is a connection on its way from one process to the next, which
// finds what it belongs to by name.
type Carried struct {
	Client                    netip.Addr
	Frontend, Backend, Server string
	ServerAddress             netip.AddrPort    // of an open one
	Open                      bool              // there is a server; else only the client, of whom nothing was sent on
	Heading                   bool              // its PROXY header has not come yet
	Proxied                   [2]netip.AddrPort // the client and the address it connected to, of the PROXY header
	Age, Idle, Silent         int64             // since it was accepted, since bytes moved, how long none may move; in milliseconds
	HalfClosed                bool
	Halves                    [2]Half // from the client, and from the server
}

// A Half is what a side sends.
type Half struct {
	Socket  int    // descriptor of the side
	Moved   uint64 // bytes that were sent on
	Pending []byte // read and not sent on
	Pipe    [2]int // descriptors of a pipe, read end first, when InPipe is not 0
	InPipe  int    // bytes in the pipe
	EOF     bool   // its FIN was read
	Done    bool   // and passed on
}

// FDs are all descriptors of the connection.
func (c *Carried) FDs() []int {
	fds := []int{c.Halves[fromClient].Socket}
	if c.Open {
		fds = append(fds, c.Halves[fromServer].Socket)
	}
	for i := range c.Halves {
		if h := &c.Halves[i]; h.InPipe > 0 {
			fds = append(fds, h.Pipe[:]...)
		}
	}
	return fds
}

// Export makes the workers accept no more and gives all connections away: they
// stay open and are the caller's. Clients that connect wait in the kernel. Nothing may be attached afterwards.
func (e *Engine) Export() []Carried {
	lists := make(chan []Carried, len(e.workers))
	pending := &atomic.Int64{}
	for _, w := range e.workers {
		w.post(func() { lists <- w.export(pending) })
	}
	var all []Carried
	late := time.NewTimer(exportTime)
	defer late.Stop()
	for range e.workers {
		select {
		case list := <-lists:
			all = append(all, list...)
		case <-late.C: // a worker hangs: what it has ends with this process
			return all
		}
	}
	return all
}

func (w *worker) export(pending *atomic.Int64) []Carried {
	w.turnAway()
	var list []Carried
	w.slab.each(func(idx int32, t *tunnel) {
		unsent := int64(len(t.d[fromClient].pend) + len(t.d[fromServer].pend))
		if pending.Add(unsent) > pendingMax {
			pending.Add(-unsent)
			w.reset(idx, t, fromClient)
			return
		}
		list = append(list, w.pack(t))
		w.kill(idx, t) // it has no descriptors any more: only its place is freed
	})
	return list
}

// turnAway makes the worker accept no more. What comes waits in the kernel.
func (w *worker) turnAway() {
	for i := range w.listeners {
		if l := &w.listeners[i]; l.fd != none {
			if l.on {
				w.deafen(l)
			}
			l.fd, l.last = none, nil
		}
	}
	w.review()
}

// pack takes all that is to be carried out of t.
func (w *worker) pack(t *tunnel) Carried {
	c := Carried{Client: t.client, Frontend: t.frontend.Config.Name, Age: w.clock - t.began, HalfClosed: t.half, Heading: t.phase == heading}
	if t.backend != nil { // else its head is still in the socket
		c.Backend = t.backend.Name
	}
	if t.proxied != nil {
		c.Proxied = [2]netip.AddrPort{t.proxied.client, t.proxied.local}
	}
	if t.phase == open {
		c.Open, c.Server, c.ServerAddress = true, t.server.Name, t.server.Address
		c.Idle, c.Silent = w.clock-t.active, t.silent
	}
	for side := range t.d {
		d, h := &t.d[side], &c.Halves[side]
		if side == fromServer && !c.Open {
			continue // a connection that is being made is begun again
		}
		h.Socket, h.Moved, h.EOF, h.Done = int(d.from), d.moved, d.eof, d.done
		if d.pend != nil {
			h.Pending = append([]byte(nil), d.pend[d.off:]...)
		}
		if d.inPipe > 0 {
			h.Pipe, h.InPipe = [2]int{int(d.pipe.r), int(d.pipe.w)}, int(d.inPipe)
			d.pipe, d.inPipe = nil, 0
			w.pools.open--
		}
		d.from, t.d[1-side].to = none, none
	}
	return c
}

// Import makes connections that another process gave away the engine's own.
// Those of a frontend, backend or server that is not in the table any more live on until they end.
func (e *Engine) Import(list []Carried) {
	known := newRegister(e.table.Load(), list)
	shares := make([][]Carried, len(e.workers))
	for i := range list {
		k := i % len(shares)
		shares[k] = append(shares[k], list[i])
	}
	for i, w := range e.workers {
		w.post(func() {
			for k := range shares[i] {
				w.unpack(&shares[i][k], known)
			}
		})
	}
}

// unpack makes a tunnel of c.
func (w *worker) unpack(c *Carried, known *register) {
	f, client := known.frontends[c.Frontend], int32(c.Halves[fromClient].Socket)
	w.engine.active.Add(1) // it was there before any limit
	f.Counters.Place(0)
	f.Counters.Enter()
	var p *proxied
	if c.Proxied[0].IsValid() {
		p = &proxied{c.Proxied[0], c.Proxied[1]}
	}
	if !c.Open {
		first := waiting
		if c.Heading {
			first = heading
		}
		w.startFor(client, c.Client, f, first, p)
		return
	}
	idx, t := w.slab.take()
	w.current = idx
	w.serial++
	t.id, t.began, t.half = w.serial<<workerBits|uint64(w.index), w.clock-c.Age, c.HalfClosed
	defer func() { w.current = none }()
	t.client, t.frontend, t.backend, t.server = c.Client, f, known.backends[c.Backend], known.servers[c.server()]
	t.proxied = p
	t.phase, t.silent, t.active = open, c.Silent, w.clock-c.Idle
	t.backend.Enter()
	t.server.Enter()
	for side := range t.d {
		d, h := &t.d[side], &c.Halves[side]
		d.from, t.d[1-side].to = int32(h.Socket), int32(h.Socket)
		d.moved, d.eof, d.done = h.Moved, h.EOF, h.Done
		if len(h.Pending) > 0 {
			d.pend = h.Pending
		}
		if h.InPipe > 0 {
			d.pipe, d.inPipe = &pipe{int32(h.Pipe[0]), int32(h.Pipe[1])}, int32(h.InPipe)
			w.pools.open++
		}
	}
	for side := range t.d { // the first events say what can be read and written
		if w.watch(t.d[side].from, idx, t, int32(side)) != 0 {
			w.kill(idx, t)
			return
		}
	}
	w.wheel.set(w.linkOf, idx, t.active+t.silent)
}

// A register finds what connections belong to by name.
type register struct {
	frontends map[string]*table.Frontend
	backends  map[string]*table.Backend
	servers   map[serverName]*table.Server
}

type serverName struct {
	backend, name string
	address       netip.AddrPort
}

// newRegister knows what is in t, and makes up the rest of what list speaks of.
func newRegister(t *table.Table, list []Carried) *register {
	r := &register{map[string]*table.Frontend{}, map[string]*table.Backend{}, map[serverName]*table.Server{}}
	for _, f := range t.Frontends {
		r.frontends[f.Config.Name] = f
	}
	for _, g := range t.Groups {
		r.backends[g.Name] = g.Backend
		for _, m := range g.Members {
			r.servers[serverName{g.Name, m.Name, m.Address}] = m.Server
		}
	}
	for i := range list {
		c := &list[i]
		if r.backends[c.Backend] == nil {
			r.backends[c.Backend] = table.NewOrphan(c.Backend)
		}
		if r.frontends[c.Frontend] == nil {
			r.frontends[c.Frontend] = &table.Frontend{Config: plan.Frontend{Name: c.Frontend}, Backend: r.backends[c.Backend], Counters: &table.Counters{}}
		}
		if key := c.server(); c.Open && r.servers[key] == nil {
			r.servers[key] = &table.Server{Backend: c.Backend, Name: c.Server, Address: c.ServerAddress}
		}
	}
	return r
}

func (c *Carried) server() serverName { return serverName{c.Backend, c.Server, c.ServerAddress} }
