package lb

import (
	"context"
	"net/netip"
	"time"

	"helperd/plan"
	"helperd/services/lb/check"
	"helperd/services/lb/table"
	"helperd/timeline"
)

// rampStep is how often the weight of a server in slow start rises.
const rampStep = time.Second

// Serve accepts and probes until ctx ends; then open connections are closed.
func (s *Service) Serve(ctx context.Context) error {
	defer func(daemon context.Context) {
		if daemon.Err() != nil { // no Serve will come
			s.runtime.Close()
		}
	}(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.runtime.Serve(ctx)
	s.host.Guard.Loop(ctx, "lb observer", s.observe)
	s.host.Guard.Loop(ctx, "lb slow start", s.ramp)
	s.mu.Lock()
	s.serving = ctx
	s.attach()
	s.monitor.Apply(ctx, s.table)
	s.mu.Unlock()
	return s.engine.Run(ctx, s.halt)
}

// halt is called while the workers still run: whoever waits for a command of theirs gets it done.
func (s *Service) halt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving = nil
	s.monitor.Stop()
	for _, l := range s.listeners {
		l.live = false
		if l.cancel != nil {
			l.cancel()
			l.cancel = nil
		}
	}
}

// attach makes the workers accept from sockets that are new. Those whose port
// is held by another process follow when they are bound. The caller holds mu.
func (s *Service) attach() {
	for a, l := range s.listeners {
		if l.live || l.cancel != nil {
			continue
		}
		if fds := l.socket.FDs(); fds != nil {
			l.live = true
			s.engine.Attach(a, fds)
			continue
		}
		var ctx context.Context
		ctx, l.cancel = context.WithCancel(s.serving)
		s.host.Guard.Go("lb wait "+a.String(), func() { s.attachLate(ctx, a, l) })
	}
}

func (s *Service) attachLate(ctx context.Context, a netip.AddrPort, l *listener) {
	if l.socket.Wait(ctx) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if fds := l.socket.FDs(); ctx.Err() == nil && fds != nil {
		l.live = true
		s.engine.Attach(a, fds)
	}
}

// drop lets the workers accept what waits at a socket that is no longer asked
// for, and then gives it back. The caller holds mu.
func (s *Service) drop(a netip.AddrPort, l *listener) {
	if l.cancel != nil {
		l.cancel()
	}
	if !l.live {
		l.socket.Release()
		return
	}
	done := s.engine.Detach(a)
	s.host.Guard.Go("lb drop "+a.String(), func() {
		<-done
		l.socket.Release()
	})
}

// ramp raises the weights of servers in slow start.
func (s *Service) ramp(ctx context.Context) error {
	tick := time.NewTicker(rampStep)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			s.mu.Lock()
			t := s.table
			s.mu.Unlock()
			for _, g := range t.Groups {
				if g.Ramping() {
					g.Update(now)
				}
			}
		}
	}
}

// changed tells of a change of a server's state.
func (s *Service) changed(c check.Change) {
	name := c.Group.Name + "/" + c.Server.Name
	s.host.Log.Info("server changed state", "server", name, "node", c.Server.Config.Node,
		"from", c.From.String(), "to", c.To.String(), "check", c.Detail)
	tell := func(k timeline.Kind, detail string) {
		s.host.Events.Emit(timeline.Event{Kind: k, Node: c.Server.Config.Node, Addr: c.Server.Address.Addr(), Detail: detail})
	}
	if c.To == table.Retired {
		tell(timeline.LBRetired, name+": "+retiredHint)
		return
	}
	if c.From == table.Retired && c.To == table.Up {
		tell(timeline.LBRecalled, name+": a master does not answer, and bootstrap does: connections may go to it again; look at the masters")
	}
	switch {
	case c.To == table.Up:
		tell(timeline.LBUp, name)
		s.evident(c.Server)
	case c.From == table.Up:
		tell(timeline.LBDown, name+": "+c.Detail)
	}
}

// retiredHint says what people may do about a bootstrap server that has retired.
const retiredHint = "all masters have answered for 10 minutes and the API of bootstrap is down: it takes no connections any more; remove the node from the file when you like"

// evident notes that a node's own system answers.
func (s *Service) evident(m table.Member) {
	port := m.Address.Port()
	if m.Config.Node == "" || port != table.PortAPI && port != table.PortMachineConfig {
		return
	}
	if n := s.nodeOf(m); n != nil {
		s.host.Nodes.Seen(n, answers[port])
	}
}

var answers = map[uint16]string{
	table.PortAPI:           "its 6443 answers",
	table.PortMachineConfig: "its 22623 answers",
}

func (s *Service) nodeOf(m table.Member) *plan.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.NodeNamed(m.Config.Node)
}
