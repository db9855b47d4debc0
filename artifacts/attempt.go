package artifacts

import (
	"context"
	"time"

	"helperd/artifacts/fetch"
	"helperd/plan"
	"helperd/timeline"
)

// download is one attempt to download f.
func (s *Store) download(ctx context.Context, it *item, f *plan.File) error {
	s.mu.Lock()
	var least int64
	if p := it.problem; p != nil && p.Kind == fetch.DiskFull {
		least = p.Need
	}
	s.mu.Unlock()
	size, err := fetch.Download(ctx, &fetch.Job{URL: f.URL, SHA256: f.SHA256, Folder: &s.folder, Client: s.client, Show: &watcher{s, it, f}, Least: least})
	if err == nil {
		s.arrived(f.SHA256, size)
	}
	return err
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

// verify is one attempt to verify f, a file of the user's.
func (s *Store) verify(ctx context.Context, it *item, f *plan.File) error {
	if s.verified(f) { // before a restart
		id, _ := s.checked.Load(it.key)
		s.mu.Lock()
		it.size = id.(fetch.Identity).Size
		s.mu.Unlock()
		return nil
	}
	s.checked.Delete(it.key)
	before, _ := fetch.Identify(f.File) // zero: it is not there
	s.mu.Lock()
	it.tried = before
	s.mu.Unlock()
	id, err := fetch.Verify(ctx, f.File, f.SHA256, &watcher{s, it, f})
	if err == nil {
		s.checked.Store(it.key, id)
	}
	return err
}

// watcher shows how far an attempt is.
type watcher struct {
	store *Store
	item  *item
	file  *plan.File
}

// Reads implements fetch.Watcher.
func (w *watcher) Reads(done, size int64) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	it := w.item
	it.state, it.size, it.done = Verifying, size, done
	it.rate.add(time.Now(), done)
}

// Loads implements fetch.Watcher. Once a second it tells the timeline.
func (w *watcher) Loads(done, size int64) bool {
	s, it := w.store, w.item
	s.mu.Lock()
	if it.state != Downloading || done < it.done {
		it.done, it.rate = done, rate{} // it begins, with what was here before
	}
	got := done - it.done
	it.state, it.size, it.done = Downloading, size, done
	it.gained = it.gained || got > 0
	tell := it.rate.add(time.Now(), done)
	s.mu.Unlock()
	s.count.bytes.Add(float64(got))
	if tell {
		s.opt.Events.Emit(timeline.Event{Kind: timeline.ArtifactFetching, File: w.file.Path, Bytes: done, Total: size})
	}
	return tell
}

// Others implements fetch.Watcher.
func (w *watcher) Others() (claimed int64, waiting bool) {
	s := w.store
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.order {
		waiting = waiting || o != w.item && o.file().Fetched() && o.state != Present && o.state != OnDemand
	}
	return s.claimed(w.item), waiting
}
