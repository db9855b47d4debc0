package engine

import (
	"net/netip"

	"helperd/services/lb/peek"
)

// A proxied is what a PROXY header said of a connection.
type proxied struct{ client, local netip.AddrPort }

// heard reads the PROXY header at the start of b, which is still in the socket:
// the header alone is taken out of it, and its client is that of the tunnel from now on.
func (w *worker) heard(idx int32, t *tunnel, b []byte) {
	d := &t.d[fromClient]
	p, o := peek.ProxyHeader(b)
	switch {
	case o == peek.More && len(b) < peek.Max && !d.hup:
		return
	case o == peek.More, o == peek.Garbage:
		w.badHead(idx, t)
		return
	}
	if _, e := sysRead(d.from, w.buf[:p.Size]); e != 0 {
		w.kill(idx, t)
		return
	}
	if o == peek.Found {
		t.proxied = &proxied{p.Client, p.Local}
		t.client = p.Client.Addr()
	}
	if !w.admit(d.from, t.frontend, t.client) {
		w.sendAway(idx, t)
		return
	}
	w.begin(idx, t)
}

// badHead closes a connection that does not say who its client is. Nobody knows what else it would say.
func (w *worker) badHead(idx int32, t *tunnel) {
	t.frontend.Counters.BadHead.Add(1)
	w.engine.BadHead.Add(1)
	w.dismiss(idx, t, Stray{Reason: BadHead})
}

// peers are the client's address and the one that it connected to: those of
// the PROXY header, if there was one.
func (t *tunnel) peers() (client, local netip.AddrPort) {
	if t.proxied != nil {
		return t.proxied.client, t.proxied.local
	}
	return sysPeers(t.d[fromClient].from)
}
