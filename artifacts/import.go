package artifacts

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"helperd/artifacts/fetch"
	"helperd/plan"
)

// Outcome of one file of an import.
type Outcome string

// The outcomes.
const (
	Taken     Outcome = "imported"
	Already   Outcome = "already there"
	NotWanted Outcome = "not wanted"
	Refused   Outcome = "failed" // Detail says why
)

// Imported is what became of one file of an import.
type Imported struct {
	Name    string  `json:"name"` // as it was sent; it is never a path of this machine
	Size    int64   `json:"size"`
	SHA256  string  `json:"sha256,omitempty"`
	Outcome Outcome `json:"outcome"`
	Detail  string  `json:"detail,omitempty"`
}

// Import reads a tar archive and takes every file whose content the plan, or a
// stream JSON further in front, asks for. Names and modes in the archive mean
// nothing, but that a stream JSON may be called after its artifact. The error
// says why the archive could not be read to its end; what was taken before stays.
func (s *Store) Import(ctx context.Context, archive io.Reader) ([]Imported, error) {
	out := []Imported{}
	if err := s.folder.Make(); err != nil {
		return out, fetch.Disk(err)
	}
	in := &importing{Store: s, also: map[string]bool{}}
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return out, fmt.Errorf("read the archive: %w", err)
		case ctx.Err() != nil:
			return out, ctx.Err()
		case h.Typeflag != tar.TypeReg:
			continue
		}
		file, err := in.take(h, r)
		out = append(out, file)
		if err != nil {
			return out, err
		}
	}
}

// importing is one import.
type importing struct {
	*Store
	also map[string]bool // checksums that a stream asks for which came with this import
}

// take reads one file of the archive; the error is the archive's.
func (in *importing) take(h *tar.Header, r io.Reader) (Imported, error) {
	file := Imported{Name: h.Name, Size: h.Size, Outcome: NotWanted}
	if strings.HasSuffix(h.Name, ".json") && h.Size <= largestStream {
		b, err := io.ReadAll(r)
		if err != nil {
			return file, fmt.Errorf("read the archive: %w", err)
		}
		if in.takeStream(&file, b) {
			return file, nil
		}
		r = bytes.NewReader(b)
	}
	if free, err := in.folder.Free(); err != nil || free < h.Size {
		refused := fetch.Full(h.Size-free, h.Size)
		if err != nil {
			refused = fetch.Disk(err)
		}
		file.Outcome, file.Detail = Refused, refused.Text
		return file, nil // the reader passes over what was not read
	}
	tmp, err := os.CreateTemp(filepath.Join(in.opt.Dir, "partial"), fetch.ImportPrefix)
	if err != nil {
		file.Outcome, file.Detail = Refused, fetch.Disk(err).Text
		return file, nil
	}
	defer func() {
		_ = tmp.Close() // what counts was synced
		_ = os.Remove(tmp.Name())
	}()
	sum := sha256.New()
	w := &careful{w: tmp}
	if _, err := io.Copy(io.MultiWriter(sum, w), r); err != nil {
		return file, fmt.Errorf("read the archive: %w", err)
	}
	file.SHA256 = hex.EncodeToString(sum.Sum(nil))
	switch _, ready := in.ready.Load(file.SHA256); {
	case ready:
		file.Outcome = Already
		return file, nil
	case !in.wants(file.SHA256):
		return file, nil
	}
	if w.err == nil {
		w.err = in.folder.Keep(tmp, tmp.Name(), file.SHA256)
	}
	if w.err != nil {
		file.Outcome, file.Detail = Refused, fetch.Disk(w.err).Text
		return file, nil
	}
	in.arrived(file.SHA256, file.Size)
	in.brought(file.SHA256)
	file.Outcome = Taken
	return file, nil
}

// careful remembers why the disk does not take more, and goes on: the rest of
// the archive is still read.
type careful struct {
	w   io.Writer
	err error
}

func (c *careful) Write(b []byte) (int, error) {
	if c.err == nil {
		_, c.err = c.w.Write(b)
	}
	return len(b), nil
}

func (in *importing) wants(sum string) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.also[sum] || in.items[sum] != nil
}

// brought ends the download of what an import has brought.
func (s *Store) brought(sum string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.items[sum]
	switch {
	case it == nil:
	case it.cancel != nil:
		it.cancel() // and finished sees that it is there
	default:
		s.present(it)
		s.settle()
	}
}

// takeStream reports whether b is a stream JSON, and takes it if the plan asks for one by url.
func (in *importing) takeStream(file *Imported, b []byte) bool {
	parsed, err := plan.ParseStream(b)
	if err != nil {
		return false
	}
	sum := sha256.Sum256(b)
	file.SHA256 = hex.EncodeToString(sum[:])
	src, why := in.streamFor(file)
	if why != "" {
		file.Detail = why
		return true
	}
	in.mu.Lock()
	st := in.streams[src.Origin]
	same := st != nil && st.sum == file.SHA256
	in.mu.Unlock()
	for _, arch := range src.Arches {
		a := parsed.Arches[arch]
		for _, o := range []plan.Origin{a.Kernel, a.Initramfs, a.Rootfs, a.Metal, a.ISO} {
			in.also[o.SHA256] = true
		}
	}
	switch {
	case same:
		file.Outcome = Already
	case st == nil:
		file.Detail = "the configuration has just changed; import it again"
	default:
		if err := in.streamArrived(src.Origin, st, b, fetch.Validators{}); err != nil {
			file.Outcome, file.Detail = Refused, err.Error()
			return true
		}
		file.Outcome = Taken
	}
	return true
}

// streamFor finds the stream of the plan that a file is for: the one with its
// checksum, the one of the artifact that it is called after, or the only one.
func (in *importing) streamFor(file *Imported) (src *plan.StreamSource, why string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.plan == nil {
		return nil, "no configuration is applied yet"
	}
	var open []*plan.StreamSource // without a checksum
	for i := range in.plan.Streams {
		switch o := &in.plan.Streams[i]; {
		case o.Origin.URL == "":
		case o.Origin.SHA256 == "":
			open = append(open, o)
		case equalFold(o.Origin.SHA256, file.SHA256):
			return o, ""
		}
	}
	for _, o := range open {
		if path.Base(file.Name) == o.Artifact+".json" {
			return o, ""
		}
	}
	switch len(open) {
	case 0:
		return nil, "it is a stream JSON, and no artifact has a stream by url with this content"
	case 1:
		return open[0], ""
	}
	return nil, "it is a stream JSON, and several artifacts have one; call the file " + open[0].Artifact + ".json if it is that one's"
}
