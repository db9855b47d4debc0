package socket

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// Ask connects to the TCP server of this machine at addr, for a question that is
// answered within that time or not at all. Asked from its own address, a server
// that is not on this machine is not reached by way of others: no packet leaves.
// See Lacking for errors that say nothing of the server.
func Ask(ctx context.Context, addr netip.AddrPort, within time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var d net.Dialer
	if !addr.Addr().IsUnspecified() {
		d.LocalAddr = &net.TCPAddr{IP: addr.Addr().AsSlice(), Zone: addr.Addr().Zone()}
	}
	conn, err := d.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}
