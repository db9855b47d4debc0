package artifacts

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"helperd/plan"
	"helperd/timeline"
)

// fetch is one attempt to download f; what an earlier one has got stays.
func (s *Store) fetch(ctx context.Context, it *item, f *plan.File) error {
	p, err := s.openPartial(ctx, it)
	if err != nil {
		return err
	}
	defer p.close()
	if !p.is(f.SHA256) { // else the daemon ended between the last byte and the new name
		if err := s.complete(ctx, it, f, p); err != nil {
			return err
		}
	}
	if !p.is(f.SHA256) && p.joined {
		// The parts may be of two files; whether the server has the right one shows the whole.
		if err := p.restart(); err != nil {
			return diskFailure(err)
		}
		if err := s.complete(ctx, it, f, p); err != nil {
			return err
		}
	}
	if got := p.hex(); got != f.SHA256 {
		p.remove()
		return mismatch(got, f.SHA256, "what the server sends", "correct the sha256 or the url in the configuration")
	}
	if err := s.disk.keep(p.f, p.path, f.SHA256); err != nil {
		return diskFailure(err)
	}
	p.forget()
	s.arrived(f.SHA256, p.size)
	return nil
}

// arrived notes that a file is whole and verified.
func (s *Store) arrived(sum string, size int64) {
	s.ready.Store(sum, true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if it := s.items[sum]; it != nil {
		s.opt.Log.Info("artifact ready", "file", it.file().Path, "bytes", size)
		s.opt.Events.Emit(timeline.Event{Kind: timeline.ArtifactReady, File: it.file().Path, Bytes: size, Total: size})
	}
	signal(s.changed)
}

// complete asks for the rest of f and writes it.
func (s *Store) complete(ctx context.Context, it *item, f *plan.File, p *partial) error {
	resp, err := s.get(ctx, f.URL, p.conditions(f.URL), http.StatusRequestedRangeNotSatisfiable)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return nil // the checksum says whether all is there
	}
	total, whole, err := p.rest(resp)
	if err != nil {
		return errors.Join(err, p.restart())
	}
	if whole && p.size > 0 {
		if err := p.restart(); err != nil {
			return diskFailure(err)
		}
	}
	s.mu.Lock()
	it.state, it.size, it.done, it.rate = Downloading, total, p.size, rate{}
	s.mu.Unlock()
	if err := s.room(it, p, total-p.size); err != nil {
		return err
	}
	if err := p.note(f.URL, resp); err != nil {
		return diskFailure(err)
	}
	if err := s.copy(ctx, it, f, p, resp.Body); err != nil {
		return err
	}
	if total > 0 && p.size != total {
		return &failure{state: Waiting, text: "the connection ended too early"}
	}
	return nil
}

// room makes sure that there is space for n more bytes of p.
func (s *Store) room(it *item, p *partial, n int64) error {
	free, err := s.disk.free()
	if err != nil {
		return diskFailure(err)
	}
	s.mu.Lock()
	free -= s.claimed(it)
	others := false
	for _, o := range s.order {
		others = others || o != it && o.file().Fetched() && o.state != Present && o.state != OnDemand
	}
	s.mu.Unlock()
	if n <= free {
		return nil
	}
	f := full(n-free, n)
	if others && p.size > 0 { // it cannot be completed now, and its space may complete another
		f.need += p.size
		p.remove()
	}
	return f
}

// copy writes what comes, and shows how far it is. What it has written stays,
// unless the disk is full: then the leases need the space.
func (s *Store) copy(ctx context.Context, it *item, f *plan.File, p *partial, body io.Reader) error {
	buf := make([]byte, bufferSize)
	for {
		n, readErr := body.Read(buf)
		if n > 0 {
			if _, err := p.Write(buf[:n]); err != nil {
				fail := diskFailure(err)
				if fail.state == DiskFull {
					p.remove()
				}
				return fail
			}
			s.count.bytes.Add(float64(n))
			if s.progress(it, f, p.size) {
				if free, err := s.disk.free(); err == nil && free < -s.disk.reserve/2 {
					p.remove()
					return full(-free, 0)
				}
			}
		}
		switch {
		case errors.Is(readErr, io.EOF):
			return nil
		case readErr != nil:
			return s.netFailure(ctx, readErr)
		}
	}
}

// progress notes how much is here and once a second tells the timeline; it reports whether it did.
func (s *Store) progress(it *item, f *plan.File, done int64) bool {
	s.mu.Lock()
	it.done, it.gained = done, true
	tell := it.rate.add(time.Now(), done)
	size := it.size
	s.mu.Unlock()
	if tell {
		s.opt.Events.Emit(timeline.Event{Kind: timeline.ArtifactFetching, File: f.Path, Bytes: done, Total: size})
	}
	return tell
}
