package iso

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// Image is the ISO of a node. It is the file of the release but for its patches.
// It has a position of its own and is for one reader.
type Image struct {
	file    *os.File
	size    int64
	changed time.Time
	tag     string
	patches []patch // in order, not overlapping
	at      int64
}

// identity tells one version of a file from the next.
type identity struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64 // nanoseconds
}

func identify(st fs.FileInfo) identity {
	id := identity{size: st.Size(), mtime: st.ModTime().UnixNano()}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		id.dev, id.ino, id.ctime = sys.Dev, sys.Ino, time.Unix(sys.Ctim.Unix()).UnixNano()
	}
	return id
}

// tagOf names one content: the same ISO with the same patches.
func tagOf(id identity, patches []patch) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %d %d\n", id.dev, id.ino, id.size, id.mtime)
	for _, p := range patches {
		_ = binary.Write(h, binary.LittleEndian, [2]int64{p.offset, int64(len(p.data))}) // a hash takes all
		h.Write(p.data)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Size is the size of the ISO in bytes.
func (m *Image) Size() int64 { return m.size }

// Changed is when the ISO of the release was last written to.
func (m *Image) Changed() time.Time { return m.changed }

// Tag names this content: whenever a byte of it changes, so does the tag. It tells nothing of the content.
func (m *Image) Tag() string { return m.tag }

// Close implements io.Closer.
func (m *Image) Close() error { return m.file.Close() }

// Seek implements io.Seeker.
func (m *Image) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += m.at
	case io.SeekEnd:
		offset += m.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start of the ISO")
	}
	m.at = offset
	return offset, nil
}

// Read implements io.Reader.
func (m *Image) Read(b []byte) (int, error) {
	if m.at >= m.size {
		return 0, io.EOF
	}
	data, n := m.next(int64(len(b)))
	if data != nil {
		n = int64(copy(b, data))
		m.at += n
		return int(n), nil
	}
	got, err := m.file.ReadAt(b[:n], m.at)
	m.at += int64(got)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // it became shorter
	}
	return got, err
}

// next is what comes at the position: the bytes of a patch, or, when data is
// nil, n bytes of the file; both at most limit.
func (m *Image) next(limit int64) (data []byte, n int64) {
	limit = min(limit, m.size-m.at)
	for _, p := range m.patches {
		switch {
		case m.at >= p.end():
		case m.at >= p.offset:
			data = p.data[m.at-p.offset:]
			return data[:min(int64(len(data)), limit)], 0
		default:
			return nil, min(limit, p.offset-m.at)
		}
	}
	return nil, limit
}

// Send writes n bytes from the position on. What is not patched is handed to w
// as a part of a file, which a connection sends without copying it.
func (m *Image) Send(w io.Writer, n int64) (sent int64, err error) {
	for sent < n && m.at < m.size && err == nil {
		data, length := m.next(n - sent)
		var did int64
		if data != nil {
			var k int
			k, err = w.Write(data)
			did = int64(k)
		} else if _, err = m.file.Seek(m.at, io.SeekStart); err == nil {
			did, err = io.CopyN(w, m.file, length)
		}
		m.at += did
		sent += did
	}
	return sent, err
}
