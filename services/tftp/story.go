package tftp

import (
	"errors"
	"fmt"
	"time"

	"helperd/timeline"
)

// progressEvery is the time between two events of one long transfer.
const progressEvery = time.Second

// story tells the timeline how a transfer goes. The zero value tells nobody.
type story struct {
	service *Service
	job     *job
	path    string // as people see it
	begun   time.Time
	told    time.Time // when the last event was emitted
}

// started notes that the client has answered: its place is not taken away any more.
func (y *story) started() {
	if y.service != nil {
		y.service.jobs.answered(y.job)
	}
}

// progress tells how far t is, once a second.
func (y *story) progress(t *transfer, now time.Time) {
	if y.service == nil || now.Sub(y.told) < progressEvery {
		return
	}
	y.told = now
	y.service.tell(timeline.Event{Kind: timeline.TFTPGet, Addr: y.job.client.Addr(), File: y.path, Bytes: t.bytes(), Total: max(t.src.size(), 0)})
}

// ended gives back what t holds, and tells how it came out.
func (s *Service) ended(t *transfer, err error) {
	s.jobs.leave(t.story.job)
	t.port.close()
	defer t.src.close()
	client, path := t.story.job.client.Addr(), t.story.path
	s.count.resent.Add(uint64(t.resent))
	s.count.bytes.Add(uint64(t.bytes()))
	total := max(t.src.size(), 0)
	switch why := t.failure(err); {
	case err == nil:
		s.count.done.Add(1)
		s.tell(timeline.Event{Kind: timeline.TFTPGet, Addr: client, File: path, Bytes: t.bytes(), Total: t.bytes()})
		s.host.Log.Debug("file sent", "ip", client, "file", path, "bytes", t.bytes(),
			"seconds", time.Since(t.story.begun).Seconds(), "blksize", t.block, "windowsize", t.window, "resent", t.resent)
	case why == "":
		s.count.probes.Add(1)
	default:
		s.count.failed.Add(1)
		s.tell(timeline.Event{Kind: timeline.TFTPFailed, Addr: client, File: path, Detail: why, Bytes: t.bytes(), Total: total})
		s.host.Log.Info("transfer broke off", "ip", client, "file", path, "bytes", t.bytes(), "err", err, "resent", t.resent)
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
