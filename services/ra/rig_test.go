package ra

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/ndp"
	"golang.org/x/net/ipv6"

	"helperd/internal/guard"
	"helperd/internal/netif"
	"helperd/plan"
	"helperd/services"
	"helperd/timeline"
)

// wire is a link on which a test is all the others.
type wire struct {
	in     chan packet
	closed chan struct{}

	mu   sync.Mutex
	sent []sent
}

type packet struct {
	b        []byte
	hops     int
	from, to netip.Addr
}

type sent struct {
	at time.Time
	to netip.Addr
	ra *ndp.RouterAdvertisement // nil: a solicitation
}

func (w *wire) ReadRaw(b []byte) (int, *ipv6.ControlMessage, netip.Addr, error) {
	select {
	case p := <-w.in:
		return copy(b, p.b), &ipv6.ControlMessage{HopLimit: p.hops, Dst: p.to.AsSlice()}, p.from.WithZone("eth0"), nil
	case <-w.closed:
		return 0, nil, netip.Addr{}, os.ErrClosed
	}
}

func (w *wire) WriteTo(m ndp.Message, _ *ipv6.ControlMessage, to netip.Addr) error {
	b, err := ndp.MarshalMessage(m)
	if err != nil {
		return err
	}
	if m, err = ndp.ParseMessage(b); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	ra, _ := m.(*ndp.RouterAdvertisement)
	w.sent = append(w.sent, sent{time.Now(), to, ra})
	return nil
}

func (w *wire) SetWriteDeadline(time.Time) error { return nil }

func (w *wire) Close() error { close(w.closed); return nil }

// take gives what was sent since it was called last.
func (w *wire) take() []sent {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.sent
	w.sent = nil
	return out
}

var (
	ownMAC   = plan.MAC{2, 0, 0, 0, 0, 2}
	ownAddr  = netip.MustParseAddr("fe80::ff:fe00:2")
	otherMAC = plan.MAC{2, 0, 0, 0, 0, 9}
	other    = netip.MustParseAddr("fe80::ff:fe00:9")
	lan      = netip.MustParsePrefix("fd00:7::/64")
	second   = netip.MustParsePrefix("fd00:8::/64")
	helper   = netip.MustParseAddr("fd00:7::2")
)

func eth0(addrs ...netip.Addr) *netif.Interface {
	return &netif.Interface{Name: "eth0", Index: 2, MAC: ownMAC, Up: true, Carrier: true, Addrs: append(addrs, ownAddr)}
}

// rig is a link that runs inside a bubble of synctest.
type rig struct {
	*link
	*wire
	t      *testing.T
	events *timeline.Timeline
	end    func()
}

func newRig(t *testing.T, g *generation, i *netif.Interface) *rig {
	t.Helper()
	events := timeline.New(time.Now)
	s := New(services.Host{
		Guard: guard.New(func(name string, v any, stack []byte) { t.Errorf("%s: %v\n%s", name, v, stack) }),
		Fuse:  &guard.Fuse{}, Events: events, Log: discard,
	})
	s.addrs.Store(&[]netif.Interface{*i})
	w := &wire{in: make(chan packet), closed: make(chan struct{})}
	r := &rig{link: newLink(s, i, ownAddr, w), wire: w, t: t, events: events}
	r.follow(g, i)
	ctx, cancel := context.WithCancel(t.Context())
	r.start(ctx)
	r.end = func() { cancel(); r.link.end() }
	return r
}

// follow is what Serve does when the file changed.
func (r *rig) follow(g *generation, i *netif.Interface) {
	places, _ := resolve(g.ra, []netif.Interface{*i})
	var networks []*plan.Advertisement
	if len(places) > 0 {
		networks = places[0].networks
	}
	r.update(g.expect(networks, i), i, true, time.Now())
}

// hear makes the link receive a message of another machine.
func (r *rig) hear(m ndp.Message, from netip.Addr) {
	r.t.Helper()
	b, err := ndp.MarshalMessage(m)
	if err != nil {
		r.t.Fatal(err)
	}
	r.in <- packet{b, 255, from, allNodes}
	synctest.Wait()
}

// wait lets time pass and gives what was sent meanwhile.
func (r *rig) wait(d time.Duration) []sent {
	time.Sleep(d)
	synctest.Wait()
	return r.take()
}

func generationOf(networks ...plan.Advertisement) *generation {
	g := &generation{ra: &plan.RA{Networks: networks}}
	for _, n := range networks {
		g.known = append(g.known, n.Prefix)
	}
	return g
}

func advertised() plan.Advertisement {
	return plan.Advertisement{
		Prefix: lan, Managed: true, Gateway: netip.MustParseAddr("fd00:7::1"), MTU: 1400, DNS: []netip.Addr{helper}, Search: []string{"ocp4.example.com"},
	}
}

// options are the options of m by type, for people.
func options(m *ndp.RouterAdvertisement) (out []string) {
	for _, o := range m.Options {
		switch o := o.(type) {
		case *ndp.LinkLayerAddress:
			out = append(out, "mac "+o.Addr.String())
		case *ndp.MTU:
			out = append(out, "mtu "+time.Duration(o.MTU).String())
		case *ndp.PrefixInformation:
			text := "prefix " + netip.PrefixFrom(o.Prefix, int(o.PrefixLength)).String() + " " + o.ValidLifetime.String() + " " + o.PreferredLifetime.String()
			if o.OnLink {
				text += " L"
			}
			if o.AutonomousAddressConfiguration {
				text += " A"
			}
			out = append(out, text)
		case *ndp.RouteInformation:
			out = append(out, "route "+netip.PrefixFrom(o.Prefix, int(o.PrefixLength)).String()+" "+o.RouteLifetime.String())
		case *ndp.RecursiveDNSServer:
			out = append(out, "dns "+join(o.Servers)+" "+o.Lifetime.String())
		case *ndp.DNSSearchList:
			out = append(out, "search "+strings.Join(o.DomainNames, " ")+" "+o.Lifetime.String())
		}
	}
	return out
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
}
