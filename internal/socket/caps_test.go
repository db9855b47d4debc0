package socket

import (
	"net/netip"
	"testing"
)

func TestCaps(t *testing.T) {
	c := NewCaps(4, 3, 2)
	a, b, d := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
	for i, tt := range []struct {
		addr  netip.Addr
		known bool
		want  error
	}{
		{a, false, nil},
		{a, false, nil},
		{a, true, ErrShare},
		{b, false, nil},
		{b, false, ErrFull}, // what is left is for those who are known
		{b, true, nil},
		{d, true, ErrFull},
	} {
		if room, got := c.Room(tt.addr, tt.known), c.Enter(tt.addr, tt.known); got != tt.want || room != got {
			t.Errorf("%d: %v, and before that %v, want %v", i, got, room, tt.want)
		}
	}
	c.Leave(a)
	if err := c.Enter(d, true); err != nil {
		t.Errorf("the place that was left: %v", err)
	}
	for _, left := range []netip.Addr{a, b, b, d} {
		c.Leave(left)
	}
	if c.Open() != 0 || len(c.addrs) != 0 {
		t.Errorf("left behind: %d, of %d addresses", c.Open(), len(c.addrs))
	}
}
