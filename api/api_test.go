package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"helperd/artifacts"
	"helperd/plan"
	"helperd/services"
	"helperd/services/leasing"
	"helperd/timeline"
)

var start = time.Unix(1_800_000_000, 0).UTC()

// What the daemon says arrives as it was said.
func TestRoundTrip(t *testing.T) {
	f, c, _ := serve(t)
	ctx := t.Context()
	same := func(what string, got, want any, err error) {
		t.Helper()
		d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.IgnoreUnexported(timeline.Story{}))
		if err != nil || d != "" {
			t.Errorf("%s: %v\n%s", what, err, d)
		}
	}
	status, err := c.Status(ctx)
	same("status", status, f.Status(), err)
	rows, err := c.Nodes(ctx)
	same("nodes", rows, f.Nodes(), err)
	leases, err := c.Leases(ctx)
	same("leases", leases, f.Leases(), err)
	released, err := c.Release(ctx, "192.168.67.99")
	same("release", released, Released{f.Leases()}, err)
	q := leasing.Question{MAC: plan.MAC{2, 0xff, 0, 0, 0, 1}, ClientID: []byte("a\x00&"), Firmware: "ipxe", Relay: netip.MustParseAddr("fd00::1"), Network: netip.MustParsePrefix("fd00::/64")}
	explained, err := c.ExplainDHCP(ctx, &q)
	wantExplained, _ := f.ExplainDHCP(&q)
	same("explain", explained, wantExplained, err)
	files, err := c.Artifacts(ctx)
	same("artifacts", files, f.Artifacts(), err)
	imported, err := c.Import(ctx, strings.NewReader("archive"))
	same("import", imported, Import{Files: []artifacts.Imported{{Name: "archive", Outcome: artifacts.Taken}}}, err)
	text, err := c.Plan(ctx)
	same("plan", text, f.PlanText(), err)
	table, err := c.Balancer(ctx)
	same("balancer", string(table), `{"frontends":4}`, err)
	authority, err := c.CA(ctx)
	want, _ := f.CA()
	same("ca", authority, want, err)
	if err := c.Reload(ctx); err != nil {
		t.Error(err)
	}
	if err := c.Upgrade(ctx, "/new &"); err != nil || f.upgraded != "/new &" {
		t.Errorf("upgrade to %q: %v", f.upgraded, err)
	}
	if err := c.Reinstall(ctx, "worker-0"); err != nil || f.reinstalled != "worker-0" {
		t.Errorf("reinstall of %q: %v", f.reinstalled, err)
	}
	if until, err := c.Arm(ctx, "worker-0"); err != nil || !until.Equal(start) {
		t.Errorf("armed until %v: %v", until, err)
	}
	ordered, err := c.OrderServers(ctx, "git/g 1", "drain")
	same("order", ordered, Ordered{Name: "git/g 1", Order: "drain", Servers: []string{"back/git/g 1"}, Active: 2}, err)
	address, err := c.ISOURL(ctx, "worker-0")
	same("URL of an ISO", address, "http://192.168.67.2:8080/iso/TOKEN/worker-0.iso", err)
	iso, size, err := c.ISO(ctx, "worker-0")
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(iso)
	_ = iso.Close()
	same("ISO", string(content), strings.Repeat("iso", 100_000), err)
	same("size of the ISO", size, int64(300_000), nil)
	body, err := c.do(ctx, http.MethodGet, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	if b, _ := io.ReadAll(body); string(b) != "helperd_up 1\n" {
		t.Errorf("metrics %q", b)
	}
}

func TestRefusals(t *testing.T) {
	f, c, _ := serve(t)
	f.reload = errors.New("helper.yaml:3:1: first\nhelper.yaml:9:1: second")
	ctx := t.Context()
	_, _, noISO := c.ISO(ctx, "worker-9")
	_, noURL := c.ISOURL(ctx, "worker-9")
	_, noServer := c.OrderServers(ctx, "nobody", "drain")
	_, noOrder := c.OrderServers(ctx, "git/g1", "rest")
	_, noLease := c.Release(ctx, "192.168.67.1")
	_, noMachine := c.ExplainDHCP(ctx, &leasing.Question{})
	_, noSuchPath := ask[string](ctx, c, "/v2/status")
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"mistakes in the file", c.Reload(ctx), f.reload.Error()},
		{"node that is not there", c.Reinstall(ctx, "worker-9"), `unknown node "worker-9"`},
		{"arming a node that is not there", func() error { _, err := c.Arm(ctx, "worker-9"); return err }(), `unknown node "worker-9"`},
		{"name with a slash", c.Reinstall(ctx, "../../reload"), `unknown node "../../reload"`},
		{"ISO of a node that is not there", noISO, `unknown node "worker-9"`},
		{"ISO that cannot be made", noURL, "write iso:"},
		{"server that is not there", noServer, `no server "nobody"`},
		{"order that is none", noOrder, `"rest" is no order`},
		{"lease that is not there", noLease, `nobody has "192.168.67.1"`},
		{"machine without a MAC", noMachine, "no single machine"},
		{"service that is not there", c.Panic(ctx, "nfs"), `unknown service "nfs"`},
		{"path that is not there", noSuchPath, "404"},
	} {
		if !errors.Is(tt.err, ErrRefused) || errors.Is(tt.err, ErrUnreachable) || !strings.Contains(fmt.Sprint(tt.err), tt.want) {
			t.Errorf("%s: %v", tt.name, tt.err)
		}
	}
	resp, err := c.http.Get("http://helperd/v1/events?since=yesterday")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(b), "yesterday") {
		t.Errorf("since=yesterday: %s %s", resp.Status, b)
	}
}

func TestUnreachable(t *testing.T) {
	_, gone, stop := serve(t)
	stop()
	for name, c := range map[string]*Client{"gone": gone, "never there": NewClient(filepath.Join(t.TempDir(), "sock"))} {
		_, err := c.Status(t.Context())
		if !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "systemctl status helperd") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A daemon that takes connections and answers none is as good as none.
func TestSilentDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c := NewClient(path)
	c.transport.ResponseHeaderTimeout = 50 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := c.Status(ctx); !errors.Is(err, ErrUnreachable) || ctx.Err() != nil {
		t.Errorf("err = %v", err)
	}
}

func TestEvents(t *testing.T) {
	f, c, _ := serve(t)
	if ev, err := c.Events(t.Context(), 0); err != nil || ev == nil || len(ev) != 0 {
		t.Errorf("of a new daemon: %+v, %v", ev, err)
	}
	for _, k := range []timeline.Kind{timeline.ConfigApplied, timeline.DHCPAck, timeline.HTTPGet} {
		f.events.Emit(timeline.Event{Kind: k, MAC: plan.MAC{1}, Addr: netip.MustParseAddr("192.168.67.21"), Detail: "line\nline", Bytes: 1, Total: 2})
	}
	ev, err := c.Events(t.Context(), 1)
	if d := cmp.Diff(f.events.Since(1), ev, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateApproxTime(0)); err != nil || d != "" {
		t.Errorf("%v\n%s", err, d)
	}
}

func TestFollow(t *testing.T) {
	f, c, stop := serve(t)
	emit := func(detail string) { f.events.Emit(timeline.Event{Kind: timeline.DNSFirst, Detail: detail}) }
	emit("before since")
	emit("since")
	seen, ended := make(chan timeline.Event), make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		ended <- c.Follow(ctx, 1, func(e timeline.Event) error { seen <- e; return nil })
	}()
	for i, want := range []string{"since", "live\nin two lines", "last"} {
		if i > 0 {
			emit(want)
		}
		if e := <-seen; e.Detail != want || e.Seq != uint64(i+2) {
			t.Errorf("event %+v, want %q", e, want)
		}
	}
	stop() // the daemon goes
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("Follow goes on although the daemon is gone")
	}
}

func TestFollowEnds(t *testing.T) {
	f, c, _ := serve(t)
	f.events.Emit(timeline.Event{Kind: timeline.DNSFirst})
	enough := errors.New("enough")
	if err := c.Follow(t.Context(), 0, func(timeline.Event) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("err = %v, want that of the caller", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := c.Follow(ctx, 0, func(timeline.Event) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v after the caller went", err)
	}
}

// Who follows knows at once that it is connected, also while nothing happens.
func TestFollowAnswersAtOnce(t *testing.T) {
	_, c, _ := serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	for _, since := range []string{"0", "18446744073709551615"} {
		body, err := c.do(ctx, http.MethodGet, "/v1/events?follow=1&since="+since)
		if err != nil {
			t.Fatal(err)
		}
		_ = body.Close()
	}
}

func TestHealthy(t *testing.T) {
	for _, tt := range []struct {
		name  string
		file  FileState
		state services.State
		want  bool
	}{
		{"all is well", Applied, services.Up, true},
		{"switched off", Applied, services.Disabled, true},
		{"a port is held", Applied, services.Degraded, false},
		{"broken file", Broken, services.Up, false},
		{"much vanished", Waiting, services.Up, false},
	} {
		s := Status{Configuration: Configuration{State: tt.file}, Services: []Service{{Status: services.Status{State: tt.state}}}}
		if s.Healthy() != tt.want {
			t.Errorf("%s: healthy %v", tt.name, s.Healthy())
		}
	}
}
