package ntp

import (
	"net/netip"
	"testing"
	"time"

	"helperd/services/ntp/packet"
)

func TestLimits(t *testing.T) {
	l := newLimits()
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	count := func(a netip.Addr, from, to, each time.Duration) (got [3]int) {
		for now := from; now < to; now += each {
			got[l.take(a, now)]++
		}
		return got
	}
	if got := count(a, 1, time.Millisecond, 10*time.Microsecond); got[answer] < burst || got[answer] > burst+20 || got[kiss] != 1 {
		t.Errorf("100 at once: %v", got)
	}
	if got := count(b, time.Millisecond, 2*time.Millisecond, 100*time.Microsecond); got != [3]int{10, 0, 0} {
		t.Errorf("another client meanwhile: %v", got)
	}
	// 10,000 a second for ten seconds: the bucket, what leaks, and a kiss a second.
	got := count(a, time.Second, 11*time.Second, 100*time.Microsecond)
	if most := burst + 10*perSecond + 2*100000/leak; got[answer] > most || got[kiss] < 9 || got[kiss] > 11 {
		t.Errorf("a flood: %v", got)
	}
	if got := count(a, 20*time.Second, 30*time.Second, time.Second/perSecond); got[answer] != 10*perSecond {
		t.Errorf("as often as is allowed: %v", got)
	}
}

func TestLimitsAreBounded(t *testing.T) {
	l := newLimits()
	a := netip.MustParseAddr("192.0.2.1")
	for range 2 * burst {
		l.take(a, time.Second)
	}
	// Clients that come once push each other out, and not the one that asks all the time.
	next := netip.MustParseAddr("10.0.0.0")
	answered := 0
	for i := range 200_000 {
		next = next.Next()
		if l.take(next, time.Second+time.Duration(i)*10*time.Microsecond) != answer {
			t.Fatalf("%s is new and not answered", next)
		}
		if i%10 == 0 && l.take(a, time.Second+time.Duration(i)*10*time.Microsecond) == answer {
			answered++
		}
	}
	if answered > 20000/leak*2+16+burst {
		t.Errorf("the flooder was forgotten: %d of 20000 answered", answered)
	}
}

func BenchmarkLimits(b *testing.B) {
	l := newLimits()
	a := netip.MustParseAddr("10.0.0.0")
	b.ReportAllocs()
	for i := range b.N {
		if i%1000 == 0 {
			a = netip.MustParseAddr("10.0.0.0")
		}
		a = a.Next()
		l.take(a, time.Duration(i)*time.Microsecond)
	}
}

// One client floods, another is answered as if nothing was.
func TestAbuse(t *testing.T) {
	g := newRig(t, nil)
	g.ready(t)
	flood, good := g.dial(t, otherAddr), g.dial(t, nodeAddr)
	stop, done, sent := make(chan struct{}), make(chan struct{}), 0
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for p := request(0); ; {
			select {
			case <-stop:
				return
			case <-tick.C:
				for range 10 {
					_, _ = flood.Write(p)
					sent++
				}
			}
		}
	}()
	kisses, answers := 0, 0
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		buf := make([]byte, 100)
		for {
			n, err := flood.Read(buf)
			if err != nil {
				return
			}
			if n == packet.HeaderLen && buf[1] == 0 && string(buf[12:16]) == "RATE" && buf[0]>>6 == packet.Unsynchronised {
				kisses++
			} else {
				answers++
			}
		}
	}()
	for range 8 {
		if reply := exchange(t, good, request(0), 5*time.Second); reply == nil || reply[1] != 3 {
			t.Errorf("the other client: % x", reply)
		}
		time.Sleep(200 * time.Millisecond)
	}
	close(stop)
	<-done
	until(t, "the end of the flood", func() bool {
		c := g.Status().Counters
		return c["answered"]+c["limited"] >= uint64(sent)*9/10
	})
	_ = flood.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	<-heard
	t.Logf("%d requests: %d answers, %d kisses", sent, answers, kisses)
	if sent < 3000 {
		t.Fatalf("only %d requests: no flood", sent)
	}
	if kisses == 0 || kisses > 60 || answers > burst+sent/leak*2+60*perSecond {
		t.Errorf("%d answers and %d kisses to %d requests", answers, kisses, sent)
	}
}
