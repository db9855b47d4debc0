package ntp

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"helperd/internal/socket"
	"helperd/services"
	"helperd/services/ntp/clock"
)

// Status implements services.Service.
func (s *Service) Status() services.Status {
	st := s.state.Load()
	if st == nil || !st.plan.Enabled {
		return services.Status{State: services.Disabled}
	}
	out := services.Status{State: services.Up, Counters: s.counts()}
	bound := false
	for _, sock := range st.sockets {
		l := sock.Status()
		bound = bound || l.Bound
		l.Holder = s.holder(l)
		if l.Bound || !s.Served(sock.Key.Addr) {
			out.Listen(l)
			continue
		}
		out.Listeners = append(out.Listeners, l)
		out.Notes = append(out.Notes, fmt.Sprintf("udp %s is held by %s, which serves time there; helperd takes the port when it is free; ntp: {enabled: false} says that this is meant",
			l.Address, l.Holder))
	}
	if kept := s.kept.Load(); bound && !kept.Synchronised {
		out.Notes = append(out.Notes, fmt.Sprintf("nothing keeps the clock of this machine (says %s): its time is served at stratum %d, and nodes agree with each other, not with the world; give chronyd servers that it reaches",
			cmp.Or(kept.By, "nobody"), kept.Stratum))
	}
	return out
}

// holder names who holds the port of l. Without privileges the kernel tells no
// more than the user, of a chronyd too that answers at its command port.
func (s *Service) holder(l socket.Status) string {
	switch {
	case l.Bound || strings.Contains(l.Holder, "(pid "):
		return l.Holder
	case s.kept.Load().By == clock.Chronyd:
		return "chronyd"
	}
	return cmp.Or(l.Holder, "another process")
}

// Check asks every bound socket for the time, as a node would. An address that
// is not on this machine yet is not asked.
func (s *Service) Check(ctx context.Context) error {
	st := s.state.Load()
	if st == nil {
		return nil
	}
	for _, sock := range st.sockets {
		if !sock.Status().Bound {
			continue
		}
		if err := ask(ctx, sock.Key.Addr); err != nil && !socket.Lacking(err) {
			return fmt.Errorf("%s does not answer: %w", sock.Key.Addr, err)
		}
	}
	return nil
}
