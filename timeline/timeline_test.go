package timeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
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
		{"an ISO stalled", []Event{{Kind: ISOGet, Node: worker.FQDN, File: "/iso/w.iso", Bytes: 43, Total: 100}}, time.Minute, "iso 43 % stopped 1m0s ago"},
		{"an ISO is booted", []Event{{Kind: ISOGet, Node: worker.FQDN, File: "/iso/w.iso", Bytes: 100, Total: 100}}, 15 * time.Minute, ""},
		{"after an ISO nothing is seen", []Event{{Kind: ISOGet, Node: worker.FQDN, File: "/iso/w.iso", Bytes: 100, Total: 100}, {Kind: DHCPAck, MAC: plan.MAC{2}}}, 21 * time.Minute, "is the ISO its next boot device"},
		{"the rootfs after an ISO", []Event{{Kind: ISOGet, Node: worker.FQDN, Bytes: 9, Total: 9}, {Kind: BootScript, Node: worker.FQDN, Detail: "install"}, {Kind: HTTPGet, Addr: worker.IP, File: "/a/rootfs", Bytes: 9, Total: 9}}, 3 * time.Minute, "look at coreos-installer"},
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

// A number that a client makes up must not stop the daemon: every service emits under the same lock.
func TestFollowFromTheEndOfNumbers(t *testing.T) {
	tl, _ := newTimeline()
	tl.Emit(Event{Kind: ConfigApplied})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if ev, err := tl.Follow(ctx, math.MaxUint64); err == nil {
		t.Errorf("followed %+v", ev)
	}
	if ev := tl.Since(math.MaxUint64); len(ev) != 0 {
		t.Errorf("events %+v", ev)
	}
}

// Who follows sees that a download ended, however little time after it was seen to begin.
func TestCompletionIsAnEventOfItsOwn(t *testing.T) {
	tl, now := newTimeline()
	for _, n := range []int64{20, 43, 100} {
		tl.Emit(Event{Kind: HTTPGet, Addr: worker.IP, File: "/artifacts/rhcos/rootfs", Bytes: n, Total: 100})
		*now = now.Add(time.Second)
	}
	ev := tl.Since(1)
	if len(ev) != 1 || ev[0].Bytes != 100 {
		t.Errorf("after the first event came %+v, want the end of the download", ev)
	}
	if first := tl.Since(0)[0]; first.Bytes != 43 || first.Repeated != 0 {
		t.Errorf("first event %+v", first)
	}
	tl.Emit(Event{Kind: TFTPGet, Addr: worker.IP, File: "netascii", Bytes: 5}) // no size is known
	tl.Emit(Event{Kind: TFTPGet, Addr: worker.IP, File: "netascii", Bytes: 9, Total: 9})
	if ev := tl.Since(2); len(ev) != 2 || ev[1].Total != 9 {
		t.Errorf("a file of unknown size gave %+v", ev)
	}
	tl.Emit(Event{Kind: HTTPGet, Addr: worker.IP, File: "/artifacts/rhcos/rootfs", Bytes: 100, Total: 100})
	if ev := tl.Since(0); len(ev) != 4 || ev[1].Repeated != 1 {
		t.Errorf("a whole download again gave %+v", ev)
	}
}

// Stories of machines that do more than boot once.
func TestStages(t *testing.T) {
	mac, addr, node := plan.MAC{2}, worker.IP, worker.FQDN
	get := func(file string) Event { return Event{Kind: HTTPGet, Addr: addr, File: file, Bytes: 5, Total: 5} }
	script := func(says string) []Event {
		return []Event{
			{Kind: DHCPAck, MAC: mac},
			{Kind: TFTPGet, Addr: addr, File: "snponly.efi", Bytes: 5, Total: 5},
			{Kind: DHCPAck, MAC: mac},
			{Kind: BootScript, Node: node, Detail: says},
			get("/boot/52-54-00-00-00-01.ipxe"),
		}
	}
	install := append(script(ScriptInstall), get("/artifacts/rhcos/kernel"), get("/artifacts/rhcos/rootfs"), Event{Kind: IgnitionServed, Addr: addr})
	join := []Event{{Kind: NodeInstalled, Node: node}, {Kind: LBFirst, Node: node, Addr: addr}, {Kind: LBUp, Node: node, Detail: "api/w0"}}
	all := []Stage{DHCP, Loader, Kernel, Rootfs, Ignition, Installed, Joining, Ready}
	for _, c := range []struct {
		name   string
		events [][]Event
		stage  Stage
		passed []Stage
	}{
		{"first boot from disk by way of the network", [][]Event{install, script(ScriptDisk)}, Ignition, all[:5]},
		{"ready", [][]Event{install, script(ScriptDisk), join}, Ready, all},
		{"reboot of a ready node", [][]Event{install, script(ScriptDisk), join, script(ScriptDisk)}, Ready, all},
		{"a ready node fetches a file", [][]Event{install, join, {get("/files/own.txt")}}, Ready, all},
		{"reinstalled", [][]Event{install, join, install}, Ignition, []Stage{Loader, Kernel, Rootfs, Ignition}},
		{"power cycle at the kernel", [][]Event{install[:6], install[:5]}, Loader, []Stage{Loader}},
		{"two files of one loader", [][]Event{install[:5], {get("/boot/grubx64.efi")}}, Loader, []Stage{DHCP, Loader}},
		{"disk of a node whose installation nobody saw", [][]Event{script(ScriptDisk)}, Ignition, []Stage{DHCP, Loader, Ignition}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tl, now := newTimeline()
			for _, events := range c.events {
				for _, e := range events {
					*now = now.Add(time.Second)
					tl.Emit(e)
				}
			}
			s := tl.Story(node)
			var passed []Stage
			for _, p := range s.Passed {
				passed = append(passed, p.Stage)
			}
			if s.Stage != c.stage || !slices.Equal(passed, c.passed) {
				t.Errorf("stage %s, passed %v, want %s, %v", s.Stage, passed, c.stage, c.passed)
			}
		})
	}
}

func TestServerThatIsBackNeedsNobody(t *testing.T) {
	tl, _ := newTimeline()
	tl.Emit(Event{Kind: LBUp, Node: worker.FQDN, Detail: "api/w0"})
	tl.Emit(Event{Kind: LBDown, Node: worker.FQDN, Detail: "api/w0: connection refused"})
	if h := tl.Story(worker.FQDN).Hint; h != "api/w0: connection refused" {
		t.Errorf("hint %q while the server is down", h)
	}
	tl.Emit(Event{Kind: LBUp, Node: worker.FQDN, Detail: "api/w0"})
	if h := tl.Story(worker.FQDN).Hint; h != "" {
		t.Errorf("hint %q after it came back", h)
	}
}

// After a restart of the daemon a node that renews its lease is no node that fails to boot.
func TestClockThatIsRightNeedsNobody(t *testing.T) {
	tl, _ := newTimeline()
	tl.Emit(Event{Kind: DHCPAck, Node: worker.FQDN})
	tl.Emit(Event{Kind: ClockWrong, Node: worker.FQDN, Detail: "clock: it is 2 years behind"})
	if h := tl.Story(worker.FQDN).Hint; h != "clock: it is 2 years behind" {
		t.Errorf("hint %q", h)
	}
	tl.Emit(Event{Kind: ClockRight, Node: worker.FQDN, Detail: "clock: it is right now"})
	if s := tl.Story(worker.FQDN); s.Hint != "" || s.Stage != DHCP {
		t.Errorf("hint %q in stage %s", s.Hint, s.Stage)
	}
}

func TestResumedStory(t *testing.T) {
	tl, now := newTimeline()
	tl.Resume(worker.FQDN, Installed, *now)
	tl.Apply(&plan.Plan{Nodes: []*plan.Node{worker}})
	*now = now.Add(time.Hour)
	tl.Emit(Event{Kind: DHCPAck, MAC: plan.MAC{2}})
	*now = now.Add(time.Hour)
	if s := tl.Story(worker.FQDN); s.Stage != Installed || s.Hint != "" {
		t.Errorf("stage %s, hint %q", s.Stage, s.Hint)
	}
	tl.Emit(Event{Kind: LBFirst, Node: worker.FQDN, Addr: worker.IP})
	*now = now.Add(time.Hour)
	if s := tl.Story(worker.FQDN); s.Stage != Joining || s.Hint != "" {
		t.Errorf("stage %s, hint %q", s.Stage, s.Hint)
	}
	tl.Emit(Event{Kind: BootScript, Node: worker.FQDN, Detail: ScriptInstall})
	*now = now.Add(time.Hour)
	if s := tl.Story(worker.FQDN); s.Stage != Loader || s.Hint == "" {
		t.Errorf("reinstalled: stage %s, hint %q", s.Stage, s.Hint)
	}
}

// The order of a person is the answer to a hint, and no sign of life.
func TestOrderEndsAHint(t *testing.T) {
	tl, now := newTimeline()
	tl.Emit(Event{Kind: BootRefused, Node: worker.FQDN, Detail: "helperd nodes reinstall w0"})
	before := tl.Story(worker.FQDN)
	if before.Hint == "" {
		t.Fatal("no hint")
	}
	*now = now.Add(time.Second)
	tl.Emit(Event{Kind: NodeArmed, Node: worker.FQDN})
	if s := tl.Story(worker.FQDN); s.Hint != "" || !s.Last.Equal(before.Last) {
		t.Errorf("hint %q, last seen %v", s.Hint, s.Last)
	}
}

func TestFilesAreNoTroubleOfARunningSystem(t *testing.T) {
	tl, _ := newTimeline()
	miss := Event{Kind: HTTPMiss, Addr: worker.IP, File: "/x", Detail: "there is no such file"}
	tl.Emit(miss)
	if h := tl.Story(worker.FQDN).Hint; h != miss.Detail {
		t.Errorf("hint %q before the installation", h)
	}
	tl.Emit(Event{Kind: LBUp, Node: worker.FQDN, Detail: "api/w0"})
	tl.Emit(miss)
	if h := tl.Story(worker.FQDN).Hint; h != "" {
		t.Errorf("hint %q on a ready node", h)
	}
}

// TestOrdersAreNoSign: what people order of a server, and that bootstrap retires,
// is no sign of the node; a server that has retired is no trouble any more.
func TestOrdersAreNoSign(t *testing.T) {
	tl, now := newTimeline()
	tl.Emit(Event{Kind: LBUp, Node: worker.FQDN, Detail: "api/w0"})
	tl.Emit(Event{Kind: LBDown, Node: worker.FQDN, Detail: "api/w0: connection refused"})
	seen := tl.Story(worker.FQDN).Last
	*now = now.Add(time.Minute)
	tl.Emit(Event{Kind: LBOrdered, Node: worker.FQDN, Detail: "api/w0: drain, by the administrator"})
	if s := tl.Story(worker.FQDN); s.Last != seen || s.Hint != "api/w0: connection refused" {
		t.Errorf("after an order: seen %s, hint %q", s.Last, s.Hint)
	}
	tl.Emit(Event{Kind: LBRetired, Node: worker.FQDN, Detail: "api/w0: all masters answer"})
	if s := tl.Story(worker.FQDN); s.Last != seen || s.Hint != "" || s.Stage != Ready {
		t.Errorf("retired: seen %s, hint %q, stage %s", s.Last, s.Hint, s.Stage)
	}
}
