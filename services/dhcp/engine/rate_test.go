package engine

import (
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
	"helperd/timeline"
)

// flood sends count DISCOVERs, each by its own MAC, and says how many were answered and told of as limited.
func (l *lab) flood(serial byte, count int, mods ...dhcpv4.Modifier) (answered, told int) {
	l.t.Helper()
	for i := range count {
		l.send(plan.MAC{2, serial, 0, byte(i >> 16), byte(i >> 8), byte(i)}, dhcpv4.MessageTypeDiscover, mods...)
		if len(l.last.Frame) > 0 {
			answered++
		}
		for _, ev := range l.last.Events {
			if ev.Kind == timeline.DHCPLimited {
				told++
			}
		}
	}
	return answered, told
}

func TestLimits(t *testing.T) {
	relay := dhcpv4.WithRelay([]byte{192, 168, 67, 250})
	circuit := dhcpv4.WithOption(dhcpv4.OptRelayAgentInfo(dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(1), []byte("ge-0/0/7\x1b"))))
	tests := []struct {
		name string
		kind int
		mods []dhcpv4.Modifier
		text string
	}{
		{"link", byPort, nil, "on the link of network 192.168.67.0/24"},
		{"relay", byRelay, []dhcpv4.Modifier{relay}, "through relay 192.168.67.250"},
		{"circuit", byCircuit, []dhcpv4.Modifier{relay, circuit}, `at port "ge-0/0/7\x1b" of relay 192.168.67.250`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, basic())
			r := rates[tt.kind]
			newcomers := int(r.Burst - r.Burst/4)
			answered, told := l.flood(1, int(r.Burst)*2, tt.mods...)
			if answered != newcomers || told != 1 {
				t.Errorf("%d of a flood answered, want %d; %d events", answered, newcomers, told)
			}
			if got := l.e.Counts().Limited[tt.kind]; got != uint64(int(r.Burst)*2-newcomers) {
				t.Errorf("%d counted", got)
			}
			if p := l.e.Problems(l.now); len(p) != 1 || !strings.Contains(p[0], tt.text) {
				t.Errorf("problems %q", p)
			}
			if got := l.lease(node, tt.mods...); got != ip("192.168.67.10") {
				t.Errorf("a node got %s in the flood", got)
			}
			l.now++
			if answered, told := l.flood(2, int(r.Burst), tt.mods...); answered != int(r.PerSecond) || told != 0 {
				t.Errorf("a second later %d are answered, %d events", answered, told)
			}
			l.now += limitQuiet
			if p := l.e.Problems(l.now); len(p) != 0 {
				t.Errorf("problems %q a minute later", p)
			}
		})
	}
}

// One client that asks and asks is limited, under its MAC on that link, and nobody else.
func TestClientLimit(t *testing.T) {
	l := newLab(t, basic())
	count := func(mac plan.MAC, mods ...dhcpv4.Modifier) (n int) {
		for range 1000 {
			if l.send(mac, dhcpv4.MessageTypeDiscover, mods...); len(l.last.Frame) > 0 {
				n++
			}
		}
		return n
	}
	burst := int(rates[byClient].Burst)
	if got := count(stranger); got != burst {
		t.Errorf("%d answers to one client", got)
	}
	if got := count(node); got != burst*declaredFactor {
		t.Errorf("%d answers to one node", got)
	}
	if got := count(node, dhcpv4.WithRelay([]byte{192, 168, 67, 250})); got != burst*declaredFactor {
		t.Errorf("%d answers to the same MAC elsewhere", got)
	}
	if got := l.lease(other); !got.IsValid() {
		t.Error("another client is limited too")
	}
	if got := l.e.Counts().Limited[byClient]; got != uint64(3000-burst-2*burst*declaredFactor) {
		t.Errorf("%d counted", got)
	}
}

// A storm of machines that take what they are offered is never slowed down.
func TestStormIsNotLimited(t *testing.T) {
	l := newLab(t, large())
	for i := range 20000 {
		if got := l.lease(plan.MAC{2, 1, 0, 0, 0, byte(i % 200)}); !got.IsValid() {
			t.Fatalf("no lease in round %d: %+v", i, l.e.Counts())
		}
		if i%10000 == 9999 {
			l.now++
		}
	}
}
