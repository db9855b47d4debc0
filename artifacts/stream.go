package artifacts

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"helperd/artifacts/fetch"
	"helperd/internal/files"
	"helperd/plan"
)

// largestStream is the most bytes of a stream JSON; OpenShift's have half a megabyte.
const largestStream = 8 << 20

// stream is what is known of a stream JSON. It is guarded by Store.mu.
type stream struct {
	stream  *plan.Stream   // nil: it was not read yet
	sum     string         // of its bytes, hex
	problem *fetch.Failure // of the last attempt; nil: none
	from    fetch.Validators
	next    time.Time // not asked for before
	fails   int
	running bool
	file    fetch.Identity // of a file of the user's, when it was read
}

// ReadStream reads the stream JSON in a file of this machine.
func ReadStream(path string) (*plan.Stream, error) {
	b, err := readStream(path)
	if err != nil {
		return nil, err
	}
	return plan.ParseStream(b)
}

func readStream(path string) ([]byte, error) {
	r, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not block
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	if st, err := r.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, cmp.Or(err, errors.New("it is no file"))
	}
	return bounded(r)
}

func bounded(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, largestStream+1))
	if err == nil && len(b) > largestStream {
		err = fmt.Errorf("it is no stream JSON: it has more than %d MiB", largestStream>>20)
	}
	return b, err
}

// streamFact is what Compile is told of a stream.
func (s *Store) streamFact(src plan.Origin) plan.StreamFact {
	st := s.streams[src]
	if st == nil {
		st = &stream{}
		s.streams[src] = st
		if src.File == "" {
			s.recall(src, st)
		}
	}
	if src.File != "" {
		s.reread(src, st)
	}
	fact := plan.StreamFact{Stream: st.stream}
	switch {
	case st.problem != nil:
		fact.Problem = st.problem.Text
	case st.stream == nil:
		fact.Problem = "it is being fetched from " + plan.Shown(src.URL)
	}
	return fact
}

// reread reads a file of the user's, if it is not as it was. One that is broken
// does not take away what it said before.
func (s *Store) reread(src plan.Origin, st *stream) {
	id, err := fetch.Identify(src.File)
	if err == nil && id == st.file {
		return
	}
	st.file = id
	var b []byte
	if err == nil {
		b, err = readStream(src.File)
	}
	if err == nil {
		err = st.take(b, src)
	}
	st.problem = nil
	if err != nil {
		st.problem = &fetch.Failure{Kind: fetch.Standing, Text: fmt.Sprintf("%s: %v; print it anew: openshift-install coreos print-stream-json", src.File, files.Cause(err))}
	}
}

// take makes b what the stream says.
func (st *stream) take(b []byte, src plan.Origin) error {
	sum := sha256.Sum256(b)
	got := hex.EncodeToString(sum[:])
	if src.SHA256 != "" && !equalFold(got, src.SHA256) {
		return fmt.Errorf("its sha256 is %.12s... and %.12s... is declared", got, src.SHA256)
	}
	parsed, err := plan.ParseStream(b)
	if err != nil {
		return err
	}
	st.stream, st.sum = parsed, got
	return nil
}

func equalFold(a, b string) bool { return bytes.EqualFold([]byte(a), []byte(b)) }

// copyOf is where the last good copy of a stream is.
func (s *Store) copyOf(src plan.Origin) string {
	sum := sha256.Sum256([]byte(src.URL))
	return filepath.Join(s.opt.Dir, "streams", hex.EncodeToString(sum[:16]))
}

// recall reads the last good copy.
func (s *Store) recall(src plan.Origin, st *stream) {
	b, err := readStream(s.copyOf(src))
	if err != nil {
		return // there is none: it is fetched
	}
	if err := st.take(b, src); err != nil {
		s.opt.Log.Info("copy of a stream not used", "file", s.copyOf(src), "err", err)
	}
}

// startStreams asks for the streams that are due, and gives how long none is.
func (s *Store) startStreams(ctx context.Context) time.Duration {
	wait := time.Hour
	for i := range s.plan.Streams {
		src := s.plan.Streams[i].Origin
		st := s.streams[src]
		if src.File != "" || st == nil || st.running || src.SHA256 != "" && st.stream != nil {
			continue
		}
		if left := time.Until(st.next); left > 0 {
			wait = min(wait, left)
			continue
		}
		st.running = true
		s.opt.Guard.Go("stream "+s.plan.Streams[i].Artifact, func() {
			err := errors.New("helperd made a mistake; its log has it")
			defer func() { s.streamed(ctx, src, st, err) }() // also after a panic
			err = s.fetchStream(ctx, src, st)
		})
	}
	return wait
}

func (s *Store) fetchStream(ctx context.Context, src plan.Origin, st *stream) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.times.stream,
		&fetch.Failure{Kind: fetch.Passing, Text: fmt.Sprintf("it did not come whole in %s", s.times.stream)})
	defer cancel()
	s.mu.Lock()
	h := http.Header{}
	if st.from.ETag != "" {
		h.Set("If-None-Match", st.from.ETag)
	} else if st.from.Modified != "" {
		h.Set("If-Modified-Since", st.from.Modified)
	}
	s.mu.Unlock()
	resp, err := s.client.Get(ctx, src.URL, h, http.StatusNotModified)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusNotModified {
		return nil
	}
	if src.SHA256 == "" && resp.Request.URL.Scheme == "http" && isHTTPS(src.URL) {
		return &fetch.Failure{Kind: fetch.Standing, Slow: true, Text: "the server redirects from https to http, where anybody on the way could change what nodes boot; write the url of the stream itself, or its sha256"}
	}
	b, err := bounded(resp.Body)
	if err != nil {
		return s.client.Broken(ctx, err)
	}
	return s.streamArrived(src, st, b, fetch.ValidatorsOf(src.URL, resp))
}

func isHTTPS(address string) bool { return len(address) > 6 && equalFold(address[:6], "https:") }

// streamArrived takes and stores b as what src says.
func (s *Store) streamArrived(src plan.Origin, st *stream, b []byte, from fetch.Validators) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := st.sum
	if err := st.take(b, src); err != nil {
		return &fetch.Failure{Kind: fetch.Standing, Slow: true, Text: err.Error()}
	}
	st.from = from
	if st.sum == before {
		return nil
	}
	signal(s.changed)
	err := s.folder.Make()
	if err == nil {
		err = renameio.WriteFile(s.copyOf(src), b, 0o600)
	}
	if err != nil {
		s.opt.Log.Warn("copy of a stream not stored; after a restart it is fetched again", "err", err)
	}
	return nil
}

// streamed notes how an attempt ended.
func (s *Store) streamed(ctx context.Context, src plan.Origin, st *stream, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer signal(s.wake)
	st.running = false
	if ctx.Err() != nil {
		return
	}
	before := st.problem
	if err == nil {
		st.problem, st.fails, st.next = nil, 0, time.Now().Add(s.times.again)
		if before != nil {
			signal(s.changed)
		}
		return
	}
	f := &fetch.Failure{Kind: fetch.Standing, Text: err.Error(), Slow: true}
	_ = errors.As(err, &f)
	wait := backoff(s.times.retry, longestRetry, st.fails)
	if f.Slow {
		wait = backoff(s.times.slow, longestSlow, st.fails)
	}
	st.problem = f
	st.fails++
	st.next = time.Now().Add(max(wait, min(f.After, longestRetry)))
	s.count.failures.Inc()
	if before == nil || before.Text != f.Text {
		s.opt.Log.Warn("stream not read", "from", plan.Shown(src.URL), "err", f.Text)
		signal(s.changed)
	}
}

// lookAtStreams finds changed files of the user's.
func (s *Store) lookAtStreams() {
	if s.plan == nil {
		return
	}
	for _, src := range s.plan.Streams {
		st := s.streams[src.Origin]
		if src.Origin.File == "" || st == nil {
			continue
		}
		if id, _ := fetch.Identify(src.Origin.File); id != st.file { // zero: it is not there
			signal(s.changed)
		}
	}
}

// forgetStreams drops what no plan asks for.
func (s *Store) forgetStreams() {
	for src, st := range s.streams {
		used := func(o plan.StreamSource) bool { return o.Origin == src }
		if !st.running && !slices.ContainsFunc(s.plan.Streams, used) {
			delete(s.streams, src)
		}
	}
}

// row is how a stream looks among the files.
func (st *stream) row(src *plan.StreamSource, now time.Time) Row {
	r := Row{Name: src.Artifact, File: "stream", State: Waiting, SHA256: st.sum, Source: cmp.Or(src.Origin.File, plan.Shown(src.Origin.URL))}
	switch {
	case st.problem != nil:
		r.State, r.Detail = State(st.problem.Kind), st.problem.Text
		if wait := st.next.Sub(now).Round(time.Second); wait > 0 {
			r.Detail += fmt.Sprintf("; tried again in %s", wait)
		}
		if st.stream != nil {
			r.Detail += "; what it said before holds"
		}
	case st.stream != nil:
		r.State, r.Detail = Present, st.stream.Name
	default:
		r.Detail = "is being fetched"
	}
	return r
}
