package ignition

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"helperd/plan"
)

// Soon is how long before the end of the certificates a warning is due: an
// installation takes an hour or two, and starts after a coffee.
const Soon = 6 * time.Hour

const again = "run `openshift-install create ignition-configs` in a new folder and put the files there"

// Read gives what n gets of g: the node's own file when there is one, else the
// role's as it is, or for an entry of one node merged with its name and network. n may be nil: a
// machine that is no node. The error says why there is nothing to give now and what to do; it is fit for the
// client, names no path of this machine, and passes when the file is mended.
func (s *Store) Read(g *plan.Ignition, n *plan.Node) ([]byte, error) {
	path, f, err := s.find(g, n)
	if err == nil {
		err = s.fit(g, path, f)
	}
	if err != nil {
		return nil, err
	}
	if g.Node != nil && path == g.File {
		return merged(g, f)
	}
	return f.body, nil
}

// find reads the file that n gets of g.
func (s *Store) find(g *plan.Ignition, n *plan.Node) (string, *file, error) {
	if n != nil {
		if own := g.Own(n); own != "" {
			f, err := s.load(own)
			if !errors.Is(err, fs.ErrNotExist) {
				return own, f, unread(g, own, err)
			}
		}
	}
	f, err := s.load(g.File)
	return g.File, f, unread(g, g.File, err)
}

// title is what a file is called to those who may not know where it is.
func title(g *plan.Ignition, path string) string {
	return filepath.Base(path) + " of " + g.Cluster
}

func unread(g *plan.Ignition, path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is not there yet; run `openshift-install create ignition-configs` and put it into the cluster's `ignition` folder", title(g, path))
	case errors.Is(err, errNoFile), errors.Is(err, errLarge):
		return fmt.Errorf("%s is no ignition file: %w; %s", title(g, path), err, again)
	case errors.Is(err, errWritten):
		return fmt.Errorf("%s is not ready: %w", title(g, path), err)
	}
	return fmt.Errorf("%s is not readable: %w; give the user that helperd runs as the right to read it", title(g, path), err)
}

// fit says why f is not to be served.
func (s *Store) fit(g *plan.Ignition, path string, f *file) error {
	if f.err != nil {
		return fmt.Errorf("%s is no ignition file: %w; %s", title(g, path), f.err, again)
	}
	if now := s.now(); !f.Ends.IsZero() && now.After(f.Ends) && !g.Expired {
		return fmt.Errorf("a certificate in %s expired %s ago; %s, or set `ignition_expired: serve`", title(g, path), now.Sub(f.Ends).Round(time.Minute), again)
	}
	return nil
}

// Problems says why files of g are not served, or will not be soon, one each, with the path.
func (s *Store) Problems(g *plan.Ignition) []string {
	if g.Node != nil {
		return nil // its files are those of the role's entry
	}
	out := s.problems(g, nil)
	for _, n := range g.Nodes {
		if own := g.Own(n); own != "" && own != g.File {
			if _, err := s.load(own); !errors.Is(err, fs.ErrNotExist) {
				out = append(out, s.problems(g, n)...)
			}
		}
	}
	return out
}

func (s *Store) problems(g *plan.Ignition, n *plan.Node) (out []string) {
	path, f, err := s.find(g, n)
	if err == nil {
		err = s.fit(g, path, f)
	}
	if err != nil {
		return []string{path + ": " + err.Error()}
	}
	if left := f.Ends.Sub(s.now()); !f.Ends.IsZero() && left < Soon {
		out = append(out, fmt.Sprintf("%s: %s; %s", path, ending(left), again))
	}
	return out
}

func ending(left time.Duration) string {
	if left < 0 {
		return fmt.Sprintf("a certificate in it expired %s ago, and it is served because of `ignition_expired: serve`", (-left).Round(time.Minute))
	}
	return fmt.Sprintf("a certificate in it ends in %s, and it is refused then", left.Round(time.Minute))
}

// Ends is when the first certificate of an ignition file ends; zero: it has none, or cannot be read.
func (s *Store) Ends(path string) time.Time {
	f, err := s.load(path)
	if err != nil || f.err != nil {
		return time.Time{}
	}
	return f.Ends
}
