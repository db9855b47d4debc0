package engine

import "helperd/services/lb/table"

// queue lets t wait until a server of its backend has room, or the time for that is over.
func (w *worker) queue(idx int32, t *tunnel) {
	w.setQueueEnd(t)
	if w.clock >= t.queueEnd {
		w.giveUp(idx, t)
		return
	}
	if t.d[fromClient].hup {
		w.hangUp(idx, t)
		return
	}
	b, h, x := t.backend, handle{idx, t.gen}, &table.Waiter{Client: t.client, Tried: t.tried}
	x.Grant = func(s *table.Server) { w.post(func() { w.granted(b, h, x, s) }) }
	t.wait = x
	w.waitUntil(idx, t, t.queueEnd)
	b.Wait(x)
}

func (w *worker) setQueueEnd(t *tunnel) {
	if t.queueEnd == 0 {
		t.queueEnd = w.clock + limit(t.backend.Group().Config.QueueTimeout)
	}
}

// granted connects the tunnel that waited as x in b to s, if it is still there. Without s it looks again by itself.
func (w *worker) granted(b *table.Backend, h handle, x *table.Waiter, s *table.Server) {
	t := w.slab.at(h.idx)
	if t.gen != h.gen || t.wait != x {
		if s != nil {
			w.release(b, s)
		}
		return
	}
	w.current = h.idx
	t.wait = nil
	if s == nil || !w.connect(h.idx, t, s) {
		w.dial(h.idx, t)
	}
	w.current = none
}

// hangUp ends a tunnel whose client left while it waited for room, as HAProxy's option abortonclose
// does it: a client that gave up sends the same FIN as one that only has nothing more to say,
// and an overloaded server must not be kept busy by those that gave up.
func (w *worker) hangUp(idx int32, t *tunnel) {
	w.aborted(t, true)
	w.kill(idx, t)
}
