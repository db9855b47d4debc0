package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	bufferSize = 256 << 10
	// breath is how long Sum pauses after each buffer: at most 250 MB a second are read.
	breath = time.Millisecond
)

// Verify reads the file at path and compares its checksum. It gives which
// version of the file that is true of. The error is a *Failure, or ctx's.
func Verify(ctx context.Context, path, sum string, show Watcher) (Identity, error) {
	r, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not block
	if err != nil {
		return Identity{}, unreadable(err)
	}
	defer func() { _ = r.Close() }()
	st, err := r.Stat()
	if err != nil {
		return Identity{}, unreadable(err)
	}
	before, err := identityOf(st)
	if err != nil {
		return Identity{}, unreadable(err)
	}
	h := sha256.New()
	if err := read(ctx, h, r, before.Size, show); err != nil {
		return Identity{}, unreadable(err)
	}
	if after, err := Identify(path); err != nil || after != before {
		return Identity{}, &Failure{Kind: Passing, Text: "the file changed while it was verified"}
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sum {
		return Identity{}, mismatch(got, sum, "the file on the helper", "replace the file or correct the sha256 in the configuration")
	}
	return before, nil
}

// read adds what r has to h and shows how far it is; size is the whole.
func read(ctx context.Context, h hash.Hash, r io.Reader, size int64, show Watcher) error {
	buf := make([]byte, bufferSize)
	for done := int64(0); ; {
		n, err := r.Read(buf)
		_, _ = h.Write(buf[:n]) // a hash takes everything
		done += int64(n)
		show.Reads(done, size)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// Sum is the checksum of a file, read slowly: others use the disk.
func Sum(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h, buf := sha256.New(), make([]byte, bufferSize)
	for ctx.Err() == nil {
		n, err := f.Read(buf)
		_, _ = h.Write(buf[:n]) // a hash takes everything
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
		time.Sleep(breath)
	}
	return "", ctx.Err()
}
