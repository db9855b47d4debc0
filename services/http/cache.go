package http

import (
	"io/fs"
	nethttp "net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxCached = 64 << 10 // bytes of a file that is cached
	cacheSize = 16 << 20 // bytes of all of them
	// settled is how old a file must be. One that is written again before the clock of the
	// file system has moved looks unchanged.
	settled = 2 * time.Second
)

// cache holds small files of the user's own, by URL path, with their headers.
// Each request looks whether the file is what it was: that costs one system
// call, and a replaced file is seen at once. What decides who gets what (boot scripts,
// ignition files) is never in it.
type cache struct {
	mu    sync.RWMutex
	files map[string]*cachedFile
	bytes int
}

// cachedFile is immutable.
type cachedFile struct {
	file  string // on this machine
	stamp stamp
	body  []byte

	etag, length, kind, modified []string // values of headers
}

// stamp tells versions of a file apart.
type stamp struct {
	dev, inode       uint64
	size             int64
	modified, change unix.Timespec
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}
}

// find gives the file at the URL path, if it is cached and still the same.
func (c *cache) find(path string) *cachedFile {
	c.mu.RLock()
	f := c.files[path]
	c.mu.RUnlock()
	if f == nil {
		return nil
	}
	// A symbolic link on the way is followed: to the inode that was read within the folder, or it is another file.
	var st unix.Stat_t
	if unix.Stat(f.file, &st) == nil && stampOf(&st) == f.stamp {
		return f
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files[path] == f {
		delete(c.files, path)
		c.bytes -= len(f.body)
	}
	return nil
}

// keep reads the open file f for the next request, if it is small and has settled.
func (c *cache) keep(path, file, kind string, f *os.File, info fs.FileInfo) {
	sys, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Size() > maxCached {
		return
	}
	changed := time.Unix(sys.Ctim.Unix())
	if age := time.Since(changed); age < settled {
		return
	}
	body := make([]byte, info.Size())
	if n, _ := f.ReadAt(body, 0); n < len(body) {
		return // it is being written
	}
	e := &cachedFile{
		file: file, body: body,
		stamp: stamp{uint64(sys.Dev), sys.Ino, sys.Size, unix.Timespec(sys.Mtim), unix.Timespec(sys.Ctim)},
		etag:  []string{etag(info)}, length: []string{strconv.Itoa(len(body))}, kind: []string{kind},
		modified: []string{info.ModTime().UTC().Format(nethttp.TimeFormat)},
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files == nil || c.bytes+len(body) > cacheSize {
		c.files, c.bytes = map[string]*cachedFile{}, 0
	}
	if old := c.files[path]; old != nil {
		c.bytes -= len(old.body)
	}
	c.files[path] = e
	c.bytes += len(body)
}

// conditions are the headers that make of a GET something else than the whole file.
var conditions = []string{"Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since"}

var acceptRanges = []string{"bytes"}

// serveCached sends a whole cached file. It reports false when the path is not
// cached or the request has conditions: then nothing is sent yet.
func (x *exchange) serveCached() bool {
	for _, name := range conditions {
		if len(x.r.Header[name]) > 0 {
			return false
		}
	}
	f := x.state.cache.find(x.path)
	if f == nil {
		return false
	}
	x.own, x.size = true, int64(len(f.body))
	h := x.w.Header()
	h["Accept-Ranges"], h["Content-Length"], h["Content-Type"], h["Etag"], h["Last-Modified"] = acceptRanges, f.length, f.kind, f.etag, f.modified
	if x.r.Method == nethttp.MethodHead {
		x.w.WriteHeader(nethttp.StatusOK)
		return true
	}
	x.conn.gather(len(f.body))
	if _, err := x.w.Write(f.body); err != nil {
		x.broke(x.size)
		return true
	}
	x.got(x.size)
	return true
}
