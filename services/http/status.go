package http

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"helperd/internal/files"
	"helperd/internal/socket"
	"helperd/services"
)

// Status implements services.Service.
func (s *Service) Status() services.Status {
	st := s.state.Load()
	if st == nil || !st.plan.HTTP.Enabled {
		return services.Status{State: services.Disabled}
	}
	out := services.Status{State: services.Up, Counters: s.counts()}
	for _, sock := range st.sockets {
		out.Listen(sock.Status())
	}
	for _, problem := range st.missing(s) {
		out.Degrade(problem)
	}
	if st.tlsProblem != nil {
		out.Degrade("no HTTPS: " + st.tlsProblem.Error())
	}
	if problem := s.downloads.problem.Load(); problem != nil {
		out.Degrade(*problem)
	}
	return out
}

// missing names what s cannot send now, or soon, where it should be, and what to do.
func (st *state) missing(s *Service) []string {
	var out []string
	h := &st.plan.HTTP
	for i := range h.Files {
		f := &h.Files[i]
		if f.OnDemand {
			continue // nobody has asked for it, or who asks is told
		}
		if file, err := s.host.Artifacts.Path(f); err != nil {
			out = append(out, err.Error())
		} else if f.Inside != "" {
			if _, _, err := s.vendor.Loader(file, f.Inside); err != nil {
				out = append(out, fmt.Sprintf("%s: %v", file, err))
			}
		} else if err := files.Regular(file); err != nil {
			out = append(out, fmt.Sprintf("%s: %v; put the file there, readable for helperd; it is served at once", f.Path, err))
		}
	}
	for i := range h.Ignition {
		out = append(out, s.host.Nodes.Ignition.Problems(&h.Ignition[i])...)
	}
	if h.Root != "" {
		if err := files.Folder(h.Root); err != nil {
			out = append(out, fmt.Sprintf("http.root: %v; make the folder, readable for helperd; it is served at once", err))
		}
	}
	return append(out, missingLoaders(st.plan)...)
}

// askFor is how long Check waits for an answer.
const askFor = 2 * time.Second

// Check asks every bound socket over the wire, as a node would. A server that
// refuses because its caps are reached is one that lives, and an address that is
// not on this machine yet is not asked.
func (s *Service) Check(ctx context.Context) error {
	st := s.state.Load()
	if st == nil || !st.plan.HTTP.Enabled {
		return nil
	}
	for _, sock := range st.sockets {
		if !sock.Status().Bound {
			continue
		}
		own := sock.Key.Addr.Addr()
		if err := ask(ctx, sock.Key.Addr, st.secure[sock]); err != nil && s.clients.Room(own, st.known(own)) == nil {
			return fmt.Errorf("%s does not answer: %w", sock.Key.Addr, err)
		}
	}
	return nil
}

func ask(ctx context.Context, server netip.AddrPort, secure bool) error {
	conn, err := socket.Ask(ctx, server, askFor)
	if socket.Lacking(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if secure {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // we ask ourselves: that there is an answer counts
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", checkPath, server); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "HTTP/1.1 204 ") {
		return fmt.Errorf("unexpected answer %q", line)
	}
	return nil
}
