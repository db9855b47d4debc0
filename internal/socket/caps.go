package socket

import (
	"errors"
	"net/netip"
	"sync"
)

// Why there is no room for one more.
var (
	ErrShare = errors.New("the address has its share")
	ErrFull  = errors.New("all places are taken")
)

// Caps counts what is open by client address, so that none takes it all.
type Caps struct {
	total, strangers, perAddr int // the most

	mu    sync.Mutex
	open  int
	addrs map[netip.Addr]int
}

// NewCaps allows so much in total, so much of it before strangers get no more, and
// so much to one address.
func NewCaps(total, strangers, perAddr int) *Caps {
	return &Caps{total: total, strangers: strangers, perAddr: perAddr, addrs: map[netip.Addr]int{}}
}

// Room is ErrShare or ErrFull when there is no room for one more of a, who is known or a stranger.
func (c *Caps) Room(a netip.Addr, known bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.room(a, known)
}

func (c *Caps) room(a netip.Addr, known bool) error {
	most := c.strangers
	if known {
		most = c.total
	}
	switch {
	case c.addrs[a] >= c.perAddr:
		return ErrShare
	case c.open >= most:
		return ErrFull
	}
	return nil
}

// Enter counts one more of a, unless Room says why not.
func (c *Caps) Enter(a netip.Addr, known bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.room(a, known); err != nil {
		return err
	}
	c.open++
	c.addrs[a]++
	return nil
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
