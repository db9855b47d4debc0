package artifacts

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"helperd/artifacts/fetch"
	"helperd/internal/guard"
	"helperd/plan"
	"helperd/timeline"
)

// Options say what a Store works with.
type Options struct {
	Dir     string // the store's folder, such as /var/lib/helperd/artifacts; it is made when it is needed
	Version string // of helperd, for the user agent
	Log     *slog.Logger
	Events  *timeline.Timeline
	Guard   *guard.Group // starts every goroutine
	Metrics prometheus.Registerer
	// Busy reports whether a node is in the middle of an installation that it began before t.
	Busy func(t time.Time) bool
}

// Store is the artifacts of one daemon.
type Store struct {
	opt    Options
	client *fetch.Client
	times  times
	folder fetch.Folder
	count  counters

	ready   sync.Map // by checksum: the fetched file is on this machine, verified
	checked sync.Map // by local: the identity of a file of the user's that was verified

	wake    chan struct{} // there may be something to do for Serve
	changed chan struct{} // facts of plan.Compile have changed

	mu      sync.Mutex
	plan    *plan.Plan // that was applied last; nil: none yet
	items   map[string]*item
	order   []*item // of items, as they are to be worked on
	kept    []*kept // the latest first
	spared  bool    // collect has left a file that nothing names
	streams map[plan.Origin]*stream
}

// times are how long things take. Tests wait less.
type times struct {
	poll   time.Duration // between looks at files of the user's and at free space
	retry  time.Duration // after a first failure that may pass; doubled each time
	slow   time.Duration // after a first failure that a person must mend
	stall  time.Duration // without a byte
	header time.Duration // for a server's first answer
	stream time.Duration // for one attempt to read a stream, which is small
	again  time.Duration // between questions for a stream that may have changed
	linger time.Duration // for which a version that nobody needs stays at least
	fresh  time.Duration // for which a file that nothing names stays after it came
}

const (
	longestRetry = 5 * time.Minute
	longestSlow  = 30 * time.Minute
	// longestHold bounds how long a version is kept for a node that began with it and was never seen again.
	longestHold = 24 * time.Hour
	// reserve is left free in bytes: the leases, which matter more, are on the same disk.
	reserve = 64 << 20
	// atOnce is the number of files that are fetched at a time.
	atOnce = 2
)

// New gives a store without a folder: it knows the files of this machine that have
// no checksum, and fetches nothing.
func New() *Store {
	return &Store{wake: make(chan struct{}, 1), changed: make(chan struct{}, 1), items: map[string]*item{}, streams: map[plan.Origin]*stream{}}
}

// Open gives the store in opt.Dir with what is there. Nothing is fetched before
// Apply and Serve. A folder that cannot be read or written is a state of each file, never an end.
func Open(opt Options) *Store {
	s := New()
	s.opt = opt
	s.folder = fetch.Folder{Dir: opt.Dir, Reserve: reserve}
	s.times = times{
		poll: 3 * time.Second, retry: time.Second, slow: time.Minute, stall: time.Minute, header: 30 * time.Second,
		stream: 2 * time.Minute, again: time.Hour, linger: 10 * time.Minute, fresh: 10 * time.Minute,
	}
	s.client = fetch.NewClient("helperd/"+opt.Version, s.times.stall, s.times.header)
	s.describeMetrics()
	for _, sum := range s.folder.Sums() {
		s.ready.Store(sum, true)
	}
	s.folder.Sweep()
	s.load()
	return s
}

// Path is where f is on this machine. The error, fit for the client that asks for f, says
// why it is not there yet and what to do.
func (s *Store) Path(f *plan.File) (string, error) {
	switch {
	case f.File != "" && f.SHA256 == "":
		return f.File, nil
	case f.File != "":
		if s.verified(f) {
			return f.File, nil
		}
	default:
		if _, ok := s.ready.Load(f.SHA256); ok {
			return s.folder.Whole(f.SHA256), nil
		}
	}
	return "", s.notYet(f)
}

// Changed tells that the facts for plan.Compile are not what they were: a stream
// was read, a version is whole, or one is needed no more.
func (s *Store) Changed() <-chan struct{} { return s.changed }

// Facts adds to f what the store knows, with the streams of sources.
func (s *Store) Facts(f *plan.Facts, sources []plan.Origin) {
	f.Streams = map[plan.Origin]plan.StreamFact{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, src := range sources {
		f.Streams[src] = s.streamFact(src)
	}
	f.Present = map[string]bool{}
	s.ready.Range(func(sum, _ any) bool {
		f.Present[sum.(string)] = true
		return true
	})
	for _, k := range s.kept {
		if s.whole(k.Set) {
			f.Kept = append(f.Kept, k.Set)
		}
	}
}

// Want asks for a file that is fetched on demand.
func (s *Store) Want(f *plan.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it := s.items[keyOf(f)]; it != nil && !it.asked {
		it.asked = true
		signal(s.wake)
	}
}

// Serve fetches and verifies until ctx ends.
func (s *Store) Serve(ctx context.Context) error {
	s.opt.Guard.Go("artifacts: verify what is there", func() { s.verifyStore(ctx) })
	poll := time.NewTicker(s.times.poll)
	defer poll.Stop()
	for {
		wait := s.startDue(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-time.After(wait):
		case <-poll.C:
			s.look()
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// file is the path of a file of the store's own.
func (s *Store) file(name string) string { return filepath.Join(s.opt.Dir, name) }
