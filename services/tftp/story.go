package tftp

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"helperd/timeline"
)

// progressEvery is the time between two events of one long transfer.
const progressEvery = time.Second

// run does t, and tells the timeline how it goes.
func (s *Service) run(t *transfer, client netip.Addr, path string) {
	begun := time.Now()
	next := begun.Add(progressEvery)
	t.progress = func(t *transfer, now time.Time) {
		if now.Before(next) {
			return
		}
		next = now.Add(progressEvery)
		s.host.Events.Emit(timeline.Event{Kind: timeline.TFTPGet, Addr: client, File: path, Bytes: t.bytes(), Total: max(t.src.size(), 0)})
	}
	err := t.run()
	s.count.resent.Add(uint64(t.resent))
	s.count.bytes.Add(uint64(t.bytes()))
	log := s.host.Log.With("ip", client, "file", path, "bytes", t.bytes())
	switch why := t.failure(err); {
	case err == nil:
		s.count.done.Add(1)
		total := t.src.size()
		if total < 0 {
			total = t.bytes()
		}
		s.host.Events.Emit(timeline.Event{Kind: timeline.TFTPGet, Addr: client, File: path, Bytes: total, Total: total})
		log.Debug("file sent", "seconds", time.Since(begun).Seconds(), "blksize", t.block, "windowsize", t.window, "resent", t.resent)
	case why == "":
		s.count.probes.Add(1)
	default:
		s.count.failed.Add(1)
		s.host.Events.Emit(timeline.Event{Kind: timeline.TFTPFailed, Addr: client, File: path, Detail: why, Bytes: t.bytes(), Total: max(t.src.size(), 0)})
		log.Info("transfer broke off", "err", err, "resent", t.resent)
	}
}

// failure is what people read when t ended with err: what, and what to do. It
// is empty when nothing went wrong: UEFI firmware asks for a file, reads its size
// from the OACK and stops with an ERROR before it asks again for the bytes, and a
// client that asks for something else has given up on its own.
func (t *transfer) failure(err error) string {
	var said *wireError
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errUnreadable):
		return err.Error()
	case errors.As(err, &said):
		if t.acked == 0 {
			return ""
		}
		return fmt.Sprintf("the client stopped the transfer: %v", said)
	case errors.Is(err, errStopped), errors.Is(err, errGone) && !t.started.Load():
		return ""
	case errors.Is(err, errSilent) && !t.started.Load():
		return "the client does not react to the answer, which comes from a port of its own (RFC 1350 section 4); look for a packet filter between the helper and the node"
	case errors.Is(err, errSilent):
		return fmt.Sprintf("%v after %d packets sent again; look at the node's console and at the network", err, tries)
	}
	return err.Error()
}
