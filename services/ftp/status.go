package ftp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"helperd/internal/files"
	"helperd/internal/socket"
	"helperd/services"
)

// Status implements services.Service. Artifacts and loaders that are missing
// are told by package http.
func (s *Service) Status() services.Status {
	st := s.state.Load()
	if st == nil || !st.plan.FTP.Enabled {
		return services.Status{State: services.Disabled}
	}
	out := services.Status{State: services.Up, Counters: s.counts()}
	for _, sock := range st.sockets {
		out.Listen(sock.Status())
	}
	if root := st.plan.FTP.Root; root != "" && root != st.plan.HTTP.Root {
		if err := files.Folder(root); err != nil {
			out.Degrade(fmt.Sprintf("ftp.root: %v; make the folder, readable for helperd; it is served at once", err))
		}
	}
	return out
}

// askFor is how long Check waits for an answer.
const askFor = 2 * time.Second

// Check connects to every bound socket, as a node would. An address that is
// not on this machine yet is not asked.
func (s *Service) Check(ctx context.Context) error {
	st := s.state.Load()
	if st == nil {
		return nil
	}
	for _, sock := range st.sockets {
		if !sock.Status().Bound {
			continue
		}
		if err := ask(ctx, sock.Key.Addr); err != nil {
			return fmt.Errorf("%s does not answer: %w", sock.Key.Addr, err)
		}
	}
	return nil
}

func ask(ctx context.Context, server netip.AddrPort) error {
	conn, err := socket.Ask(ctx, server, askFor)
	if socket.Lacking(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "220 ") {
		return fmt.Errorf("unexpected answer %q", line)
	}
	_, err = io.WriteString(conn, "QUIT\r\n")
	return err
}
