package tftp

import (
	"container/list"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	cacheBudget  = 64 << 20 // bytes of all cached files
	cacheLargest = 4 << 20  // bytes of one cached file: boot loaders are smaller, kernels are not
	// settled is the age of a change from which on the next one shows in the
	// times of the file: kernels before 6.13 and some file systems count them coarsely.
	settled = 2 * time.Second
)

// identity tells one version of a file from the next.
type identity struct {
	dev, ino     uint64
	size         int64
	mtime, ctime syscall.Timespec
}

func identify(st fs.FileInfo) (id identity, ok bool) {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}, false
	}
	return identity{sys.Dev, sys.Ino, sys.Size, sys.Mtim, sys.Ctim}, true
}

// cache holds small files by their identity, so that two hundred nodes that
// ask for one boot loader read it once. What was not used for longest goes first.
type cache struct {
	mu     sync.Mutex
	budget int64
	settle time.Duration
	used   int64
	order  list.List // of *cached, the last used in front
	byID   map[identity]*list.Element
}

type cached struct {
	id   identity
	load func() ([]byte, error)
}

func newCache(budget int64) *cache {
	return &cache{budget: budget, settle: settled, byID: map[identity]*list.Element{}}
}

// get gives the bytes of f, which st describes; ok is false when f is not to
// be cached: it is large, or has just been written to. It leaves f open.
func (c *cache) get(f *os.File, st fs.FileInfo) (b []byte, ok bool, err error) {
	id, ok := identify(st)
	if !ok || id.size > min(cacheLargest, c.budget) || time.Since(time.Unix(id.ctime.Unix())) < c.settle {
		return nil, false, nil
	}
	b, err = c.entry(id, f).load()
	if err != nil {
		c.drop(id)
	}
	return b, true, err
}

// entry finds or makes the entry of id. Whoever comes first reads, the others wait for it.
func (c *cache) entry(id identity, f *os.File) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byID[id]; e != nil {
		c.order.MoveToFront(e)
		return e.Value.(*cached)
	}
	for c.used+id.size > c.budget && c.order.Len() > 0 {
		c.remove(c.order.Back())
	}
	e := &cached{id: id, load: sync.OnceValues(func() ([]byte, error) {
		b := make([]byte, id.size)
		_, err := io.ReadFull(io.NewSectionReader(f, 0, id.size), b)
		return b, err
	})}
	c.byID[id] = c.order.PushFront(e)
	c.used += id.size
	return e
}

func (c *cache) drop(id identity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byID[id]; e != nil {
		c.remove(e)
	}
}

func (c *cache) remove(e *list.Element) {
	id := e.Value.(*cached).id
	c.order.Remove(e)
	delete(c.byID, id)
	c.used -= id.size
}
