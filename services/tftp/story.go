package tftp

import (
	"time"

	"helperd/services/tftp/engine"
	"helperd/timeline"
)

// progressEvery is the time between two events of one long transfer.
const progressEvery = time.Second

// story tells the timeline how a transfer goes.
type story struct {
	service *Service
	job     *job
	path    string // as people see it
	begun   time.Time
	told    time.Time // when the last event was emitted
}

var _ engine.Story = (*story)(nil)

// Started implements engine.Story: the place of a client that has answered is not taken away any more.
func (y *story) Started() { y.service.jobs.answered(y.job) }

// Progress implements engine.Story: it tells how far t is, once a second.
func (y *story) Progress(t *engine.Transfer, now time.Time) {
	if now.Sub(y.told) < progressEvery {
		return
	}
	y.told = now
	y.service.tell(timeline.Event{Kind: timeline.TFTPGet, Addr: y.job.client.Addr(), File: y.path, Bytes: t.Bytes(), Total: t.Size()})
}

// Ended implements engine.Story: it gives the place back, and tells how t came out.
func (y *story) Ended(t *engine.Transfer, err error) {
	s, client := y.service, y.job.client.Addr()
	s.jobs.leave(y.job)
	s.count.resent.Add(uint64(t.Resent()))
	s.count.bytes.Add(uint64(t.Bytes()))
	switch why := t.Failure(err); {
	case err == nil:
		s.count.done.Add(1)
		s.tell(timeline.Event{Kind: timeline.TFTPGet, Addr: client, File: y.path, Bytes: t.Bytes(), Total: t.Bytes()})
		s.host.Log.Debug("file sent", "ip", client, "file", y.path, "bytes", t.Bytes(),
			"seconds", time.Since(y.begun).Seconds(), "blksize", t.Block, "windowsize", t.Window, "resent", t.Resent())
	case why == "":
		s.count.probes.Add(1)
	default:
		s.count.failed.Add(1)
		s.tell(timeline.Event{Kind: timeline.TFTPFailed, Addr: client, File: y.path, Detail: why, Bytes: t.Bytes(), Total: t.Size()})
		s.host.Log.Info("transfer broke off", "ip", client, "file", y.path, "bytes", t.Bytes(), "err", err, "resent", t.Resent())
	}
}
