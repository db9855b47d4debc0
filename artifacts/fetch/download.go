package fetch

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
)

// A Job is one file to download.
type Job struct {
	URL    string
	SHA256 string // lower-case hex
	Folder *Folder
	Client *Client
	Show   Watcher
	Least  int64 // bytes that an attempt before found too few for the file; 0: none did
}

// A Watcher shows how far a job is and knows of the other jobs.
type Watcher interface {
	// Reads says that done of size bytes were read to compute a checksum.
	Reads(done, size int64)
	// Loads says that done of size bytes are on the disk; size 0: nobody knows.
	// It reports whether a second has passed since it did last.
	Loads(done, size int64) bool
	// Others says how many bytes other jobs will still write to the folder, and
	// whether any of them is not finished.
	Others() (claimed int64, waiting bool)
}

// Download is one attempt to bring the file to its place in the folder; what
// an earlier one has got stays. It gives the size in bytes. The error is a
// *Failure, or ctx's.
func Download(ctx context.Context, j *Job) (size int64, err error) {
	p, err := openPartial(ctx, j)
	if err != nil {
		return 0, err
	}
	defer p.close()
	if !p.is(j.SHA256) { // else the daemon ended between the last byte and the new name
		if err := j.complete(ctx, p); err != nil {
			return 0, err
		}
	}
	if !p.is(j.SHA256) && p.joined {
		// The parts may be of two files; whether the server has the right one shows the whole.
		if err := p.restart(); err != nil {
			return 0, Disk(err)
		}
		if err := j.complete(ctx, p); err != nil {
			return 0, err
		}
	}
	if got := p.hex(); got != j.SHA256 {
		p.remove()
		return 0, mismatch(got, j.SHA256, "what the server sends", "correct the sha256 or the url in the configuration")
	}
	if err := j.Folder.Keep(p.f, p.path, j.SHA256); err != nil {
		return 0, Disk(err)
	}
	p.forget()
	return p.size, nil
}

// complete asks for the rest and writes it.
func (j *Job) complete(ctx context.Context, p *partial) error {
	resp, err := j.Client.Get(ctx, j.URL, p.conditions(j.URL), http.StatusRequestedRangeNotSatisfiable)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return nil // the checksum says whether all is there
	}
	total, whole, err := p.rest(resp)
	if err != nil {
		return errors.Join(err, p.restart())
	}
	if whole && p.size > 0 {
		if err := p.restart(); err != nil {
			return Disk(err)
		}
	}
	j.Show.Loads(p.size, total)
	if err := j.room(p, cmp.Or(total, j.Least)-p.size); err != nil {
		return err
	}
	if err := p.note(j.URL, resp); err != nil {
		return Disk(err)
	}
	if err := j.copy(ctx, p, resp.Body, total); err != nil {
		return err
	}
	if total > 0 && p.size != total {
		return &Failure{Kind: Passing, Text: "the connection ended too early"}
	}
	return nil
}

// room makes sure that there is space for n more bytes of p.
func (j *Job) room(p *partial, n int64) error {
	free, err := j.Folder.Free()
	if err != nil {
		return Disk(err)
	}
	claimed, waiting := j.Show.Others()
	if free -= claimed; n <= free {
		return nil
	}
	f := Full(n-free, n)
	if waiting && p.size > 0 { // it cannot be completed now, and its space may complete another
		f.Need += p.size
		p.remove()
	}
	return f
}

// copy writes what comes, and shows how far it is. What it has written stays,
// unless the disk is full: then the leases need the space.
func (j *Job) copy(ctx context.Context, p *partial, body io.Reader, total int64) error {
	buf := make([]byte, bufferSize)
	for {
		n, readErr := body.Read(buf)
		if n > 0 {
			if _, err := p.Write(buf[:n]); err != nil {
				if fail := Disk(err); fail.Kind != DiskFull {
					return fail
				}
				return j.tooLarge(p, total, 0)
			}
			if j.Show.Loads(p.size, total) {
				if free, err := j.Folder.Free(); err == nil && free < -j.Folder.Reserve/2 {
					return j.tooLarge(p, total, -free)
				}
			}
		}
		switch {
		case errors.Is(readErr, io.EOF):
			return nil
		case readErr != nil:
			return j.Client.Broken(ctx, readErr)
		}
	}
}

// tooLarge gives the space back. Who does not say how long the file is is not asked
// again before there is space for more than what was written.
func (j *Job) tooLarge(p *partial, total, missing int64) error {
	p.remove()
	return Full(missing, max(total, p.size+1))
}
