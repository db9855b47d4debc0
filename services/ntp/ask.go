package ntp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"helperd/services/ntp/packet"
)

const (
	askTries = 3                      // a packet may be lost
	askFor   = 300 * time.Millisecond // how long one try waits
)

var errNoTime = errors.New("the server answers that it has no time to give")

// ask asks the server of this machine at that address for the time. Asked from
// its own address, a server that is not on this machine is not reached: no packet leaves.
func ask(ctx context.Context, server netip.AddrPort) error {
	var d net.Dialer
	if a := server.Addr(); !a.IsUnspecified() {
		d.LocalAddr = &net.UDPAddr{IP: a.AsSlice(), Zone: a.Zone()}
	}
	conn, err := d.DialContext(ctx, "udp", server.String())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for range askTries {
		if err = askOnce(conn); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func askOnce(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(askFor)); err != nil {
		return err
	}
	request := make([]byte, packet.HeaderLen)
	request[0] = 4<<3 | packet.ModeClient
	cookie := rand.Uint64()
	binary.BigEndian.PutUint64(request[40:], cookie)
	if _, err := conn.Write(request); err != nil {
		return err
	}
	reply := make([]byte, 512)
	for {
		n, err := conn.Read(reply)
		if err != nil {
			return err
		}
		p := reply[:n]
		if n < packet.HeaderLen || binary.BigEndian.Uint64(p[24:]) != cookie {
			continue // late, of the try before
		}
		if leap, mode := p[0]>>6, p[0]&7; mode != packet.ModeServer {
			return fmt.Errorf("the answer is of mode %d", mode)
		} else if stratum := p[1]; stratum == 0 && string(p[12:16]) == "RATE" {
			return nil // it is alive, and asked too often
		} else if leap == packet.Unsynchronised || stratum == 0 || stratum > 15 {
			return errNoTime
		}
		return nil
	}
}
