package dns

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"helperd/plan"
)

// What was read before the end is answered, also by a forwarder that takes its time.
func TestStopDrains(t *testing.T) {
	r, up := newRig(t), newUpstream(t)
	r.apply(r.plan(up.addr))
	up.delay.Store(int64(300 * time.Millisecond))
	answers := make(chan error, 2)
	for _, network := range []string{"udp", "tcp"} {
		go func() {
			_, err := r.exchange(network, "", new(dns.Msg).SetQuestion(network+".example.org.", dns.TypeA))
			answers <- err
		}()
	}
	for deadline := time.Now().Add(5 * time.Second); up.asked.Load() < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the forwarder was not asked")
		}
	}
	r.stop()
	for range 2 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if n := r.conns.Load(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// A forwarder that never answers does not hold up the end.
func TestStopAbandons(t *testing.T) {
	r := newRig(t)
	silent, err := net.ListenPacket("udp", "127.0.0.3:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	r.apply(r.plan(silent.LocalAddr().(*net.UDPAddr).AddrPort()))
	c := r.dial()
	if _, err := c.Write(frame(t, 1, "www.example.org.", dns.TypeA)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); len(r.slow) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the question does not wait")
		}
	}
	started := time.Now()
	r.stop()
	took := time.Since(started)
	t.Logf("Serve took %s to end", took)
	if took >= askFor {
		t.Error("Serve waited for the forwarder")
	}
}

// Between two runs of Serve questions wait in the sockets.
func TestServeAgain(t *testing.T) {
	r := newRig(t)
	r.apply(r.plan())
	r.ask("udp", "", "helper.ocp4.example.com.", dns.TypeA)
	for range 3 {
		r.stop()
		answers := make(chan error, 2)
		for _, network := range []string{"udp", "tcp"} {
			go func() {
				_, err := r.exchange(network, "", new(dns.Msg).SetQuestion("helper.ocp4.example.com.", dns.TypeA))
				answers <- err
			}()
		}
		time.Sleep(50 * time.Millisecond)
		r.start()
		for range 2 {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
	}
}

// A client that asks much and reads nothing does not hold up the end.
func TestStopWithSlowReader(t *testing.T) {
	r := newRig(t)
	p := r.plan()
	for i := range 90 {
		p.DNS.Names = append(p.DNS.Names, plan.Record{
			Name: "big.lab.test.", Type: "TXT", TTL: 300,
			Data: strconv.Itoa(i) + strings.Repeat(` "`+strings.Repeat("x", 250)+`"`, 2),
		})
	}
	r.apply(p)
	c := r.dial()
	_ = c.SetReadBuffer(4096)
	_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	for i := range 1000 {
		if _, err := c.Write(frame(t, uint16(i), "big.lab.test.", dns.TypeTXT)); err != nil {
			break
		}
	}
	time.Sleep(300 * time.Millisecond)
	started := time.Now()
	r.stop()
	if took := time.Since(started); took > 2*drain {
		t.Errorf("Serve took %s to end", took)
	}
}
