package http

import (
	"net/netip"
	"sync"
)

// Caps on open connections.
const (
	maxConnections = 8192
	// maxStrangers leaves room for the machines of the plan, whoever else comes.
	maxStrangers = maxConnections - 1024
	maxPerClient = 256
)

// clients counts open connections by address.
type clients struct {
	mu      sync.Mutex
	perAddr map[netip.Addr]int
	total   int
}

func newClients() *clients { return &clients{perAddr: map[netip.Addr]int{}} }

// full reports whether a, which the plan knows or not, gets no further connection.
func (c *clients) full(a netip.Addr, known bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fullLocked(a, known)
}

func (c *clients) fullLocked(a netip.Addr, known bool) bool {
	most := maxStrangers
	if known {
		most = maxConnections
	}
	return c.total >= most || c.perAddr[a] >= maxPerClient
}

func (c *clients) enter(a netip.Addr, known bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fullLocked(a, known) {
		return false
	}
	c.total++
	c.perAddr[a]++
	return true
}

func (c *clients) leave(a netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.perAddr[a]--; c.perAddr[a] == 0 {
		delete(c.perAddr, a)
	}
}

func (c *clients) open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}
