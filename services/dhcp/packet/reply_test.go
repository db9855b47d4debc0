package packet

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

func parsed(t *testing.T, in []byte) *Request {
	t.Helper()
	r := new(Request)
	if err := r.Parse(in); err != nil {
		t.Fatal(err)
	}
	return r
}

// codes lists the option codes of a message in the order they are written, padding apart.
func codes(b []byte) []byte {
	var out []byte
	for i := optionsStart; b[i] != end; i += 2 + int(b[i+1]) {
		out = append(out, b[i])
	}
	return out
}

func TestReplyKeepsTheOrderAsked(t *testing.T) {
	tests := []struct {
		name   string
		params []byte
		want   []byte
	}{
		{"as asked", []byte{6, 51, 15, 1}, []byte{53, 6, 51, 15, 1, 54, 61, 82}},
		{"mask before router", []byte{3, 6, 1}, []byte{53, 1, 3, 6, 54, 51, 61, 82}},
		{"routes instead of router", []byte{1, 3, 121}, []byte{53, 1, 121, 54, 51, 61, 82}},
		{"repeated and unknown", []byte{6, 6, 99, 0, 255, 82, 6}, []byte{53, 6, 54, 51, 1, 61, 82}},
		{"nothing asked", nil, []byte{53, 54, 51, 1, 3, 6, 15, 61, 82}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var w Reply
			w.Start(make([]byte, Buffer), parsed(t, message(nil, 53, 1, 1, 255)), Offer)
			w.AddMust(ServerID, []byte{10, 0, 0, 1})
			w.AddMust(LeaseTime, []byte{0, 0, 0, 9})
			w.AddMust(SubnetMask, []byte{255, 0, 0, 0})
			w.Add(Router, []byte{10, 0, 0, 1})
			w.Add(NameServers, []byte{10, 0, 0, 1})
			w.Add(DomainName, []byte("x"))
			w.Add(ClasslessRoutes, []byte{0, 10, 0, 0, 1})
			w.AddMust(ClientID, []byte{1})
			w.AddMust(RelayInfo, []byte{1, 1, 1})
			if diff := cmp.Diff(tt.want, codes(w.Finish(tt.params))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestReplyFitsTheClient(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 400)
	tests := []struct {
		name     string
		asked    []byte // option 57
		smallest int
		largest  int
		search   bool
	}{
		{"default", nil, 300, 548, false},
		{"less than the least", []byte{57, 2, 0, 100}, 300, 548, false},
		{"iPXE", []byte{57, 2, 0x05, 0xc0}, 549, 1444, true},
		{"OVMF asks for more than the link carries", []byte{57, 2, 0xff, 0}, 549, 1444, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := message(nil, append(append([]byte{53, 1, 1}, tt.asked...), 255)...)
			var w Reply
			w.Start(make([]byte, Buffer), parsed(t, in), Offer)
			w.Add(DomainSearch, long)
			w.AddMust(ServerID, []byte{10, 0, 0, 1})
			w.AddMust(RelayInfo, long[:200])
			b := w.Finish([]byte{DomainSearch})
			if len(b) < tt.smallest || len(b) > tt.largest {
				t.Errorf("%d bytes, want %d to %d", len(b), tt.smallest, tt.largest)
			}
			d, err := dhcpv4.FromBytes(b)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(d.Options.Get(dhcpv4.OptionDNSDomainSearchList)); (got == 400) != tt.search {
				t.Errorf("search list of %d bytes", got)
			}
			if d.ServerIdentifier() == nil || len(d.Options.Get(dhcpv4.OptionRelayAgentInformation)) != 200 {
				t.Errorf("what must be there is not: %s", d.Summary())
			}
		})
	}
}

func TestReplyFirstThingsFirst(t *testing.T) {
	var w Reply
	w.Start(make([]byte, Buffer), parsed(t, message(nil, 53, 1, 1, 255)), Offer)
	w.Add(DomainName, []byte("x"))
	w.AddMust(ServerID, []byte{10, 0, 0, 1})
	w.AddMust(ClientID, make([]byte, 200))
	w.AddMust(RelayInfo, make([]byte, 200)) // does not fit any more
	if diff := cmp.Diff([]byte{53, 54, 61}, codes(w.Finish([]byte{DomainName}))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestReplyHeader(t *testing.T) {
	req := parsed(t, message(func(b []byte) { copy(b[4:], []byte{1, 2, 3, 4}); b[10] = 0x80; copy(b[24:], []byte{10, 9, 9, 9}) }, 53, 1, 3, 255))
	buf := bytes.Repeat([]byte{0xee}, Buffer) // what the buffer held before must not leak
	var w Reply
	w.Start(buf, req, Ack)
	w.Your(netip.MustParseAddr("10.0.0.5"))
	w.Next(netip.MustParseAddr("10.0.0.1"))
	w.File("lpxelinux.0")
	b := w.Finish(nil)
	d, err := dhcpv4.FromBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != 300 || d.TransactionID != (dhcpv4.TransactionID{1, 2, 3, 4}) || !d.IsBroadcast() || !d.YourIPAddr.Equal(net.IPv4(10, 0, 0, 5)) ||
		!d.ServerIPAddr.Equal(net.IPv4(10, 0, 0, 1)) || !d.GatewayIPAddr.Equal(net.IPv4(10, 9, 9, 9)) || d.BootFileName != "lpxelinux.0" ||
		d.ServerHostName != "" || d.ClientHWAddr.String() != testMAC.String() || d.OpCode != dhcpv4.OpcodeBootReply {
		t.Errorf("%d bytes: %s", len(b), d.Summary())
	}
	if i := bytes.IndexByte(b, 0xee); i >= 0 {
		t.Errorf("byte %d is from the packet before", i)
	}
	w.Start(buf, req, Ack)
	w.File("http://192.168.67.2:8080/" + strings.Repeat("x", 120))
	if d, _ := dhcpv4.FromBytes(w.Finish(nil)); d.BootFileName != "" {
		t.Errorf("a name that is too long for the field was cut: %s", d.BootFileName)
	}
}

func TestSearchList(t *testing.T) {
	in := []string{"ocp4.example.com", "Example.com.", "example.com", "a.ocp4.example.com"}
	b, err := SearchList(in)
	if err != nil {
		t.Fatal(err)
	}
	labels, err := rfc1035label.FromBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ocp4.example.com", "example.com", "example.com", "a.ocp4.example.com"}, labels.Labels); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if len(b) > 18+2+2+4 {
		t.Errorf("%d bytes: suffixes are not shared", len(b))
	}
	if b, err := SearchList([]string{""}); len(b) > 0 || err != nil {
		t.Errorf("empty name: %x, %v", b, err)
	}
	for _, bad := range []string{"a..b", strings.Repeat("x", 64) + ".com", strings.Repeat("x.", 130)} {
		if _, err := SearchList([]string{bad}); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// The example of RFC 3442 and the widths around an octet's end.
func TestRoutes(t *testing.T) {
	via := netip.MustParseAddr("10.0.0.1")
	tests := map[string][]byte{
		"0.0.0.0/0":         {0},
		"10.0.0.0/8":        {8, 10},
		"10.0.0.0/24":       {24, 10, 0, 0},
		"10.17.0.0/16":      {16, 10, 17},
		"10.27.129.0/24":    {24, 10, 27, 129},
		"10.229.0.128/25":   {25, 10, 229, 0, 128},
		"10.198.122.47/32":  {32, 10, 198, 122, 47},
		"172.16.0.0/12":     {12, 172, 16},
		"10.198.122.255/31": {31, 10, 198, 122, 254},
	}
	for to, want := range tests {
		got := Routes([]Route{{netip.MustParsePrefix(to), via}})
		if diff := cmp.Diff(append(want, 10, 0, 0, 1), got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", to, diff)
		}
	}
}

func TestMaskAndLast(t *testing.T) {
	for prefix, want := range map[string][2]string{
		"10.0.0.0/8": {"255.0.0.0", "10.255.255.255"}, "10.20.0.0/22": {"255.255.252.0", "10.20.3.255"},
		"10.0.0.8/32": {"255.255.255.255", "10.0.0.8"}, "0.0.0.0/0": {"0.0.0.0", "255.255.255.255"},
	} {
		p := netip.MustParsePrefix(prefix)
		if got := net.IP(Mask(p)).String(); got != want[0] {
			t.Errorf("mask of %s: %s", prefix, got)
		}
		if got := LastAddr(p).String(); got != want[1] {
			t.Errorf("last of %s: %s", prefix, got)
		}
	}
}

// A receiver adds everything up, checksum in place, and must get all ones (RFC 1071).
func TestFrameChecksums(t *testing.T) {
	for _, size := range []int{300, 301, 548} {
		b := make([]byte, Headers+size)
		for i := range b {
			b[i] = byte(i * 7)
		}
		Frame(b, netip.MustParseAddrPort("192.168.67.2:67"), netip.MustParseAddrPort("255.255.255.255:68"))
		if got := fold(sum(b[:20], 0)); got != 0xffff {
			t.Errorf("IP header sums up to %#x", got)
		}
		if got := fold(sum(b[20:], sum(b[12:20], uint64(17+len(b)-20)))); got != 0xffff {
			t.Errorf("%d bytes: UDP sums up to %#x", size, got)
		}
	}
}
