package engine

import (
	"bytes"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
	"helperd/services/dhcp/packet"
)

// RFC 5107: the relay's address stands for the server, in what is said and in what is heard.
func TestServerIDOverride(t *testing.T) {
	const discover, request = dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest
	info := opt(82, "\x0b\x04\xc0\xa8\x43\xfa\x01\x01p")
	through := mod(giaddr("192.168.67.250"), info)
	l := newLab(t, basic())
	if got := l.send(stranger, discover, through...); got == nil || got.ServerIdentifier().String() != "192.168.67.250" {
		t.Fatalf("offer %v", got)
	}
	ack := l.send(stranger, request, append(through, server("192.168.67.250"), requested("192.168.67.100"))...)
	if ack == nil || ack.MessageType() != dhcpv4.MessageTypeAck || ack.ServerIdentifier().String() != "192.168.67.250" || l.last.Source != ip("192.168.67.2") {
		t.Errorf("ack %v from %s", ack, l.last.Source)
	}
	nak := l.send(node, request, append(through, server("192.168.67.250"), requested("192.168.67.100"))...)
	if nak == nil || nak.MessageType() != dhcpv4.MessageTypeNak || nak.ServerIdentifier().String() != "192.168.67.250" {
		t.Errorf("nak %v", nak)
	}
	if l.send(stranger, dhcpv4.MessageTypeRelease, append(through, server("192.168.67.250"), ciaddr("192.168.67.100"))...); !l.last.Durable {
		t.Error("a release to the relay's address is not heard")
	}
	// Without the relay's word it is another server.
	if got := l.send(stranger, request, giaddr("192.168.67.250"), server("192.168.67.250"), requested("192.168.67.100")); got != nil {
		t.Errorf("answered a request to another server: %s", got.Summary())
	}
	if got := l.send(node, discover, info); got == nil || got.ServerIdentifier().String() != "192.168.67.2" {
		t.Errorf("a client that is no relay overrides the server: %v", got)
	}
}

func TestReleaseToAnotherServer(t *testing.T) {
	l := newLab(t, basic())
	l.lease(stranger)
	l.send(stranger, dhcpv4.MessageTypeRelease, ciaddr("192.168.67.100"), server("192.168.67.77"))
	if len(l.e.Leases(l.now)) != 1 {
		t.Error("a release to another server freed the address here")
	}
}

// RFC 3046 section 2.2: the relay's option comes back as it came, after all others; one of several parts too (RFC 3396).
func TestRelayInformationComesBackLast(t *testing.T) {
	for _, info := range []string{"\x01\x03abc", "\x05\x04\x0a\x1e\x08\x00\x02\x06\x00\x01\x02\x03\x04\x05", "\x01\xc8" + strings.Repeat("p", 200) + "\x02\xc8" + strings.Repeat("q", 200)} {
		for _, params := range []string{"", "\x01\x03\x06", "\x52\x01\x52"} {
			l := newLab(t, basic())
			edge := plan.MAC{0x52, 0x54, 0, 0x33, 0, 1}
			l.send(edge, dhcpv4.MessageTypeDiscover, giaddr("10.30.8.1"), opt(82, info), opt(55, params), opt(61, "\x01id"))
			if len(l.last.Frame) == 0 {
				t.Fatal("no answer")
			}
			want := []byte{}
			for rest := info; rest != ""; {
				part := rest[:min(len(rest), 255)]
				rest = rest[len(part):]
				want = append(append(want, 82, byte(len(part))), part...)
			}
			b := bytes.TrimRight(l.last.Frame[packet.Headers:], "\x00")
			if !bytes.HasSuffix(b, append(want, 255)) {
				t.Errorf("option 82 %q, asked for %q: the message ends in %q", info, params, b[len(b)-20:])
			}
		}
	}
}
