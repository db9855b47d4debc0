package iso

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"helperd/internal/files"
)

// keep is how many contents are remembered: a management controller reads its
// ISO in thousands of small ranges.
const keep = 16

// Library makes images, and remembers what it worked out for the last ones.
// The zero value is ready.
type Library struct {
	mu   sync.Mutex
	kept []kept // the last used at the end
}

type kept struct {
	key     key
	patches []patch
	tag     string
}

// key is all that a content is made of.
type key struct {
	base identity
	asks [sha256.Size]byte // of arguments and ignition
}

// Open gives the image of the ISO in file base with kernel arguments and, unless
// it is nil, an ignition file. The caller closes it. The error names no path: it may go to a client.
func (l *Library) Open(base string, args []string, ignition []byte) (*Image, error) {
	f, err := os.OpenFile(base, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not block
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("the ISO of the release is not on the helper yet; put the file where the configuration says, it is served at once")
	case err != nil:
		return nil, fmt.Errorf("the ISO of the release is not readable on the helper: %w", files.Cause(err))
	}
	m, err := l.open(f, args, ignition)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return m, nil
}

func (l *Library) open(f *os.File, args []string, ignition []byte) (*Image, error) {
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, files.Cause(err)
	case !st.Mode().IsRegular():
		return nil, errors.New("the ISO of the release is not a file on the helper")
	}
	asks, err := json.Marshal([]any{args, ignition})
	if err != nil {
		return nil, err
	}
	k := key{identify(st), sha256.Sum256(asks)}
	have, ok := l.known(k)
	if !ok {
		layout, err := ReadLayout(f, st.Size())
		if err != nil {
			return nil, err
		}
		patches, err := layout.patches(args, ignition)
		if err != nil {
			return nil, err
		}
		have = kept{k, patches, tagOf(k.base, patches)}
		l.remember(have)
	}
	return &Image{file: f, size: st.Size(), changed: st.ModTime(), tag: have.tag, patches: have.patches}, nil
}

func (l *Library) known(k key) (kept, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.kept, func(h kept) bool { return h.key == k })
	if i < 0 {
		return kept{}, false
	}
	have := l.kept[i]
	l.kept = append(slices.Delete(l.kept, i, i+1), have)
	return have, true
}

func (l *Library) remember(have kept) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = append(l.kept, have)
	if len(l.kept) > keep {
		l.kept = slices.Delete(l.kept, 0, 1)
	}
}
