package engine

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
	"helperd/timeline"
)

func TestRefusals(t *testing.T) {
	pxe := opt(60, "PXEClient:Arch:00007:UNDI:003000")
	foreign := func(l *lab) { l.e.Heard(l.link(), ip("192.168.67.77"), other, l.now, new(Answer)) }
	tests := []struct {
		name   string
		before func(l *lab)
		mac    plan.MAC
		mods   []dhcpv4.Modifier
		want   string // part of the event; empty: an offer
	}{
		{"unknown without a pool", nil, stranger, mod(giaddr("10.30.8.1")), "MAC 02:00:00:00:00:01 is in no node of helper.yaml; add it or give the network a pool"},
		{"known elsewhere", nil, node, mod(giaddr("10.30.8.1")), "its address 192.168.67.10 (bootstrap.ocp4.example.com) is in 192.168.67.0/24"},
		{"unknown PXE firmware", nil, stranger, mod(pxe), "wants to boot from the network (PXE BIOS)"},
		{"unknown HTTP Boot firmware", nil, stranger, mod(opt(60, "HTTPClient:Arch:00016"), opt(93, "\x00\x10")), "HTTP Boot UEFI x64"},
		{"unknown iPXE", nil, stranger, mod(opt(77, "iPXE"), opt(93, "\x00\x07")), "iPXE UEFI x64"},
		{"unknown petitboot", nil, stranger, mod(opt(93, "\x00\x0e")), "PXE petitboot"},
		{"unknown beside a foreign server", foreign, stranger, nil, "another DHCP server, 192.168.67.77, answers on network 192.168.67.0/24"},
		{"known beside a foreign server", foreign, node, mod(pxe), ""},
		{"unknown after the foreign server fell silent", func(l *lab) { foreign(l); l.now += foreignFor }, stranger, nil, ""},
		{"known elsewhere, as an ordinary client of a pool", nil, plan.MAC{0x52, 0x54, 0, 0x33, 0, 1}, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, basic())
			if tt.before != nil {
				tt.before(l)
			}
			got := l.send(tt.mac, dhcpv4.MessageTypeDiscover, tt.mods...)
			if tt.want == "" {
				if got == nil {
					t.Errorf("no offer; events %+v", l.last.Events)
				}
				return
			}
			if got != nil {
				t.Fatalf("offered %s", yiaddr(got))
			}
			if len(l.last.Events) != 1 || l.last.Events[0].Kind != timeline.DHCPRefused || !strings.Contains(l.last.Events[0].Detail, tt.want) {
				t.Errorf("events %+v, want a refusal with %q", l.last.Events, tt.want)
			}
		})
	}
}

func TestForeignServer(t *testing.T) {
	l := newLab(t, basic())
	l.send(stranger, dhcpv4.MessageTypeRequest, server("192.168.67.77"), requested("10.30.8.60"), giaddr("10.30.8.1"))
	if diff := cmp.Diff([]timeline.Kind{timeline.DHCPForeign}, l.events()); diff != "" {
		t.Fatalf("events: %s", diff)
	}
	if f := l.e.Foreign(l.now); len(f) != 1 || f[0].Server != ip("192.168.67.77") {
		t.Errorf("foreign servers %+v", f)
	}
	var a Answer
	l.e.Heard(l.link(), ip("192.168.67.78"), other, l.now, &a)
	if f := l.e.Foreign(l.now); len(f) != 2 || f[1].MAC != other || len(a.Events) != 1 {
		t.Errorf("foreign servers %+v, events %+v", f, a.Events)
	}
	l.now += foreignFor
	if f := l.e.Foreign(l.now); len(f) != 0 {
		t.Errorf("still foreign after ten minutes: %+v", f)
	}
	// This machine's own answers, as a relay repeats them, are no news.
	l.e.Heard(l.link(), ip("192.168.67.2"), other, l.now, &a)
	if len(l.e.Foreign(l.now)) != 0 || len(a.Events) != 0 {
		t.Errorf("heard itself: %+v", a.Events)
	}
}

// A flood of invented MACs makes few events and leaves nodes and leases alone.
func TestFlood(t *testing.T) {
	d := basic()
	d.Subnets[0].Pool = plan.Range{First: ip("192.168.67.100"), Last: ip("192.168.67.200")}
	l := newLab(t, d)
	leased := l.lease(stranger)
	events := 0
	for i := range 20000 {
		l.send(plan.MAC{2, 1, byte(i >> 16), byte(i >> 8), byte(i), 1}, dhcpv4.MessageTypeDiscover)
		events += len(l.last.Events)
	}
	if events > noteBurst {
		t.Errorf("%d events", events)
	}
	if got := len(l.e.table.byAddr); got > 101 {
		t.Errorf("%d bindings of 101 addresses", got)
	}
	if got := l.lease(node); got != ip("192.168.67.10") || len(l.last.Events) == 0 {
		t.Errorf("node got %s, events %v", got, l.events())
	}
	// A newcomer that asks once more, as real ones do, is not lost among them.
	l.send(other, dhcpv4.MessageTypeDiscover)
	for range 4 {
		l.now++
		for i := range 5000 {
			l.send(plan.MAC{2, 2, byte(l.now), byte(i >> 8), byte(i), 1}, dhcpv4.MessageTypeDiscover)
		}
	}
	if got := l.lease(other); !got.IsValid() {
		t.Errorf("a newcomer gets nothing: %+v", l.e.Counts())
	}
	if got := l.lease(stranger); got != leased {
		t.Errorf("the leased client got %s, had %s", got, leased)
	}
}

// Another server that goes on answering is one event and not one for every answer.
func TestForeignIsToldOnce(t *testing.T) {
	l := newLab(t, basic())
	events := 0
	for range 300 {
		l.e.Heard(l.link(), ip("192.168.67.77"), other, l.now, &l.last)
		events += len(l.last.Events)
		l.now++
	}
	if events != 1 {
		t.Errorf("%d events in five minutes", events)
	}
}

// A client's word is a reason to ask, and no proof: one forged packet must not
// lock the clients of the pool out. Behind a relay it is all there is to hear.
func TestHearsay(t *testing.T) {
	l := newLab(t, basic())
	l.send(stranger, dhcpv4.MessageTypeRequest, server("192.168.67.77"), requested("192.168.67.200"))
	if !l.last.Probe || len(l.events()) != 1 || l.events()[0] != timeline.DHCPForeign {
		t.Errorf("probe %v, events %+v", l.last.Probe, l.last.Events)
	}
	if l.send(stranger, dhcpv4.MessageTypeRequest, server("192.168.67.77"), requested("192.168.67.200")); l.last.Probe {
		t.Error("a flood of such requests is a flood of probes")
	}
	if got := l.lease(other); !got.IsValid() || len(l.e.Foreign(l.now)) != 0 {
		t.Errorf("one packet locked the pool: %s", got)
	}
	l.e.Heard(l.link(), ip("192.168.67.77"), other, l.now, new(Answer))
	l.now += hearsayEvery
	if l.send(stranger, dhcpv4.MessageTypeRequest, server("192.168.67.77"), requested("192.168.67.200")); l.last.Probe || len(l.events()) != 0 {
		t.Errorf("asked for what is known: %v", l.events())
	}
	if l.now += foreignFor; l.send(stranger, dhcpv4.MessageTypeRequest, server("192.168.67.77"), giaddr("10.30.8.1")) != nil || l.last.Probe || len(l.e.Foreign(l.now)) != 1 {
		t.Errorf("behind a relay: probe %v, foreign %+v", l.last.Probe, l.e.Foreign(l.now))
	}
}

// An address in a forged packet must not become the target of answers.
func TestAnswersDoNotGoElsewhere(t *testing.T) {
	l := newLab(t, basic())
	for _, typ := range []dhcpv4.MessageType{dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest} {
		l.send(node, typ, requested("192.168.67.10"), ciaddr("8.8.8.8"), dhcpv4.WithBroadcast(false))
		if l.last.Routed || l.last.To.Addr() != ip("192.168.67.10") || l.last.MAC != node {
			t.Errorf("the answer to a %s goes to %s", typ, l.last.To)
		}
	}
}
