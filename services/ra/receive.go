package ra

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mdlayher/ndp"

	"helperd/plan"
	"helperd/timeline"
)

const (
	// largest is longer than any message on a link with jumbo frames.
	largest = 9216
	// maxMessages are read a second and link; more stay with the kernel, which drops them.
	maxMessages = 1000
)

// read takes in what machines and routers say until the link is closed.
func (l *link) read(ctx context.Context) error {
	b := make([]byte, largest)
	var second time.Time
	for n := 0; ; n++ {
		size, cm, from, err := l.conn.ReadRaw(b)
		if err != nil {
			if l.closed.Load() || ctx.Err() != nil {
				return nil
			}
			return err
		}
		l.s.host.Fuse.Check()
		now := time.Now()
		if now.Sub(second) >= time.Second {
			second, n = now, 0
		}
		if n >= maxMessages {
			select {
			case <-time.After(second.Add(time.Second).Sub(now)):
			case <-ctx.Done():
			}
		}
		hops, to := 0, netip.Addr{}
		if cm != nil {
			hops = cm.HopLimit
			to, _ = netip.AddrFromSlice(cm.Dst)
		}
		l.receive(b[:size], hops, from, to, now)
	}
}

// receive takes in one message.
func (l *link) receive(b []byte, hops int, from, to netip.Addr, now time.Time) {
	m, err := parse(b, hops, from)
	switch {
	case err != nil:
		l.s.count.invalid.Add(1)
	case m.from == l.addr && to == l.addr && m.ra == nil:
		l.answerCheck()
	case l.s.own(&m): // heard back, or another program of this machine
	case m.ra == nil:
		l.s.count.solicitations.Add(1)
		l.solicited(m.from, now)
	default:
		l.s.count.foreign.Add(1)
		l.heard(&m, now)
	}
}

// solicited answers a machine soon, unless this one is about to be no router any more.
func (l *link) solicited(from netip.Addr, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.expect.empty() {
		l.schedule.solicited(now, from)
		l.poke()
	}
}

// heard keeps what another router says, and tells it when it is new.
func (l *link) heard(m *message, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.expect.empty() {
		return
	}
	l.forget(now)
	k := slices.IndexFunc(l.routers, func(r *router) bool { return r.addr == m.from })
	if k < 0 {
		if len(l.routers) == maxRouters {
			return
		}
		k = len(l.routers)
		l.routers = append(l.routers, &router{})
	}
	r := l.routers[k]
	r.hear(m, now)
	wrong := r.wrong(&l.expect)
	if said := strings.Join(append(wrong, r.says()), "\n"); said != r.said && now.Sub(r.told) >= toldEvery {
		r.said, r.told = said, now
		l.s.host.Events.Emit(timeline.Event{Kind: timeline.RAForeign, Addr: r.addr, MAC: r.mac, Detail: l.describe(r, wrong)})
	}
}

// describe is the router for people.
func (l *link) describe(r *router, wrong []string) string {
	text := "another router, " + r.who() + ", advertises on " + l.name + ": " + r.says()
	if len(wrong) > 0 {
		text += "; that contradicts helper.yaml: " + strings.Join(wrong, "; ")
	}
	return text
}

// forget drops routers that are not heard any more.
func (l *link) forget(now time.Time) {
	l.routers = slices.DeleteFunc(l.routers, func(r *router) bool { return now.Sub(r.heard) >= heardFor })
}

// look asks from time to time who else is a router here.
func (l *link) look(now time.Time) {
	l.mu.Lock()
	ask := !l.expect.empty() && (l.looked.IsZero() || now.Sub(l.looked) >= lookEvery)
	if ask {
		l.looked = now
	}
	mac := l.mac
	l.mu.Unlock()
	if ask {
		l.send(solicitation(mac), allRouters, &l.s.count.asked)
	}
}

func solicitation(mac plan.MAC) *ndp.RouterSolicitation {
	m := &ndp.RouterSolicitation{}
	if !mac.IsZero() {
		m.Options = []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: mac[:]}}
	}
	return m
}
