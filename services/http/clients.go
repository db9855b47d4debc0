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

// Why an address gets no further connection.
const (
	fullOfOne = "this address has 256 connections open; close some"
	fullOfAll = "all connections for machines that are no nodes are taken; see who holds them: ss -tn"
)

// full says why a, which the plan knows or not, gets no further connection; empty: it gets one.
func (c *clients) full(a netip.Addr, known bool) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fullLocked(a, known)
}

func (c *clients) fullLocked(a netip.Addr, known bool) string {
	most := maxStrangers
	if known {
		most = maxConnections
	}
	switch {
	case c.perAddr[a] >= maxPerClient:
		return fullOfOne
	case c.total >= most:
		return fullOfAll
	}
	return ""
}

// enter counts one more connection of a, or says why not.
func (c *clients) enter(a netip.Addr, known bool) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if why := c.fullLocked(a, known); why != "" {
		return why
	}
	c.total++
	c.perAddr[a]++
	return ""
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
