package packet

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Before RFC 1048 there was no magic cookie; after it there is one, and options. Either is BOOTP without option 53.
func TestParseBOOTP(t *testing.T) {
	bare := message(func(b []byte) { clear(b[headerSize:]) }, make([]byte, 60)...)
	for _, c := range []struct {
		name         string
		in           []byte
		bootp, bare  bool
		hostname     string
		rapid, ofPXE bool
	}{
		{"no cookie", bare, true, true, "", false, false},
		{"cookie and no options", message(nil, 255), true, false, "", false, false},
		{"options", message(nil, 12, 1, 'h', 255), true, false, "h", false, false},
		{"type that cannot be read", message(nil, 53, 2, 1, 1, 255), false, false, "", false, false},
		{"DHCP", message(nil, 53, 1, 1, 80, 0, 255), false, false, "", true, false},
		{"UUID", message(nil, append(append([]byte{53, 1, 1, 97, 17, 0}, make([]byte, 16)...), 255)...), false, false, "", false, true},
		{"UUID of another kind", message(nil, append(append([]byte{53, 1, 1, 97, 17, 1}, make([]byte, 16)...), 255)...), false, false, "", false, false},
	} {
		r := parsed(t, c.in)
		if r.BOOTP != c.bootp || r.bare != c.bare || string(r.Hostname) != c.hostname || r.Rapid != c.rapid || len(r.UUID) == 16 != c.ofPXE {
			t.Errorf("%s: BOOTP %v, bare %v, host name %q, rapid %v, UUID %x", c.name, r.BOOTP, r.bare, r.Hostname, r.Rapid, r.UUID)
		}
	}
}

// A BOOTP client takes 300 bytes, 64 of them for options, or as many as it sent (RFC 951, 1542 section 2.1).
func TestReplyToBOOTP(t *testing.T) {
	reply := func(in []byte) []byte {
		req := parsed(t, in)
		var w Reply
		w.Start(make([]byte, Buffer), req, 0)
		w.Your(netip.MustParseAddr("10.0.0.5"))
		w.Next(netip.MustParseAddr("10.0.0.1"))
		w.File("undionly.kpxe")
		w.AddMust(SubnetMask, []byte{255, 0, 0, 0})
		w.Add(Router, []byte{10, 0, 0, 1})
		w.Add(Hostname, []byte("a-host-name-of-42-bytes.ocp4.example.com.a"))
		w.Add(DomainName, []byte("installs.example.com")) // has no room in 64 bytes
		if len(req.RelayInfo) > 0 {
			w.AddMust(RelayInfo, req.RelayInfo)
		}
		return w.Finish(nil)
	}
	for _, c := range []struct {
		name  string
		in    []byte
		codes []byte
		size  int
	}{
		{"300 bytes", message(nil, append([]byte{255}, make([]byte, 59)...)...), []byte{1, 3, 12}, 300},
		{"a longer request", message(nil, append([]byte{255}, make([]byte, 99)...)...), []byte{1, 3, 12, 15}, 319},
		{"what the relay added is not the client's", message(nil, append([]byte{82, 4, 1, 2, 'p', '1', 255}, make([]byte, 53)...)...), []byte{1, 3, 12, 82}, 303},
	} {
		b := reply(c.in)
		if diff := cmp.Diff(c.codes, codes(b)); diff != "" || len(b) != c.size {
			t.Errorf("%s: %d bytes, -want +got:\n%s", c.name, len(b), diff)
		}
		d, err := dhcpv4.FromBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		if !d.YourIPAddr.Equal(net.IPv4(10, 0, 0, 5)) || d.BootFileName != "undionly.kpxe" || d.MessageType() != dhcpv4.MessageTypeNone {
			t.Errorf("%s: %s", c.name, d.Summary())
		}
	}
	b := reply(message(func(b []byte) { clear(b[headerSize:]) }, make([]byte, 60)...))
	if diff := cmp.Diff(make([]byte, 300-headerSize), b[headerSize:]); diff != "" {
		t.Errorf("a client that sends no cookie is sent one, or options: %s", diff)
	}
}
