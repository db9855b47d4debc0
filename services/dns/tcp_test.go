package dns

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func (r *rig) dial() *net.TCPConn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr.String())
	if err != nil {
		r.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	r.t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

// frame is a query as it goes over TCP.
func frame(t testing.TB, id uint16, name string, qtype uint16) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.Id = id
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

func readFrame(c net.Conn) (*dns.Msg, error) {
	return (&dns.Conn{Conn: c}).ReadMsg()
}

func TestPipelining(t *testing.T) {
	r := newRig(t)
	r.apply(r.plan())
	c := r.dial()
	const count = 300
	var all []byte
	for id := range uint16(count) {
		all = append(all, frame(t, id, "helper.ocp4.example.com.", dns.TypeA)...)
	}
	for len(all) > 0 { // pieces that end anywhere
		n := min(len(all), 701)
		if _, err := c.Write(all[:n]); err != nil {
			t.Fatal(err)
		}
		all = all[n:]
	}
	for id := range uint16(count) {
		m, err := readFrame(c)
		if err != nil {
			t.Fatal(err)
		}
		if m.Id != id || len(m.Answer) != 1 {
			t.Fatalf("reply %d: id %d with %d answers", id, m.Id, len(m.Answer))
		}
	}
}

func TestSlowAnswersDoNotHoldUpOthers(t *testing.T) {
	r, up := newRig(t), newUpstream(t)
	r.apply(r.plan(up.addr))
	up.delay.Store(int64(300 * time.Millisecond))
	c := r.dial()
	if _, err := c.Write(append(frame(t, 1, "slow.example.org.", dns.TypeA), frame(t, 2, "helper.ocp4.example.com.", dns.TypeA)...)); err != nil {
		t.Fatal(err)
	}
	// A client that has shut down its side still gets both (RFC 7766 section 6.2.4).
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []uint16{2, 1} {
		m, err := readFrame(c)
		if err != nil {
			t.Fatal(err)
		}
		if m.Id != want || len(m.Answer) != 1 {
			t.Errorf("id %d with %d answers, want id %d", m.Id, len(m.Answer), want)
		}
	}
	if _, err := readFrame(c); !errors.Is(err, io.EOF) {
		t.Errorf("after the last answer: %v", err)
	}
}

func TestNonsenseEndsTheConnection(t *testing.T) {
	r := newRig(t)
	r.apply(r.plan())
	c := r.dial()
	answer := frame(t, 2, "helper.ocp4.example.com.", dns.TypeA)
	answer[2+2] |= 0x80 // QR
	if _, err := c.Write(append(frame(t, 1, "helper.ocp4.example.com.", dns.TypeA), answer...)); err != nil {
		t.Fatal(err)
	}
	if m, err := readFrame(c); err != nil || m.Id != 1 {
		t.Fatalf("what came before the nonsense: %v, %v", m, err)
	}
	if _, err := readFrame(c); err == nil {
		t.Error("the connection goes on")
	}
}

func TestConnectionsAreBoundedPerClient(t *testing.T) {
	r := newRig(t)
	r.apply(r.plan())
	var conns []*net.TCPConn
	for range maxStreamsPerClient {
		c := r.dial()
		conns = append(conns, c)
		if _, err := c.Write(frame(t, 1, "helper.ocp4.example.com.", dns.TypeA)); err != nil {
			t.Fatal(err)
		}
		if _, err := readFrame(c); err != nil {
			t.Fatal(err)
		}
	}
	over := r.dial()
	_, _ = over.Write(frame(t, 1, "helper.ocp4.example.com.", dns.TypeA))
	if _, err := readFrame(over); err == nil {
		t.Error("one connection too many is served")
	}
	if reply := r.ask("tcp", "127.0.0.2", "helper.ocp4.example.com.", dns.TypeA); len(reply.Answer) != 1 {
		t.Error("another client suffers")
	}
	_ = conns[0].Close()
	deadline := time.Now().Add(5 * time.Second)
	for {
		if _, err := r.exchange("tcp", "", new(dns.Msg).SetQuestion("helper.ocp4.example.com.", dns.TypeA)); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a closed connection does not make room")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// The deadline counts from the last complete query: bytes that trickle in do not move it.
func TestIdleConnectionEnds(t *testing.T) {
	r := newRig(t)
	r.apply(r.plan())
	client, conn := tcpPair(t)
	st := newStream(&server{Service: r.Service, questions: t.Context()}, conn)
	st.count, st.idle = &counters{}, 300*time.Millisecond
	ended := make(chan struct{})
	go func() { defer close(ended); st.serve() }()
	query := frame(t, 1, "helper.ocp4.example.com.", dns.TypeA)
	for range 3 { // complete queries do
		time.Sleep(150 * time.Millisecond)
		if _, err := client.Write(query); err != nil {
			t.Fatal(err)
		}
		if _, err := readFrame(client); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range query[:len(query)-1] {
		select {
		case <-ended:
			return
		case <-time.After(50 * time.Millisecond):
		}
		_, _ = client.Write([]byte{b})
	}
	t.Error("a client that trickles keeps its connection")
}

func tcpPair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { _, _ = c.Close(), s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}
