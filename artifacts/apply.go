package artifacts

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"helperd/artifacts/fetch"
	"helperd/plan"
)

// Apply makes p, which is what is served, the plan whose files are wanted:
// downloads start and stop, and what nothing needs any more goes.
func (s *Store) Apply(p *plan.Plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan = p
	named := map[string][]plan.File{}
	var keys []string
	for _, f := range filesOf(p) {
		if f.SHA256 == "" {
			continue // served as it is
		}
		k := keyOf(&f)
		if named[k] == nil {
			keys = append(keys, k)
		}
		named[k] = append(named[k], f)
	}
	s.order = nil
	for _, k := range keys {
		s.order = append(s.order, s.take(k, named[k]))
	}
	slices.SortStableFunc(s.order, func(a, b *item) int { return cmp.Compare(a.rank(), b.rank()) })
	for k, it := range s.items {
		if named[k] == nil {
			s.drop(k, it)
		}
	}
	s.forgetStreams()
	s.settle()
	s.collect()
	signal(s.wake)
}

// take gives the item of key, tried at once: a person may have mended what was wrong.
func (s *Store) take(key string, names []plan.File) *item {
	it := s.items[key]
	if it == nil {
		it = &item{key: key, state: Waiting}
		s.items[key] = it
	}
	if it.cancel != nil && it.file().URL != names[0].URL {
		it.cancel() // what is here stays, and the new URL is asked for the rest
	}
	it.names, it.dropped, it.next = names, false, time.Time{}
	switch _, ready := s.ready.Load(key); {
	case ready:
		s.present(it)
	case !it.wanted(), it.state == OnDemand, it.state == Present && it.file().Fetched(): // the last vanished
		it.await()
	}
	return it
}

// present notes that the fetched file of it is there.
func (s *Store) present(it *item) {
	it.state, it.problem, it.fails, it.next, it.rate = Present, nil, 0, time.Time{}, rate{}
	if st, err := os.Stat(s.folder.Whole(it.key)); err == nil {
		it.size, it.done = st.Size(), st.Size()
	}
	_ = os.Remove(s.folder.Partial(it.key)) // there is one if an import was faster than the download
	_ = os.Remove(s.folder.Partial(it.key) + ".json")
}

// drop forgets an item; if an attempt runs, when it has ended.
func (s *Store) drop(key string, it *item) {
	if it.cancel != nil {
		it.dropped = true
		it.cancel()
		return
	}
	delete(s.items, key)
}

// filesOf are all files of artifacts that p serves.
func filesOf(p *plan.Plan) []plan.File {
	var out []plan.File
	for _, a := range p.Artifacts {
		out = append(out, a.Wanted.Files...)
		if a.Boots != a.Wanted {
			out = append(out, a.Boots.Files...)
		}
	}
	for _, k := range p.Kept {
		out = append(out, k.Files...)
	}
	return out
}

// collect removes the files that nothing refers to. One that has just come stays: an
// import may bring files before the stream that names them is in the plan. A
// file that is being read stays readable without its name.
func (s *Store) collect() {
	if s.plan == nil {
		return
	}
	need := map[string]bool{}
	for _, f := range filesOf(s.plan) {
		need[f.SHA256] = true
	}
	for _, k := range s.kept {
		for i := range k.Set.Files {
			need[k.Set.Files[i].SHA256] = true
		}
	}
	s.spared = false
	for _, sum := range s.folder.Sums() {
		if need[sum] {
			continue
		}
		if s.fresh(s.folder.Whole(sum)) {
			s.spared = true
			continue
		}
		s.ready.Delete(sum)
		if err := os.Remove(s.folder.Whole(sum)); err != nil {
			s.opt.Log.Warn("artifact not removed", "file", s.folder.Whole(sum), "err", err)
			continue
		}
		s.opt.Log.Info("artifact removed: no node needs it", "file", s.folder.Whole(sum))
	}
	entries, _ := os.ReadDir(filepath.Join(s.opt.Dir, "partial")) // none: nothing to remove
	for _, e := range entries {
		sum := strings.TrimSuffix(e.Name(), ".json")
		if s.items[sum] == nil && !need[sum] && !strings.HasPrefix(sum, fetch.ImportPrefix) {
			_ = os.Remove(filepath.Join(s.opt.Dir, "partial", e.Name())) // or at the next Apply
		}
	}
}

// fresh reports whether a file has just got its name.
func (s *Store) fresh(path string) bool {
	id, err := fetch.Identify(path)
	return err == nil && time.Since(time.Unix(0, id.Ctime)) < s.times.fresh
}
