package tftp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"helperd/boot"
	"helperd/internal/files"
	"helperd/internal/socket"
	"helperd/services"
	"helperd/services/tftp/packet"
)

// Status implements services.Service.
func (s *Service) Status() services.Status {
	st := s.state.Load()
	if st == nil || !st.plan.TFTP.Enabled {
		return services.Status{State: services.Disabled}
	}
	out := services.Status{State: services.Up, Counters: s.counts()}
	for _, sock := range st.sockets {
		out.Listen(sock.Status())
	}
	for _, problem := range st.missing(&s.vendor) {
		out.Degrade(problem)
	}
	return out
}

// missing names what cannot be sent now, where it should be, and what to do.
func (st *state) missing(vendor *boot.Vendor) []string {
	var out []string
	for _, f := range st.plan.TFTP.Files {
		if f.File == "" {
			continue // package http says so of every artifact
		}
		if f.Inside != "" {
			if _, _, err := vendor.Loader(f.File, f.Inside); err != nil {
				out = append(out, fmt.Sprintf("%s: %v", f.File, err))
			}
			continue
		}
		if err := files.Regular(f.File); err != nil {
			out = append(out, fmt.Sprintf("%s: %v; put the file there, readable for helperd; it is served at once", f.Path, err))
		}
	}
	if root := st.plan.TFTP.Root; root != "" {
		if err := files.Folder(root); err != nil {
			out = append(out, fmt.Sprintf("tftp.root: %v; make the folder, readable for helperd; it is served at once", err))
		}
	}
	return append(out, missingLoaders(st.plan)...)
}

// checkPath is a name that no file has; asking for it leaves no trace.
const checkPath = "/.helperd-check"

const (
	askFor   = 2 * time.Second        // how long Check waits for an answer
	askAgain = 100 * time.Millisecond // and after which it asks again
)

// Check asks every bound socket for a file, as a node would. That there is
// none is an answer too. An address that is not on this machine yet is not asked.
func (s *Service) Check(ctx context.Context) error {
	st := s.state.Load()
	if st == nil || !st.plan.TFTP.Enabled {
		return nil
	}
	for _, sock := range st.sockets {
		if !sock.Status().Bound {
			continue
		}
		if err := ask(ctx, sock.Key.Addr); err != nil {
			return err
		}
	}
	return nil
}

func ask(ctx context.Context, server netip.AddrPort) error {
	from := net.UDPAddr{}
	if !server.Addr().IsUnspecified() {
		from.IP = server.Addr().AsSlice() // so that no packet leaves the machine if the address is not here
		from.Zone = server.Addr().Zone()
	}
	conn, err := net.ListenUDP("udp", &from)
	if socket.Lacking(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ask %s: %w", server, err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	request := append([]byte{0, packet.OpRead}, checkPath+"\x00octet\x00"...)
	var answer [maxRequest]byte
	for {
		if _, err := conn.WriteToUDPAddrPort(request, server); err != nil {
			return fmt.Errorf("ask %s: %w", server, err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(askAgain)); err != nil {
			return err
		}
		n, err := conn.Read(answer[:])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil: // a packet may be lost
		case err != nil:
			return fmt.Errorf("%s does not answer: %w", server, err)
		case n < packet.HeaderLen || binary.BigEndian.Uint16(answer[:]) != packet.OpError:
			return fmt.Errorf("%s gave %d bytes that are no TFTP answer", server, n)
		default:
			return nil
		}
	}
}
