package ntp

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"helperd/services"
	"helperd/services/ntp/packet"
	"helperd/timeline"
)

func TestAnswers(t *testing.T) {
	g := newRig(t, nil)
	g.ready(t)
	c := g.dial(t, otherAddr)
	p := request(0)
	before := time.Now()
	reply := exchange(t, c, p, 5*time.Second)
	after := time.Now()
	if len(reply) != packet.HeaderLen {
		t.Fatalf("%d bytes", len(reply))
	}
	head := []byte{1<<6 | 4<<3 | packet.ModeServer, 3, 0, byte(g.precision)}
	if !bytes.Equal(reply[:4], head) || !bytes.Equal(reply[12:16], []byte{192, 0, 2, 1}) {
		t.Errorf("header % x, reference % x", reply[:4], reply[12:16])
	}
	if d := binary.BigEndian.Uint32(reply[4:]); d != packet.Short(kept.Delay) {
		t.Errorf("root delay %#x", d)
	}
	if d := binary.BigEndian.Uint32(reply[8:]); d < packet.Short(kept.Dispersion) || d > packet.Short(kept.Dispersion+time.Millisecond) {
		t.Errorf("root dispersion %#x", d)
	}
	stamp := func(at int) packet.Time { return packet.Time(binary.BigEndian.Uint64(reply[at:])) }
	received, sent := stamp(32), stamp(40)
	low, high := packet.TimeOf(before.Unix(), int64(before.Nanosecond())), packet.TimeOf(after.Unix(), int64(after.Nanosecond()))
	if received < low || sent < received || high < sent {
		t.Errorf("asked at %#x, received %#x, sent %#x, answered at %#x", low, received, sent, high)
	}
	// Answers are counted when they have left.
	until(t, "the answer in the count", func() bool { return g.Status().Counters["answered"] == 1 })
	if st := g.Status(); st.State != services.Up || len(st.Notes) != 0 {
		t.Errorf("status %+v", st)
	}
	if err := g.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestClockStates(t *testing.T) {
	g := newRig(t, func(g *rig) { g.clock.state.Store(&free) })
	g.ready(t)
	c := g.dial(t, otherAddr)
	reply := exchange(t, c, request(0), 5*time.Second)
	if reply == nil || reply[0]>>6 != 0 || reply[1] != 10 || !bytes.Equal(reply[12:16], []byte{127, 127, 1, 1}) {
		t.Fatalf("a clock that nobody keeps: % x", reply)
	}
	if st := g.Status(); st.State != services.Up || len(st.Notes) != 1 || !strings.Contains(st.Notes[0], "stratum 10") {
		t.Errorf("status %+v", st)
	}
	g.clock.state.Store(&kept)
	until(t, "stratum 3", func() bool {
		reply := exchange(t, c, request(0), 5*time.Second)
		time.Sleep(200 * time.Millisecond) // below the limit
		return reply != nil && reply[1] == 3
	})
	if st := g.Status(); len(st.Notes) != 0 {
		t.Errorf("status %+v", st)
	}
}

func TestSilence(t *testing.T) {
	g := newRig(t, func(g *rig) { g.plan.NTP.Machines = []netip.Prefix{netip.MustParsePrefix(nodeAddr + "/32")} })
	g.ready(t)
	g.plan.Helper.Address = netip.MustParseAddr(helperAddr)
	c := g.dial(t, nodeAddr)
	control := []byte{4<<3 | 6, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}
	private := append([]byte{0x17, 0, 3, 0x2a}, make([]byte, 188)...)
	peer := request(0)
	peer[0] = 4<<3 | 1
	for name, p := range map[string][]byte{
		"empty": {}, "short": request(0)[:47], "mode 6": control, "mode 7": private, "peer": peer, "rubbish behind": append(request(0), 1, 2, 3, 4, 5),
		"too long": append(request(0), make([]byte, 2000)...),
	} {
		if _, err := c.Write(p); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	// What is asked after them is answered, and nothing before it.
	last := request(0)
	if _, err := c.Write(last); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 2048)
	n, err := c.Read(buf)
	if err != nil || n != packet.HeaderLen || !bytes.Equal(buf[24:32], last[40:]) {
		t.Errorf("first answer % x, %v", buf[:n], err)
	}
	until(t, "counters", func() bool {
		c := g.Status().Counters
		return c["malformed"] == 4 && c["other_modes"] == 3 && c["answered"] == 1
	})
}

func TestStrangers(t *testing.T) {
	g := newRig(t, func(g *rig) {
		g.server = netip.AddrPortFrom(netip.MustParseAddr("::1"), g.server.Port())
		g.plan.NTP.Listen, g.plan.NTP.Given = []netip.AddrPort{g.server}, []netip.AddrPort{g.server}
	})
	g.ready(t) // by IPv6
	st := g.state.Load()
	for addr, want := range map[string]bool{nodeAddr: true, "127.1.0.1": true, helperAddr: true, "::1": true, "192.0.2.7": false, "2001:db8::1": false, "fe80::1": false} {
		if got := st.serves(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s is served: %v", addr, got)
		}
	}
}

func TestSigned(t *testing.T) {
	g := newRig(t, nil)
	g.ready(t)
	p := append(request(0), make([]byte, 20)...)
	p[51] = 7 // key
	reply := exchange(t, g.dial(t, nodeAddr), p, 5*time.Second)
	if len(reply) != packet.MaxReply || binary.BigEndian.Uint32(reply[48:]) != 0 {
		t.Errorf("% x, want a crypto-NAK", reply)
	}
}

func TestHeldPort(t *testing.T) {
	var other *net.UDPConn
	g := newRig(t, func(g *rig) {
		var err error
		if other, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(g.server)); err != nil {
			t.Fatal(err)
		}
	})
	defer other.Close()
	until(t, "the holder in the status", func() bool {
		st := g.Status()
		return st.State == services.Degraded && strings.Contains(st.Problem, "is held by ntp.test")
	})
	if g.Served(g.server) {
		t.Error("a holder that answers nothing serves time")
	}
	// Now the holder serves.
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := other.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			var r packet.Request
			r.Parse(buf[:n])
			out := make([]byte, packet.MaxReply)
			size := r.Reply(out, &packet.Header{Stratum: 2}, packet.Now())
			_, _ = other.WriteToUDPAddrPort(out[:size], from)
		}
	}()
	g.ready(t)
	if st := g.Status(); st.State != services.Up || len(st.Notes) != 1 || !strings.Contains(st.Notes[0], "is held by ntp.test") || st.Listeners[0].Bound {
		t.Errorf("status %+v", st)
	}
	if err := g.Check(t.Context()); err != nil {
		t.Error(err)
	}
	other.Close()
	until(t, "the port", func() bool { return g.Status().Listeners[0].Bound })
	if reply := exchange(t, g.dial(t, nodeAddr), request(0), 5*time.Second); reply == nil || reply[1] != 3 {
		t.Errorf("% x", reply)
	}
}

func TestDisabled(t *testing.T) {
	g := newRig(t, nil)
	g.ready(t)
	off := *g.plan
	off.NTP.Enabled = false
	g.plan = &off
	g.apply(t)
	until(t, "silence", func() bool { return !g.Served(g.server) })
	if st := g.Status(); st.State != services.Disabled {
		t.Errorf("status %+v", st)
	}
	if err := g.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// Nodes that boot while a new file or program takes over are told of the time server too:
// nobody waits for the next look at the clock.
func TestServedAtOnce(t *testing.T) {
	g := newRig(t, nil)
	g.ready(t)
	off := *g.plan
	off.NTP.Given = nil
	on := g.plan
	for range 3 {
		g.plan = &off
		g.apply(t)
		until(t, "no server", func() bool { return !g.Served(g.server) })
		begun := time.Now()
		g.plan = on
		g.apply(t)
		g.ready(t)
		if took := time.Since(begun); took < lookEvery/2 {
			return // whether the machine is slow or a tick is waited for shows in three tries
		}
	}
	t.Errorf("an address is served and nobody is told so for half of %s", lookEvery)
}

func TestWildcard(t *testing.T) {
	g := newRig(t, func(g *rig) {
		g.plan.NTP.Listen = []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), g.server.Port())}
	})
	g.ready(t) // the answer comes from the address that was asked
	if err := g.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPanicIsSurvived(t *testing.T) {
	g := newRig(t, nil)
	g.ready(t)
	g.fuse.Arm()
	c := g.dial(t, nodeAddr)
	exchange(t, c, request(0), 50*time.Millisecond)
	select {
	case <-g.panics:
	case <-time.After(10 * time.Second):
		t.Fatal("no panic")
	}
	until(t, "an answer", func() bool { return exchange(t, c, request(0), time.Second) != nil })
}

func TestWrongClock(t *testing.T) {
	g := newRig(t, nil)
	g.ready(t)
	events := func(kind timeline.Kind) (out []timeline.Event) {
		for _, e := range g.events.Since(0) {
			if e.Kind == kind {
				out = append(out, e)
			}
		}
		return out
	}
	c := g.dial(t, nodeAddr)
	// What chrony sends: numbers that agree with nothing.
	for i := range 6 {
		p := request(0)
		binary.BigEndian.PutUint64(p[40:], 0x9e3779b97f4a7c15*uint64(i+1))
		exchange(t, c, p, 5*time.Second)
	}
	p := request(0)
	clear(p[40:]) // and what other programs do
	exchange(t, c, p, 5*time.Second)
	exchange(t, g.dial(t, otherAddr), request(-time.Hour), 5*time.Second)
	exchange(t, g.dial(t, otherAddr), request(-time.Hour), 5*time.Second)
	if wrong := events(timeline.ClockWrong); len(wrong) != 0 {
		t.Fatalf("random numbers, and strangers: %+v", wrong)
	}
	const years = -20 * 365 * 24 * time.Hour
	for range 3 {
		exchange(t, c, request(years), 5*time.Second)
	}
	wrong := events(timeline.ClockWrong)
	if len(wrong) != 1 || wrong[0].Node != nodeName || !strings.Contains(wrong[0].Detail, "years behind the helper's") {
		t.Fatalf("a clock of 2006: %+v", wrong)
	}
	if hint := g.events.Story(nodeName).Hint; !strings.Contains(hint, "BMC") {
		t.Errorf("hint %q", hint)
	}
	exchange(t, c, request(0), 5*time.Second)
	until(t, "clock.right", func() bool { return len(events(timeline.ClockRight)) == 1 })
	if hint := g.events.Story(nodeName).Hint; hint != "" {
		t.Errorf("hint %q", hint)
	}
}
