package engine

import (
	"time"

	"helperd/services/lb/table"
)

const (
	// noTimeout stands for no limit, in milliseconds.
	noTimeout = int64(1) << 50
	// halfClosedMax bounds the silence of half-closed tunnels where the file sets no limit, in milliseconds.
	halfClosedMax = int64(time.Hour / time.Millisecond)
)

// mind sets how long no byte may move in t, as HAProxy does it: bytes that a side sends and bytes
// that it gets both show that it lives, and so the shorter of the two limits counts. A side
// that has sent its FIN is not waited for any more. No half-closed tunnel lives for ever.
func (w *worker) mind(idx int32, t *tunnel) {
	client, server := limit(t.frontend.Config.ClientTimeout), limit(t.backend.Group().Config.ServerTimeout)
	switch {
	case t.d[fromClient].done:
		t.silent = server
	case t.d[fromServer].done:
		t.silent = client
	default:
		t.silent = min(client, server)
	}
	if t.half && t.silent == noTimeout {
		t.silent = halfClosedMax
	}
	w.wheel.set(w.linkOf, idx, t.active+t.silent)
}

// silence ends a tunnel in which no byte moved for too long, and blames the side that was waited for.
func (w *worker) silence(idx int32, t *tunnel) {
	w.engine.Timeouts.Add(1)
	client := t.d[fromServer].done || !t.d[fromClient].done && t.silent == limit(t.frontend.Config.ClientTimeout)
	w.aborted(t, client)
	w.kill(idx, t)
}

// aborted counts a tunnel that one side ended before its time.
func (w *worker) aborted(t *tunnel, byClient bool) {
	count := func(f *table.Failures) {
		if byClient {
			f.ClientAborts.Add(1)
		} else {
			f.ServerAborts.Add(1)
		}
	}
	if t.backend != nil {
		count(&t.backend.Failures)
	}
	if t.server != nil {
		count(&t.server.Failures)
	}
}

func limit(d time.Duration) int64 {
	if d <= 0 {
		return noTimeout
	}
	return max(1, d.Milliseconds())
}
