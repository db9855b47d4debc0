package ntp

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"helperd/services/ntp/clock"
	"helperd/services/ntp/packet"
)

const (
	// lookEvery is the time between two readings of how the clock is kept.
	lookEvery = 2 * time.Second
	// othersEvery is the time between two questions to another server of this
	// machine: those that limit their clients allow one in eight seconds.
	othersEvery = 16 * time.Second
	// drift is by how much a clock goes wrong in a second between them (RFC 5905, PHI).
	drift = 15e-6
)

// look reads how well the clock is kept and makes it what is served.
func (s *Service) look(ctx context.Context) {
	now, err := s.clock.Read(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.host.Log.Error("how well the clock is kept cannot be read", "err", err)
		}
		return
	}
	if before := s.kept.Swap(&now); before.By != now.By || before.Synchronised != now.Synchronised {
		s.host.Log.Info("clock", "by", now.By, "synchronised", now.Synchronised, "stratum", now.Stratum)
	}
	s.host.Nodes.HelperClock(now.Synchronised)
	h := headerOf(&now, s.precision)
	s.header.Store(&h)
}

// headerOf is what answers say of a clock in the next moments.
func headerOf(st *clock.State, precision int8) packet.Header {
	dispersion := st.Dispersion
	if st.Synchronised {
		dispersion += time.Duration(drift * float64(lookEvery))
	}
	return packet.Header{
		Leap: st.Leap, Stratum: st.Stratum, Precision: precision, RefID: st.RefID,
		RootDelay: packet.Short(st.Delay), RootDispersion: packet.Short(dispersion),
		RefTime: packet.TimeOf(st.RefTime.Unix(), int64(st.RefTime.Nanosecond())),
	}
}

// survey asks, as a machine would, where machines are told to ask.
func (s *Service) survey(ctx context.Context, given []netip.AddrPort) {
	served := map[netip.AddrPort]bool{}
	for _, at := range given {
		served[at] = ask(ctx, at) == nil
	}
	if ctx.Err() == nil {
		s.served.Store(&served)
	}
}

// watch looks and surveys until ctx ends.
func (s *Service) watch(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var seen sight
	var asked time.Time
	for {
		s.look(ctx)
		if now := s.sight(); now.state != nil && (now != seen || now.own || time.Since(asked) >= s.others) {
			s.survey(ctx, now.state.plan.Given)
			seen, asked = now, time.Now()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.news:
		case <-tick.C:
		}
	}
}

// sight is what decides whether it is time for a survey.
type sight struct {
	state *state
	bound int  // sockets
	own   bool // every address is answered by this server: it may be asked as often as we like
}

func (s *Service) sight() sight {
	st := s.state.Load()
	if st == nil {
		return sight{}
	}
	now, bound := sight{state: st}, map[netip.AddrPort]bool{}
	for _, sock := range st.sockets {
		if sock.Status().Bound {
			now.bound++
			bound[sock.Key.Addr] = true
		}
	}
	now.own = !slices.ContainsFunc(st.plan.Given, func(at netip.AddrPort) bool { return !bound[at] })
	return now
}
