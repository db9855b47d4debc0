package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// partial is a download under way.
type partial struct {
	f    *os.File
	path string
	sum  hash.Hash // of what is there
	size int64     // likewise, in bytes
	from Validators
	// joined says that what is there was not got in one go.
	joined bool
}

// Validators are what the server says of the file, so that it goes on with the
// same one (RFC 9110 section 13.1.5).
type Validators struct {
	URL      string
	ETag     string
	Modified string
}

// ValidatorsOf takes them from an answer.
func ValidatorsOf(address string, resp *http.Response) Validators {
	return Validators{address, resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")}
}

// openPartial goes on with what is there, and shows how much of it is read again.
func openPartial(ctx context.Context, j *Job) (*partial, error) {
	if err := j.Folder.Make(); err != nil {
		return nil, Disk(err)
	}
	p := &partial{path: j.Folder.Partial(j.SHA256), sum: sha256.New()}
	var err error
	if p.f, err = os.OpenFile(p.path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, Disk(err)
	}
	if b, err := os.ReadFile(p.path + ".json"); err == nil {
		_ = json.Unmarshal(b, &p.from) // else the server is asked for the rest without a condition, and the checksum decides
	}
	st, err := p.f.Stat()
	if err == nil && st.Size() > 0 {
		err = read(ctx, p.sum, p.f, st.Size(), j.Show)
		p.size, p.joined = st.Size(), true
	}
	if err != nil {
		p.close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, Disk(err)
	}
	return p, nil
}

func (p *partial) close() { _ = p.f.Close() } // what counts was synced before

// is reports whether what is there is whole.
func (p *partial) is(sum string) bool { return p.hex() == sum }

func (p *partial) hex() string { return hex.EncodeToString(p.sum.Sum(nil)) }

// Write appends.
func (p *partial) Write(b []byte) (int, error) {
	n, err := p.f.Write(b)
	_, _ = p.sum.Write(b[:n]) // a hash takes everything
	p.size += int64(n)
	return n, err
}

// restart throws away what is there.
func (p *partial) restart() error {
	p.sum.Reset()
	p.size, p.from, p.joined = 0, Validators{}, false
	if err := p.f.Truncate(0); err != nil {
		return err
	}
	_, err := p.f.Seek(0, 0)
	return err
}

// remove gives the space back.
func (p *partial) remove() {
	_ = os.Remove(p.path)
	p.forget()
}

// forget removes what was noted beside it.
func (p *partial) forget() { _ = os.Remove(p.path + ".json") }

// conditions ask for the rest, if it is still of the same file.
func (p *partial) conditions(address string) http.Header {
	h := http.Header{}
	if p.size == 0 {
		return h
	}
	h.Set("Range", "bytes="+strconv.FormatInt(p.size, 10)+"-")
	if p.from.URL != address {
		return h // another server's names mean nothing to this one
	}
	switch {
	case p.from.ETag != "" && !strings.HasPrefix(p.from.ETag, "W/"):
		h.Set("If-Range", p.from.ETag)
	case p.from.Modified != "":
		h.Set("If-Range", p.from.Modified)
	}
	return h
}

// note keeps what the server says of the file, for the time after a break.
func (p *partial) note(address string, resp *http.Response) error {
	now := ValidatorsOf(address, resp)
	if now == p.from {
		return nil
	}
	p.from = now
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(now); err != nil {
		return err
	}
	return os.WriteFile(p.path+".json", b.Bytes(), 0o600)
}

// rest reads the answer to a question for the rest: how long the whole file is
// (0: unknown), and whether the answer has the whole in place of the rest.
func (p *partial) rest(resp *http.Response) (total int64, whole bool, err error) {
	if resp.StatusCode == http.StatusOK {
		return max(resp.ContentLength, 0), true, nil
	}
	var first, last int64
	var size string
	got := resp.Header.Get("Content-Range")
	if _, err := fmt.Sscanf(got, "bytes %d-%d/%s", &first, &last, &size); err != nil || first != p.size {
		return 0, false, &Failure{Kind: Passing, Text: fmt.Sprintf("the server answers with range %.60q when asked for the rest from %d", got, p.size)}
	}
	total, err = strconv.ParseInt(size, 10, 64)
	if err != nil { // an asterisk: the server does not know either
		total = 0
	}
	return total, false, nil
}
