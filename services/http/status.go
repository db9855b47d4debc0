package http

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"helperd/services"
)

// Status implements services.Service.
func (s *Service) Status() services.Status {
	st := s.state.Load()
	if st == nil || !st.plan.HTTP.Enabled {
		return services.Status{State: services.Disabled}
	}
	out := services.Status{State: services.Up, Counters: s.counts()}
	var problems []string
	for _, sock := range st.sockets {
		l := sock.Status()
		out.Listeners = append(out.Listeners, l)
		if !l.Bound {
			problems = append(problems, fmt.Sprintf("%s %s is held by %s; stop that one, and helperd takes the port",
				l.Network, l.Address, cmp.Or(l.Holder, "another process")))
		}
	}
	if problems = append(problems, st.missing()...); len(problems) > 0 {
		out.State, out.Problem = services.Degraded, strings.Join(problems, "\n")
	}
	return out
}

// missing names what cannot be sent now, where it should be, and what to do.
func (st *state) missing() []string {
	var out []string
	note := func(what, file, remedy string) {
		if err := readable(file); err != nil {
			out = append(out, fmt.Sprintf("%s: %v; %s", what, err, remedy))
		}
	}
	h := &st.plan.HTTP
	for i := range h.Files {
		if f := &h.Files[i]; f.File == "" {
			out = append(out, fmt.Sprintf("%s: only its url %s is known; download it and write its path as `file:`", f.Path, f.URL))
		} else {
			note(f.Path, f.File, "put the file there, readable for helperd; it is served at once")
		}
	}
	for i := range h.Ignition {
		g := &h.Ignition[i]
		if _, err := readIgnition(g); err != nil {
			out = append(out, fmt.Sprintf("%s: %v (%s)", g.Path, err, g.File))
		}
	}
	if h.Root != "" {
		note("http.root", h.Root, "make the folder; it is served at once")
	}
	return append(out, missingLoaders(st.plan)...)
}

// readable says why file cannot be read. The permission of the open file counts, not its mode bits.
func readable(file string) error {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			return fmt.Errorf("%s: %w", pe.Path, pe.Err)
		}
		return err
	}
	return f.Close()
}

// Check asks every bound socket over the wire, as a node would.
func (s *Service) Check(ctx context.Context) error {
	st := s.state.Load()
	if st == nil || !st.plan.HTTP.Enabled {
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
	var d net.Dialer
	if !server.Addr().IsUnspecified() {
		// So that no packet leaves the machine if the address is not here.
		d.LocalAddr = &net.TCPAddr{IP: server.Addr().AsSlice(), Zone: server.Addr().Zone()}
	}
	conn, err := d.DialContext(ctx, "tcp", server.String())
	if err != nil {
		return fmt.Errorf("%w; is the address on this machine?", err)
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
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
