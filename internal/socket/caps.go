package socket

import (
	"net/netip"
	"sync"
)

// Caps counts what is open by client address, so that none takes it all.
type Caps struct {
	total, perAddr int // the most

	mu    sync.Mutex
	open  int
	addrs map[netip.Addr]int
}

// NewCaps allows so much in total, and to one address.
func NewCaps(total, perAddr int) *Caps {
	return &Caps{total: total, perAddr: perAddr, addrs: map[netip.Addr]int{}}
}

// Enter counts one more of a, or reports false when there are too many.
func (c *Caps) Enter(a netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open >= c.total || c.addrs[a] >= c.perAddr {
		return false
	}
	c.open++
	c.addrs[a]++
	return true
}

// Leave undoes one Enter.
func (c *Caps) Leave(a netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if c.addrs[a]--; c.addrs[a] == 0 {
		delete(c.addrs, a)
	}
}

// Open is how many are counted now.
func (c *Caps) Open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}
