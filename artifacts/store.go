// Package artifacts knows where on this machine the files are that nodes boot.
package artifacts

import (
	"fmt"

	"helperd/plan"
)

// Store is the artifacts of one daemon.
type Store struct{}

// New gives a store that fetches nothing.
func New() *Store { return &Store{} }

// Path is where f is on this machine. The error, fit for the client that asks for f, says
// why it is not there yet and what to do.
func (s *Store) Path(f *plan.File) (string, error) {
	if f.File == "" {
		return "", fmt.Errorf("%s is not on the helper: only its url is known; download it and write its path as `file:`", f.Path)
	}
	return f.File, nil
}
