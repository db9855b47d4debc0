package services

import (
	"testing"

	"helperd/internal/socket"
)

func TestStatusGathersProblems(t *testing.T) {
	s := Status{State: Up}
	s.Listen(socket.Status{Network: "udp", Address: "192.0.2.1:53", Bound: true})
	if s.State != Up || s.Problem != "" {
		t.Fatalf("a bound socket gives %+v", s)
	}
	s.Listen(socket.Status{Network: "udp", Address: "0.0.0.0:67", Device: "eth1", Holder: "dhcpd (pid 7)"})
	s.Listen(socket.Status{Network: "tcp", Address: "192.0.2.1:53"})
	s.Degrade("no forwarder answers")
	want := "udp 0.0.0.0:67 on eth1 is held by dhcpd (pid 7); stop that one, and helperd takes the port at once\n" +
		"tcp 192.0.2.1:53 is held by another process; stop that one, and helperd takes the port at once\n" +
		"no forwarder answers"
	if s.State != Degraded || s.Problem != want || len(s.Listeners) != 3 {
		t.Errorf("%d listeners, %s:\n%s\nwant\n%s", len(s.Listeners), s.State, s.Problem, want)
	}
}
