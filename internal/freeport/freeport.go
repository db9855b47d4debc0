// Package freeport finds ports for the servers of tests.
package freeport

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
)

// The ports that are tried lie below those that Linux gives to clients: a free port
// of a client's range may be one's source a moment later, and the server is not heard. From 20,000 on tests of
// FTP have their passive ports.
const first, last = 10_000, 19_999

// On gives ip with a port that was free for both TCP and UDP when it was looked at.
func On(t testing.TB, ip string) netip.AddrPort {
	t.Helper()
	var err error
	for range 100 {
		addr := netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(first+rand.N(last-first+1)))
		if err = look(addr); err == nil {
			return addr
		}
	}
	t.Fatalf("no port of %s is free: %v", ip, err)
	return netip.AddrPort{}
}

func look(addr netip.AddrPort) error {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
	if err != nil {
		return err
	}
	defer l.Close()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return err
	}
	return c.Close()
}
