package artifacts

import (
	"errors"
	"io/fs"
	"time"

	"helperd/artifacts/fetch"
	"helperd/internal/files"
	"helperd/plan"
)

// Use of a file.
type Use string

// The uses.
const (
	Boots  Use = "boots"  // nodes are told to boot it
	Next   Use = "next"   // the configuration asks for it; nodes boot the version before until all of it is here
	Before Use = "before" // of a version before, kept for nodes in the middle of an installation
)

// Row is one file as people see it.
type Row struct {
	Name    string    `json:"name"` // of the artifact
	Arch    string    `json:"arch,omitempty"`
	File    string    `json:"file"` // such as kernel
	Path    string    `json:"path,omitempty"`
	Version string    `json:"version,omitempty"`
	Release string    `json:"release,omitempty"`
	Use     Use       `json:"use,omitempty"`
	State   State     `json:"state"`
	Size    int64     `json:"size,omitempty"` // in bytes; absent: not known yet
	Done    int64     `json:"done,omitempty"` // bytes that are here, or verified
	Rate    int64     `json:"rate,omitempty"` // bytes a second
	Retry   time.Time `json:"retry,omitzero"`
	SHA256  string    `json:"sha256,omitempty"`
	Source  string    `json:"source"`
	Detail  string    `json:"detail,omitempty"`
}

// ETA is how long the download goes on at its rate; 0: nobody knows.
func (r *Row) ETA() time.Duration {
	if r.Rate == 0 || r.Size <= r.Done {
		return 0
	}
	return time.Duration(float64(r.Size-r.Done) / float64(r.Rate) * float64(time.Second)) // in whole numbers 10 GB are too many ns
}

// Pending reports whether the file is still to come.
func (r *Row) Pending() bool { return r.State != Present && r.State != OnDemand }

// Rows are all streams and files of the plan, in its order.
func (s *Store) Rows() []Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := []Row{}
	if s.plan == nil {
		return rows
	}
	now := time.Now()
	for i := range s.plan.Streams {
		if st := s.streams[s.plan.Streams[i].Origin]; st != nil {
			rows = append(rows, st.row(&s.plan.Streams[i], now))
		}
	}
	for _, a := range s.plan.Artifacts {
		if a.Boots != a.Wanted {
			rows = s.setRows(rows, a.Wanted, Next, now)
		}
		rows = s.setRows(rows, a.Boots, Boots, now)
	}
	for _, k := range s.plan.Kept {
		rows = s.setRows(rows, k, Before, now)
	}
	return rows
}

func (s *Store) setRows(rows []Row, set *plan.Set, use Use, now time.Time) []Row {
	for i := range set.Files {
		f := &set.Files[i]
		r := Row{
			Name: set.Artifact, Arch: set.Arch, File: f.Part, Path: f.Path, Version: set.Version, Release: set.Release, Use: use,
			SHA256: f.SHA256, Source: f.From(), State: Waiting,
		}
		if it := s.items[keyOf(f)]; f.SHA256 == "" {
			r.stat(f)
		} else if it != nil {
			r.State, r.Size, r.Done, r.Rate, r.Detail = it.state, it.size, it.done, int64(it.rate.perSecond), it.detail(now)
			if it.next.After(now) {
				r.Retry = it.next
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// stat looks at a file of the user's that has no checksum.
func (r *Row) stat(f *plan.File) {
	r.State = Present
	if err := files.Regular(f.File); err != nil {
		r.State, r.Detail = Failed, files.Cause(err).Error()
		if errors.Is(err, fs.ErrNotExist) {
			r.State, r.Detail = Missing, "put the file there; it is served at once"
		}
		return
	}
	if id, err := fetch.Identify(f.File); err == nil {
		r.Size, r.Done = id.Size, id.Size
	}
}
