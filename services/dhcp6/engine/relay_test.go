package engine

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"helperd/plan"
)

// forward puts a message into a Relay-forward.
func forward(inner dhcpv6.DHCPv6, hops uint8, link, peer netip.Addr, options ...dhcpv6.Option) *dhcpv6.RelayMessage {
	r := &dhcpv6.RelayMessage{MessageType: dhcpv6.MessageTypeRelayForward, HopCount: hops, LinkAddr: link.AsSlice(), PeerAddr: peer.AsSlice()}
	for _, o := range options {
		r.AddOption(o)
	}
	r.AddOption(dhcpv6.OptRelayMessage(inner))
	return r
}

func lla(mac plan.MAC) dhcpv6.Option {
	return dhcpv6.OptClientLinkLayerAddress(iana.HWTypeEthernet, net.HardwareAddr(mac[:]))
}

// Relays: RFC 8415 section 19.3, 6939, 8357, 4994, 6221.
func TestRelay(t *testing.T) {
	random, zero, on := ip("fe80::1234:5678:9abc:def0"), netip.IPv6Unspecified(), ip("fd00:30::1")
	solicit := compose(sol, dhcpv6.WithClientID(uuid), ia(1))
	id := dhcpv6.OptInterfaceID([]byte("ge-0/0/7"))
	generic := func(code dhcpv6.OptionCode, b ...byte) dhcpv6.Option {
		return &dhcpv6.OptionGeneric{OptionCode: code, OptionData: b}
	}
	tests := []struct {
		name string
		m    *dhcpv6.RelayMessage
		port uint16 // of the relay
		want netip.Addr
		to   uint16
		back []dhcpv6.Option // of the layer next to us
	}{
		{"MAC by option 79", forward(solicit, 0, on, random, lla(far)), 547, ip("fd00:30::10"), 547, nil},
		{"MAC by the peer address", forward(solicit, 0, on, eui64(far)), 547, ip("fd00:30::10"), 547, nil},
		{"interface id is echoed", forward(solicit, 0, on, eui64(far), id), 547, ip("fd00:30::10"), 547, []dhcpv6.Option{id}},
		{"two relays: the link of the inner one", forward(forward(solicit, 0, on, eui64(far)), 1, ip("fd00:67::9"), ip("fd00:30::1"), id), 547, ip("fd00:30::10"), 547, []dhcpv6.Option{id}},
		{"a switch in between that has no address (LDRA): the link of the outer one", forward(forward(solicit, 0, zero, eui64(far), id), 1, on, ip("fe80::1")), 547, ip("fd00:30::10"), 547, nil},
		{"option 79 of the relay next to the client counts", forward(forward(solicit, 0, on, random, lla(far)), 1, zero, random, lla(stranger)), 547, ip("fd00:30::10"), 547, nil},
		{"a relay with a port of its own", forward(solicit, 0, on, eui64(far), dhcpv6.OptRelayPort(0)), 4711, ip("fd00:30::10"), 4711, []dhcpv6.Option{dhcpv6.OptRelayPort(0)}},
		{"what the relay wants echoed", forward(solicit, 0, on, eui64(far), generic(dhcpv6.OptionRemoteID, 0, 0, 0, 9, 7), generic(dhcpv6.OptionEchoRequest, 0, 37)), 547, ip("fd00:30::10"), 547, []dhcpv6.Option{generic(dhcpv6.OptionRemoteID, 0, 0, 0, 9, 7)}},
		{"nothing else is echoed", forward(solicit, 0, on, eui64(far), generic(dhcpv6.OptionRemoteID, 0, 0, 0, 9, 7)), 547, ip("fd00:30::10"), 547, nil},
		{"a link that is not served", forward(solicit, 0, alien, eui64(far)), 547, netip.Addr{}, 0, nil},
		{"a machine of no list", forward(solicit, 0, on, eui64(stranger)), 547, netip.Addr{}, 0, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, basic())
			l.port = tt.port
			l.unicast = true // relays may send to the server alone
			b := l.handle(ip("fd00:67::9"), tt.m.ToBytes())
			if !tt.want.IsValid() {
				if len(b) > 0 {
					t.Errorf("answered: %x", b)
				}
				return
			}
			got, err := dhcpv6.RelayMessageFromBytes(b)
			if err != nil {
				t.Fatalf("%v: %x", err, b)
			}
			inner, err := got.GetInnerMessage()
			if err != nil || inner.MessageType != dhcpv6.MessageTypeAdvertise || addr(inner) != tt.want {
				t.Fatalf("%v, %v", inner, err)
			}
			if l.last.Port != tt.to {
				t.Errorf("goes to port %d, want %d", l.last.Port, tt.to)
			}
			sameLayers(t, tt.m, got)
			var back []byte
			for _, o := range got.Options.Options {
				if o.Code() != dhcpv6.OptionRelayMsg {
					back = append(back, dhcpv6.Options{o}.ToBytes()...)
				}
			}
			if want := dhcpv6.Options(tt.back).ToBytes(); !bytes.Equal(back, want) {
				t.Errorf("echoed %x, want %x", back, want)
			}
		})
	}
}

// sameLayers fails the test unless each Relay-reply has hops and addresses of its Relay-forward.
func sameLayers(t *testing.T, sent, got *dhcpv6.RelayMessage) {
	t.Helper()
	for {
		if got.MessageType != dhcpv6.MessageTypeRelayReply || got.HopCount != sent.HopCount || !got.LinkAddr.Equal(sent.LinkAddr) || !got.PeerAddr.Equal(sent.PeerAddr) {
			t.Errorf("relayed back as %s, sent %s", got, sent)
		}
		next, more := sent.Options.RelayMessage().(*dhcpv6.RelayMessage)
		if !more {
			return
		}
		sent = next
		if got, more = got.Options.RelayMessage().(*dhcpv6.RelayMessage); !more {
			t.Fatal("a layer is missing")
		}
	}
}

// RFC 8415 section 19.1.2 lets nobody relay a message more than eight times.
func TestTooManyRelays(t *testing.T) {
	l := newLab(t, basic())
	var m dhcpv6.DHCPv6 = compose(sol, dhcpv6.WithClientID(uuid), ia(1))
	for i := range 40 {
		m = forward(m, uint8(i), ip("fd00:30::1"), eui64(far))
	}
	if b := l.handle(ip("fd00:67::9"), m.ToBytes()); len(b) > 0 || l.e.Counts().Malformed != 1 {
		t.Errorf("answered by %d bytes, %+v", len(b), l.e.Counts())
	}
}

// Who floods through a relay takes its own messages away, and nobody else's.
func TestOneClientOfARelayIsLimited(t *testing.T) {
	l := newLab(t, basic())
	l.unicast = true
	ask := func(mac plan.MAC) bool {
		m := forward(compose(sol, dhcpv6.WithClientID(duidLL(mac)), ia(1)), 0, ip("fd00:30::1"), eui64(mac))
		return len(l.handle(ip("fd00:67::9"), m.ToBytes())) > 0
	}
	for range 2 * sourceBurst * relayFactor {
		ask(stranger)
	}
	if !ask(far) {
		t.Error("another client of the relay is not answered")
	}
}
