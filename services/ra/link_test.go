package ra

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mdlayher/ndp"

	"helperd/plan"
	"helperd/services"
	"helperd/timeline"
)

func TestLinkSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, generationOf(advertised()), eth0(helper))
		got := r.wait(time.Minute)
		if len(got) != 3 || got[0].to != allNodes || got[1].at.Sub(got[0].at) != 16*time.Second || got[2].at.Sub(got[1].at) != 16*time.Second {
			t.Fatalf("sent in the first minute: %v", got)
		}
		m := got[0].ra
		if !m.ManagedConfiguration || !m.OtherConfiguration || m.RouterLifetime != 0 || m.CurrentHopLimit != 0 || m.RouterSelectionPreference != ndp.Medium {
			t.Errorf("advertisement %+v", m)
		}
		same(t, options(m), "mac 02:00:00:00:00:02", "mtu 1.4µs", "prefix fd00:7::/64 720h0m0s 168h0m0s L", "dns fd00:7::2 30m0s", "search ocp4.example.com 30m0s")

		r.hear(&ndp.RouterSolicitation{}, neighbour(1))
		if got = r.wait(time.Second); len(got) != 1 || got[0].to != neighbour(1) {
			t.Errorf("a solicitation was answered by %v", got)
		}
		r.hear(&ndp.RouterSolicitation{}, netip.IPv6Unspecified())
		if got = r.wait(time.Second); len(got) != 1 || got[0].to != allNodes {
			t.Errorf("a solicitation without a source was answered by %v", got)
		}

		r.end()
		got = r.take()
		if len(got) != 1 || got[0].ra.RouterLifetime != 0 || !got[0].ra.ManagedConfiguration {
			t.Fatalf("sent at the end: %v", got)
		}
		same(t, options(got[0].ra), "mac 02:00:00:00:00:02", "mtu 1.4µs", "prefix fd00:7::/64 720h0m0s 168h0m0s L")
	})
}

// The helper is a default route while it holds the gateway's address, and its end is told at once.
func TestGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := advertised()
		n.Gateway = helper
		n.Routes = []plan.Route{{To: netip.MustParsePrefix("fd00:100::/48"), Via: helper}, {To: netip.MustParsePrefix("fd00:200::/48"), Via: n.Prefix.Addr().Next()}}
		g := generationOf(n)
		r := newRig(t, g, eth0(helper))
		m := r.wait(time.Second)[0].ra
		if m.RouterLifetime != 1800*time.Second || m.RouterSelectionPreference != ndp.High || m.CurrentHopLimit != 64 {
			t.Errorf("the gateway says %+v", m)
		}
		if !slices.Contains(options(m), "route fd00:100::/48 30m0s") || len(m.Options) != 6 {
			t.Errorf("options %v", options(m))
		}
		elsewhere := eth0(lan.Addr().Next().Next().Next())
		r.update(g.expect([]*plan.Advertisement{&g.ra.Networks[0]}, elsewhere), elsewhere, false, time.Now())
		m = r.wait(3 * time.Second)[0].ra
		if m.RouterLifetime != 0 || !slices.Contains(options(m), "route fd00:100::/48 0s") || !slices.Contains(options(m), "dns fd00:7::2 30m0s") {
			t.Errorf("without the gateway's address: %+v %v", m, options(m))
		}
		r.follow(g, eth0(helper))
		r.wait(3 * time.Second)
		r.end()
		last := r.take()
		if m = last[len(last)-1].ra; m.RouterLifetime != 0 || !slices.Contains(options(m), "route fd00:100::/48 0s") {
			t.Errorf("the last one says %+v %v", m, options(m))
		}
	})
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := generationOf(advertised())
		r := newRig(t, g, eth0(helper))
		r.wait(time.Minute)
		r.follow(generationOf(advertised()), eth0(helper))
		if got := r.wait(10 * time.Second); len(got) != 0 {
			t.Errorf("nothing changed, and it sent %v", got)
		}

		// Another server and zone; a network more.
		n := advertised()
		n.DNS, n.Search = []netip.Addr{lan.Addr().Next()}, []string{"new.example.com"}
		r.follow(generationOf(n, plan.Advertisement{Prefix: second, Interface: "eth0", Managed: true}), eth0(helper))
		got := r.wait(time.Minute)
		if len(got) != 3 {
			t.Fatalf("the change was told by %v", got)
		}
		for _, s := range got {
			same(t, options(s.ra), "mac 02:00:00:00:00:02", "mtu 1.4µs", "prefix fd00:7::/64 720h0m0s 168h0m0s L", "prefix fd00:8::/64 720h0m0s 168h0m0s L",
				"dns fd00:7::1 30m0s", "dns fd00:7::2 0s", "search new.example.com 30m0s", "search ocp4.example.com 0s")
		}
		if got = r.wait(11 * time.Minute); len(got) == 0 || len(got[0].ra.Options) != 6 {
			t.Errorf("later it says %v", got)
		}

		// The second network leaves the file, and this machine has no address in it; the first has no advertisements any more.
		off := generationOf()
		off.known = []netip.Prefix{lan}
		r.follow(off, eth0(helper))
		got = r.wait(time.Minute)
		if len(got) != 3 {
			t.Fatalf("the end was told by %v", got)
		}
		if m := got[2].ra; m.RouterLifetime != 0 || !m.ManagedConfiguration {
			t.Errorf("at the end it says %+v", m)
		}
		same(t, options(got[2].ra), "mac 02:00:00:00:00:02", "prefix fd00:8::/64 0s 0s L", "dns fd00:7::1 0s", "search new.example.com 0s")
		if !r.finished() {
			t.Error("the link does not end")
		}
		r.hear(&ndp.RouterSolicitation{}, netip.IPv6Unspecified())
		r.mute.Store(true)
		r.end()
		if got := r.take(); len(got) != 0 {
			t.Errorf("afterwards it sent %v", got)
		}
	})
}

// The network of a cable that was pulled is told anew when it is back.
func TestCarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := generationOf(advertised())
		r := newRig(t, g, eth0(helper))
		r.wait(time.Minute)
		dark := eth0(helper)
		dark.Carrier = false
		r.follow(g, dark)
		if got := r.wait(10 * time.Second); len(got) != 0 {
			t.Errorf("without a cable it sent %v", got)
		}
		r.follow(g, eth0(helper))
		if got := r.wait(time.Minute); len(got) != 3 {
			t.Errorf("with a cable it sent %v", got)
		}
		r.end()
	})
}

func TestFloodOfSolicitations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, generationOf(advertised()), eth0(helper))
		r.wait(time.Minute)
		b, _ := ndp.MarshalMessage(&ndp.RouterSolicitation{})
		started := time.Now()
		for n := range 10000 {
			r.in <- packet{b, 255, neighbour(n), allRouters}
		}
		if took := time.Since(started); took < 9*time.Second {
			t.Errorf("10,000 were read within %s: the limit does not hold", took)
		}
		all, some := 0, 0
		for _, s := range r.wait(10 * time.Second) {
			if s.to == allNodes {
				all++
			} else {
				some++
			}
		}
		if all < 3 || all > 8 || some > 1000 {
			t.Errorf("%d for all and %d for one", all, some)
		}
		r.end()
	})
}

func TestForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, generationOf(advertised()), eth0(helper))
		status := func() services.Status {
			var st services.Status
			r.status(&st, time.Now())
			return st
		}
		own := &ndp.RouterAdvertisement{Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: ownMAC[:]}}}
		r.hear(own, ownAddr)
		if st := status(); len(st.Notes) != 0 || st.Problem != "" {
			t.Errorf("it takes itself for another: %+v", st)
		}

		good := &ndp.RouterAdvertisement{ManagedConfiguration: true, RouterLifetime: 30 * time.Minute}
		r.hear(good, other)
		st := status()
		if len(st.Notes) != 1 || st.Problem != "" || !strings.Contains(st.Notes[0], "fe80::ff:fe00:9 (MAC 02:00:00:00:00:09), advertises on eth0: flags M, a default route for 30m0s") {
			t.Errorf("the gateway's advertisement: %+v", st)
		}

		bad := &ndp.RouterAdvertisement{RouterLifetime: time.Hour, Options: []ndp.Option{
			&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: otherMAC[:]}, ndp.NewMTU(1500),
			&ndp.PrefixInformation{Prefix: lan.Addr(), PrefixLength: 64, OnLink: true, AutonomousAddressConfiguration: true, ValidLifetime: time.Hour, PreferredLifetime: time.Hour},
			&ndp.PrefixInformation{Prefix: second.Addr(), PrefixLength: 64, OnLink: true, ValidLifetime: time.Hour, PreferredLifetime: time.Hour},
		}}
		rogue := netip.MustParseAddr("fe80::bad")
		r.hear(bad, rogue)
		st = status()
		for _, want := range []string{
			"another router, fe80::bad (MAC 02:00:00:00:00:09), advertises on eth0: flags none, a default route for 1h0m0s, MTU 1500, prefix fd00:7::/64 on the link for addresses by SLAAC, prefix fd00:8::/64 on the link",
			"M is off", "machines make addresses of their own in fd00:7::/64", "prefix fd00:8::/64 is no network of the file", "its MTU is 1500, and the file says 1400",
		} {
			if !strings.Contains(st.Problem, want) {
				t.Errorf("no %q in %q", want, st.Problem)
			}
		}
		for n := range 100 { // it changes its mind
			bad.OtherConfiguration = n%2 == 0
			r.hear(bad, rogue)
		}
		events := r.events.Since(0)
		if len(events) != 2 || events[1].Kind != timeline.RAForeign || events[1].MAC != otherMAC || events[1].Addr != rogue || events[1].Repeated != 0 || !events[1].Trouble() {
			t.Errorf("events %+v", events)
		}

		// Who is not heard any more is forgotten, and invented routers cost no memory.
		r.wait(heardFor)
		if st = status(); st.Problem != "" || len(st.Notes) != 0 {
			t.Errorf("still there: %+v", st)
		}
		for n := range 500 {
			r.hear(bad, neighbour(n))
		}
		if len(r.routers) != maxRouters {
			t.Errorf("%d routers are kept", len(r.routers))
		}
		r.end()
	})
}

// Which default routes contradict the file.
func TestDefaultRoutes(t *testing.T) {
	for _, c := range []struct {
		name    string
		gateway string
		own     bool
		want    string
	}{
		{"no gateway", "", false, "the file names no gateway"},
		{"the helper", "fd00:7::2", true, "the gateway is fd00:7::2"},
		{"another machine", "fd00:7::1", false, ""},
		{"this one", "fe80::ff:fe00:9", false, ""},
		{"another one", "fe80::1", false, "the gateway is fe80::1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := advertised()
			n.Gateway = netip.Addr{}
			if c.gateway != "" {
				n.Gateway = netip.MustParseAddr(c.gateway)
			}
			g := generationOf(n)
			e := g.expect([]*plan.Advertisement{&g.ra.Networks[0]}, eth0(helper))
			if e.gateway != c.own {
				t.Errorf("gateway %t", e.gateway)
			}
			r := router{addr: other, managed: true, lifetime: time.Hour}
			if got := strings.Join(r.wrong(&e), ";"); got == "" != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("wrong: %q", got)
			}
		})
	}
}

// Other routers are asked for now and then, and the answer to Check leaves to nobody else.
func TestLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, generationOf(advertised()), eth0(helper))
		r.wait(time.Minute)
		for range 601 {
			r.look(time.Now())
			time.Sleep(time.Second)
		}
		asked := 0
		for _, s := range r.take() {
			if s.ra == nil && s.to == allRouters {
				asked++
			}
		}
		if asked != 3 {
			t.Errorf("asked %d times in ten minutes", asked)
		}
		b, _ := ndp.MarshalMessage(&ndp.RouterSolicitation{})
		r.in <- packet{b, 255, ownAddr, ownAddr}
		synctest.Wait()
		if got := r.take(); len(got) != 1 || got[0].to != ownAddr {
			t.Errorf("Check was answered by %v", got)
		}
		r.end()
	})
}
