package engine

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"helperd/services/tftp/packet"
)

const soon = 3 * time.Second

// client takes what a transfer sends, packet by packet.
type client struct {
	t    *testing.T
	conn *net.UDPConn
	tid  netip.AddrPort // of the transfer, from its first packet
}

// next takes one packet; nil: none within d.
func (c *client) next(d time.Duration) []byte {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(d))
	b := make([]byte, 65536)
	n, from, err := c.conn.ReadFromUDPAddrPort(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.tid = from
	return b[:n]
}

// data takes a DATA packet of a given number.
func (c *client) data(number uint16) []byte {
	c.t.Helper()
	p := c.next(soon)
	if len(p) < 4 || p[1] != packet.OpData || binary.BigEndian.Uint16(p[2:]) != number {
		c.t.Fatalf("got %.40q, want DATA %d", p, number)
	}
	return p[4:]
}

func (c *client) ack(n uint16) {
	c.t.Helper()
	if _, err := c.conn.WriteToUDPAddrPort([]byte{0, packet.OpACK, byte(n >> 8), byte(n)}, c.tid); err != nil {
		c.t.Fatal(err)
	}
}

// fetchFrom takes blocks of 512 bytes up to the last, from a given one on.
func (c *client) fetchFrom(number uint16) {
	c.t.Helper()
	for ; ; number++ {
		n := len(c.data(number))
		c.ack(number)
		if n < 512 {
			return
		}
	}
}

// silence fails if a packet comes within d.
func (c *client) silence(d time.Duration) {
	c.t.Helper()
	if p := c.next(d); p != nil {
		c.t.Fatalf("got %.40q, want silence", p)
	}
}
