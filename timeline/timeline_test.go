package timeline

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"helperd/plan"
)

var worker = &plan.Node{Name: "w0", FQDN: "w0.ocp4.example.com", MACs: []plan.MAC{{2}}, IP: netip.MustParseAddr("10.0.0.21")}

func newTimeline() (*Timeline, *time.Time) {
	now := time.Unix(1_800_000_000, 0)
	t := New(func() time.Time { return now })
	t.Apply(&plan.Plan{Nodes: []*plan.Node{worker}})
	return t, &now
}

func TestEventsAreJoinedByMACAndAddress(t *testing.T) {
	tl, _ := newTimeline()
	tl.Emit(Event{Kind: DHCPAck, MAC: plan.MAC{2}})
	tl.Emit(Event{Kind: HTTPGet, Addr: worker.IP, File: "/artifacts/rhcos/kernel", Bytes: 10, Total: 10})
	tl.Emit(Event{Kind: DHCPRefused, MAC: plan.MAC{9}, Addr: netip.Addr{}})
	var got []string
	for _, e := range tl.Since(0) {
		got = append(got, fmt.Sprintf("%d %s %s", e.Seq, e.Kind, e.Node))
	}
	want := []string{"1 dhcp.ack w0.ocp4.example.com", "2 http.get w0.ocp4.example.com", "3 dhcp.refused "}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestStoryFollowsABoot(t *testing.T) {
	tl, now := newTimeline()
	step := func(e Event, want Stage) {
		t.Helper()
		*now = now.Add(5 * time.Second)
		tl.Emit(e)
		if got := tl.Story(worker.FQDN).Stage; got != want {
			t.Fatalf("after %s %s: stage %s, want %s", e.Kind, e.File, got, want)
		}
	}
	get := func(file string, n, of int64) Event {
		return Event{Kind: HTTPGet, Addr: worker.IP, File: file, Bytes: n, Total: of}
	}
	mac := plan.MAC{2}
	step(Event{Kind: DHCPDiscover, MAC: mac}, DHCP)
	step(Event{Kind: TFTPGet, Addr: worker.IP, File: "snponly.efi"}, Loader)
	step(Event{Kind: DHCPAck, MAC: mac}, Loader) // iPXE asks again: not a step back
	step(Event{Kind: BootScript, Node: worker.FQDN, Detail: "install"}, Loader)
	step(get("/artifacts/rhcos/kernel", 5, 5), Kernel)
	step(Event{Kind: DHCPAck, MAC: mac}, Kernel)
	step(get("/artifacts/rhcos/rootfs", 43, 100), Rootfs)
	if got := tl.Story(worker.FQDN).Progress; got != "rootfs 43 %" {
		t.Errorf("progress %q", got)
	}
	step(get("/artifacts/rhcos/rootfs", 100, 100), Rootfs)
	step(Event{Kind: IgnitionServed, Addr: worker.IP, File: "/ignition/x/worker.ign"}, Ignition)
	step(Event{Kind: BootScript, Node: worker.FQDN, Detail: "disk"}, Ignition)
	step(Event{Kind: NodeInstalled, Node: worker.FQDN}, Installed)
	step(Event{Kind: LBFirst, Addr: worker.IP}, Joining)
	step(Event{Kind: LBUp, Node: worker.FQDN}, Ready)
	step(Event{Kind: BootScript, Node: worker.FQDN, Detail: "install"}, Loader) // reinstalled
	if n := len(tl.Story(worker.FQDN).Passed); n != 1 {
		t.Errorf("the new boot shows %d stages of the old one", n-1)
	}
}

func TestHints(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []Event
		wait   time.Duration
		want   string
	}{
		{"on its way", []Event{{Kind: DHCPAck, MAC: plan.MAC{2}}}, 5 * time.Second, ""},
		{"no boot file", []Event{{Kind: DHCPAck, MAC: plan.MAC{2}}}, time.Minute, "first boot device"},
		{"stalled", []Event{{Kind: HTTPGet, Addr: worker.IP, File: "/a/rootfs", Bytes: 43, Total: 100}}, time.Minute, "rootfs 43 % stopped 1m0s ago"},
		{"refused", []Event{{Kind: DHCPAck, MAC: plan.MAC{2}}, {Kind: IgnitionRefused, Addr: worker.IP, Detail: "token has expired"}}, time.Second, "token has expired"},
		{"went on after trouble", []Event{{Kind: HTTPFailed, Addr: worker.IP, Detail: "broke off"}, {Kind: IgnitionServed, Addr: worker.IP}}, time.Second, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			tl, now := newTimeline()
			for _, e := range c.events {
				tl.Emit(e)
			}
			*now = now.Add(c.wait)
			got := tl.Story(worker.FQDN).Hint
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("hint %q, want %q", got, c.want)
			}
		})
	}
}

func TestRepetitionsFold(t *testing.T) {
	tl, now := newTimeline()
	for range 4 {
		tl.Emit(Event{Kind: DHCPRefused, MAC: plan.MAC{9}, Detail: "unknown"})
		*now = now.Add(4 * time.Second)
	}
	if ev := tl.Since(0); len(ev) != 1 || ev[0].Repeated != 3 {
		t.Errorf("events %+v", ev)
	}
	*now = now.Add(2 * time.Minute)
	tl.Emit(Event{Kind: DHCPRefused, MAC: plan.MAC{9}, Detail: "unknown"})
	if n := len(tl.Since(0)); n != 2 {
		t.Errorf("%d events, want a new one after a minute", n)
	}
}

func TestOldEventsGo(t *testing.T) {
	tl, _ := newTimeline()
	for i := range capacity + 10 {
		tl.Emit(Event{Kind: DHCPRefused, Detail: fmt.Sprint(i)})
	}
	ev := tl.Since(0)
	if len(ev) != capacity || ev[0].Seq != 11 || ev[0].Detail != "10" || ev[capacity-1].Detail != fmt.Sprint(capacity+9) {
		t.Errorf("%d events, first %+v", len(ev), ev[0])
	}
}

func TestFollow(t *testing.T) {
	tl, _ := newTimeline()
	tl.Emit(Event{Kind: ConfigApplied})
	got := make(chan []Event)
	go func() {
		ev, _ := tl.Follow(t.Context(), 1)
		got <- ev
	}()
	tl.Emit(Event{Kind: DHCPAck, MAC: plan.MAC{2}})
	if ev := <-got; len(ev) != 1 || ev[0].Kind != DHCPAck {
		t.Errorf("followed %+v", ev)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tl.Follow(ctx, 99); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

func BenchmarkEmit(b *testing.B) {
	tl, _ := newTimeline()
	b.ReportAllocs()
	for b.Loop() {
		tl.Emit(Event{Kind: DHCPAck, MAC: plan.MAC{2}})
	}
}
