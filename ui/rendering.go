package ui

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// fresh is how long what was rendered is good for all who ask: hundreds of servers take
// milliseconds of a processor, and strangers may ask as often as they like.
const fresh = time.Second

// A rendering is what is shown at a path.
type rendering struct {
	render func(io.Writer) error

	mu   sync.Mutex // held while it is rendered: whoever asks meanwhile gets the same
	at   time.Time
	body []byte // nil: never rendered
}

// bytes gives what is shown. A client that reads slowly holds nothing but this.
func (r *rendering) bytes() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.body != nil && time.Since(r.at) < fresh {
		return r.body, nil
	}
	var b bytes.Buffer
	if err := r.render(&b); err != nil {
		return nil, err
	}
	r.at, r.body = time.Now(), b.Bytes()
	return r.body, nil
}
