package engine

import (
	"net/netip"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"helperd/plan"
	"helperd/services/lb/peek"
	"helperd/services/lb/table"
)

// headTimeout is how long a connection may take to say who its client is and
// what it asks for, in milliseconds, from when it was accepted.
const headTimeout = 5000

// Reason says why a connection was closed before a backend was chosen.
type Reason uint8

// The reasons.
const (
	NotAllowed Reason = iota // by the frontend's allow list
	Unnamed                  // nobody has the name that it asks for, if any, and it comes from no node
	BadHead                  // no PROXY header where one must be
)

// A Stray is a connection that was closed before a backend was chosen.
type Stray struct {
	Table    *table.Table
	Frontend *table.Frontend
	Client   netip.Addr
	Reason   Reason
	Name     string // asked for, when Unnamed
	Head     peek.Outcome
}

// admit lets the client of a socket in, or says false.
func (w *worker) admit(fd int32, f *table.Frontend, client netip.Addr) bool {
	e := w.engine
	if !f.Allows(client) {
		f.Counters.Refused.Add(1)
		e.Refused.Add(1)
		w.stray(Stray{Table: e.table.Load(), Frontend: f, Client: client, Reason: NotAllowed})
		return false
	}
	if !f.Admits(client, w.clock*int64(time.Millisecond)) {
		e.TooFast.Add(1)
		sysReset(fd)
		return false
	}
	e.Connections.Add(1)
	f.Counters.Begun(w.second())
	if e.opts.Accepted != nil {
		e.opts.Accepted(e.table.Load(), f, client)
	}
	return true
}

// dismiss closes a connection for which there is no backend.
func (w *worker) dismiss(idx int32, t *tunnel, s Stray) {
	s.Table, s.Frontend, s.Client = w.engine.table.Load(), t.frontend, t.client
	w.stray(s)
	w.sendAway(idx, t)
}

func (w *worker) stray(s Stray) {
	if w.engine.opts.Stray != nil {
		w.engine.opts.Stray(s)
	}
}

// begin looks for the backend of t, at once or when its head has come.
func (w *worker) begin(idx int32, t *tunnel) {
	if t.frontend.Config.Peek == plan.PeekNone {
		w.route(idx, t, "", peek.Absent)
		return
	}
	t.phase = peeking
	w.wheel.set(w.linkOf, idx, t.at)
	if t.d[fromClient].readable {
		w.look(idx, t)
	}
}

// route sends t to the backend of the name that it asks for, or of its client, or closes it.
func (w *worker) route(idx int32, t *tunnel, name string, head peek.Outcome) {
	b := t.frontend.Route(name, t.client)
	if b == nil {
		t.frontend.Counters.Unnamed.Add(1)
		w.engine.Unnamed.Add(1)
		w.dismiss(idx, t, Stray{Reason: Unnamed, Name: strings.Clone(name), Head: head})
		return
	}
	t.backend, t.phase = b, waiting
	b.Enter()
	b.Begun(w.second())
	w.dial(idx, t)
}

// look looks at what a client has sent so far. The bytes stay in the kernel, which
// bounds them, and are copied to the server like all others: a client that
// takes its time costs this process nothing but its tunnel.
func (w *worker) look(idx int32, t *tunnel) {
	d := &t.d[fromClient]
	n, e := sysPeek(d.from, w.buf[:peek.Max])
	switch {
	case e == unix.EAGAIN:
		d.readable = false
		return
	case e != 0 || n == 0: // gone, without a word
		w.kill(idx, t)
		return
	}
	if t.phase == heading {
		w.heard(idx, t, w.buf[:n])
		return
	}
	var room peek.Name
	var name []byte
	var o peek.Outcome
	if t.frontend.Config.Peek == plan.PeekHost {
		name, o = peek.Host(w.buf[:n], &t.read)
	} else {
		name, o = peek.ServerName(w.buf[:n], &room)
	}
	if o == peek.More && n < peek.Max && !d.hup {
		return
	}
	w.route(idx, t, unsafe.String(unsafe.SliceData(name), len(name)), o)
}

// overdue ends the wait for a head.
func (w *worker) overdue(idx int32, t *tunnel) {
	if t.phase == heading {
		w.badHead(idx, t)
		return
	}
	w.route(idx, t, "", peek.More)
}
