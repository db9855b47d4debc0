package artifacts

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/google/renameio/v2"

	"helperd/artifacts/fetch"
	"helperd/plan"
)

// kept is a version that nodes are told to boot, or were.
type kept struct {
	Set *plan.Set
	// Since is when nodes were told of another; zero: they are told of this one.
	Since time.Time
}

// record is the content of artifacts.json.
type record struct {
	Kept    []*kept
	Checked []checkedFile
}

// checkedFile is a file of the user's that was verified.
type checkedFile struct {
	Key      string
	Identity fetch.Identity
}

// settle notes which versions nodes boot now, and lets go of those that no node needs.
// It is called when the plan changes, when a file is whole, and now and then.
func (s *Store) settle() {
	if s.plan == nil {
		return
	}
	boots := func(k *plan.Set) bool {
		return slices.ContainsFunc(s.plan.Artifacts, func(a plan.Artifact) bool { return a.Boots.Same(k) })
	}
	before := len(s.kept)
	changed := false
	for _, a := range s.plan.Artifacts {
		known := func(k *kept) bool { return k.Set.Same(a.Boots) }
		if a.Boots.Version != "" && s.whole(a.Boots) && !slices.ContainsFunc(s.kept, known) {
			s.kept, changed = slices.Insert(s.kept, 0, &kept{Set: a.Boots}), true
		}
	}
	for _, k := range s.kept {
		switch in := boots(k.Set); {
		case in && !k.Since.IsZero():
			k.Since, changed = time.Time{}, true
		case !in && k.Since.IsZero():
			k.Since, changed = time.Now(), true
		}
	}
	s.kept = slices.DeleteFunc(s.kept, func(k *kept) bool { return !s.whole(k.Set) || !k.Since.IsZero() && !s.needed(k) })
	if changed || len(s.kept) != before {
		s.save()
		signal(s.changed)
	}
}

// needed reports whether a node may still ask for a version that is told to no node any more.
func (s *Store) needed(k *kept) bool {
	switch since := time.Since(k.Since); {
	case since < s.times.linger && !s.short():
		return true // who changes the file back finds all that there was
	case since > longestHold:
		return false
	}
	return s.opt.Busy(k.Since)
}

// short reports whether a download waits for space.
func (s *Store) short() bool {
	return slices.ContainsFunc(s.order, func(it *item) bool { return it.state == DiskFull })
}

// whole reports whether all that is fetched for a network boot of set is here.
func (s *Store) whole(set *plan.Set) bool {
	for i := range set.Files {
		f := &set.Files[i]
		if !f.Fetched() || f.OnDemand || f.Part == plan.PartISO {
			continue
		}
		if _, ok := s.ready.Load(f.SHA256); !ok {
			return false
		}
	}
	return true
}

func (s *Store) recordFile() string { return s.file("artifacts.json") }

// load reads what was known before the start. Without it files are verified
// again, and versions before are forgotten.
func (s *Store) load() {
	b, err := os.ReadFile(s.recordFile())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var r record
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		s.opt.Log.Warn("what was known of artifacts is lost; files are verified again", "file", s.recordFile(), "err", err)
		return
	}
	for _, k := range r.Kept {
		if k != nil && k.Set != nil {
			s.kept = append(s.kept, k)
		}
	}
	for _, c := range r.Checked {
		s.checked.Store(c.Key, c.Identity)
	}
}

// save stores what load reads. A failure costs work after a restart, no more.
func (s *Store) save() {
	r := record{Kept: s.kept}
	for _, it := range s.order {
		if id, ok := s.checked.Load(it.key); ok {
			r.Checked = append(r.Checked, checkedFile{it.key, id.(fetch.Identity)})
		}
	}
	b, err := json.Marshal(r)
	if err == nil {
		err = s.folder.Make()
	}
	if err == nil {
		err = renameio.WriteFile(s.recordFile(), b, 0o600)
	}
	if err != nil {
		s.opt.Log.Warn("what is known of artifacts is not stored; after a restart files are verified again", "err", err)
	}
}
