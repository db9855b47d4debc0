package packet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
)

var testMAC = plan.MAC{0x52, 0x54, 0, 0x60, 0x72, 0x67}

// message builds a request by hand: header, then options.
func message(mod func(b []byte), options ...byte) []byte {
	b := make([]byte, optionsStart, 600)
	b[0], b[1], b[2] = 1, 1, 6
	copy(b[28:], testMAC[:])
	copy(b[headerSize:], cookie[:])
	if mod != nil {
		mod(b)
	}
	return append(b, options...)
}

func addr4(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestParse(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		want Request
	}{
		{
			"discover", message(func(b []byte) { b[10] = 0x80 }, 53, 1, 1, 61, 3, 1, 2, 3, 55, 2, 1, 3, 255),
			Request{Type: Discover, Broadcast: true, ID: []byte{1, 2, 3}, Params: []byte{1, 3}},
		},
		{
			"addresses", message(func(b []byte) { copy(b[12:], []byte{10, 0, 0, 1}); copy(b[24:], []byte{10, 0, 0, 2}) },
				53, 1, 3, 50, 4, 10, 0, 0, 3, 54, 4, 10, 0, 0, 4, 255),
			Request{Type: Ask, Client: addr4("10.0.0.1"), Relay: addr4("10.0.0.2"), Requested: addr4("10.0.0.3"), Server: addr4("10.0.0.4")},
		},
		{"no end option", message(nil, 53, 1, 1), Request{Type: Discover}},
		{"pads", message(nil, 0, 0, 53, 1, 1, 0, 255), Request{Type: Discover}},
		{"option split in three", message(nil, 55, 1, 1, 53, 1, 1, 55, 1, 3, 55, 1, 6, 255), Request{Type: Discover, Params: []byte{1, 3, 6}}},
		{"overload: options, then file, then sname", message(func(b []byte) {
			copy(b[108:], []byte{55, 1, 3, 255})
			copy(b[44:], []byte{55, 1, 6, 12, 1, 'h', 255})
		}, 53, 1, 1, 52, 1, 3, 55, 1, 1, 255), Request{Type: Discover, Params: []byte{1, 3, 6}, Hostname: []byte("h")}},
		{"file is no options without overload", message(func(b []byte) { copy(b[108:], []byte{12, 1, 'h', 255}) }, 53, 1, 1, 255), Request{Type: Discover}},
		{"iPXE bare", message(nil, 53, 1, 1, 77, 4, 'i', 'P', 'X', 'E', 255), Request{Type: Discover, IPXE: true}},
		{"iPXE with a length", message(nil, 53, 1, 1, 77, 5, 4, 'i', 'P', 'X', 'E', 255), Request{Type: Discover, IPXE: true}},
		{"iPXE by its own options", message(nil, 53, 1, 1, 175, 0, 255), Request{Type: Discover, IPXE: true}},
		{
			"link selection by a relay", message(func(b []byte) { b[24] = 10 }, 53, 1, 1, 82, 9, 1, 1, 'p', 5, 4, 10, 9, 0, 0, 255),
			Request{Type: Discover, Relay: addr4("10.0.0.0"), Link: addr4("10.9.0.0"), RelayInfo: []byte{1, 1, 'p', 5, 4, 10, 9, 0, 0}},
		},
		{
			"no link selection without a relay", message(nil, 53, 1, 1, 82, 6, 5, 4, 10, 9, 0, 0, 255),
			Request{Type: Discover, RelayInfo: []byte{5, 4, 10, 9, 0, 0}},
		},
		{
			"broken relay information", message(func(b []byte) { b[24] = 10 }, 53, 1, 1, 82, 4, 5, 4, 10, 9, 255),
			Request{Type: Discover, Relay: addr4("10.0.0.0"), RelayInfo: []byte{5, 4, 10, 9}},
		},
		{"subnet selection", message(nil, 53, 1, 1, 118, 4, 10, 9, 0, 0, 255), Request{Type: Discover, Link: addr4("10.9.0.0"), Selected: true}},
		{"size and architecture", message(nil, 53, 1, 1, 57, 2, 0xff, 0, 93, 2, 0, 7, 255), Request{Type: Discover, MaxSize: 65280, Archs: []byte{0, 7}}},
		{
			"server id override by a relay", message(func(b []byte) { b[24] = 10 }, 53, 1, 1, 82, 6, 11, 4, 10, 9, 0, 1, 255),
			Request{Type: Discover, Relay: addr4("10.0.0.0"), Override: addr4("10.9.0.1"), RelayInfo: []byte{11, 4, 10, 9, 0, 1}},
		},
		{
			"no server id override without a relay", message(nil, 53, 1, 1, 82, 6, 11, 4, 10, 9, 0, 1, 255),
			Request{Type: Discover, RelayInfo: []byte{11, 4, 10, 9, 0, 1}},
		},
		{"wrong lengths are as absent", message(nil, 53, 2, 1, 1, 50, 3, 10, 0, 0, 57, 1, 9, 255), Request{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.MAC = testMAC
			var got Request
			if err := got.Parse(tt.in); err != nil {
				t.Fatal(err)
			}
			ignore := cmpopts.IgnoreUnexported(Request{})
			if diff := cmp.Diff(tt.want, got, ignore, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		want error
	}{
		{"short", make([]byte, 239), ErrShort},
		{"reply", message(func(b []byte) { b[0] = 2 }, 255), ErrForeign},
		{"not Ethernet", message(func(b []byte) { b[1] = 32 }, 255), ErrForeign},
		{"long hardware address", message(func(b []byte) { b[2] = 16 }, 255), ErrForeign},
		{"no cookie", message(func(b []byte) { b[236] = 0 }, 255), ErrForeign},
		{"option runs over", message(nil, 53, 9, 1), ErrOptions},
		{"code without a length", message(nil, 53), ErrOptions},
		{"overloaded file runs over", message(func(b []byte) { b[108], b[109] = 12, 200 }, 52, 1, 1, 255), ErrOptions},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := new(Request).Parse(tt.in); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	in := message(nil, 53, 1, 1, 55, 1, 1, 61, 3, 1, 2, 3, 55, 2, 3, 6, 93, 2, 0, 7, 255)
	var r Request
	if n := testing.AllocsPerRun(100, func() {
		if r.Parse(in) != nil {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}

// FuzzParse holds the parser against another implementation: what both accept must mean the same.
func FuzzParse(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed)
	}
	var r Request
	f.Fuzz(func(t *testing.T, in []byte) {
		if r.Parse(in) != nil {
			return
		}
		peer, err := dhcpv4.FromBytes(in)
		if err != nil || peer.Options.Has(dhcpv4.OptionOptionOverload) {
			return // it does not look into overloaded fields
		}
		opt := func(code uint8) []byte { return peer.Options.Get(dhcpv4.GenericOptionCode(code)) }
		for _, c := range []struct {
			name      string
			ours, its []byte
		}{
			{"client id", r.ID, opt(ClientID)},
			{"parameters", r.Params, opt(ParameterList)},
			{"class", r.VendorClass, opt(VendorClass)},
			{"hostname", r.Hostname, opt(Hostname)},
			{"relay", r.RelayInfo, opt(RelayInfo)},
			{"arch", r.Archs, opt(ClientArch)},
			{"mac", r.MAC[:], peer.ClientHWAddr},
			{"ciaddr", ipOf(r.Client), peer.ClientIPAddr.To4()},
			{"giaddr", ipOf(r.Relay), peer.GatewayIPAddr.To4()},
		} {
			if !bytes.Equal(c.ours, c.its) {
				t.Errorf("%s: %x, the other reads %x", c.name, c.ours, c.its)
			}
		}
		if its := peer.MessageType(); its != 0 && Type(its) != r.Type {
			t.Errorf("type %d, the other reads %d", r.Type, its)
		}
		if peer.IsBroadcast() != r.Broadcast {
			t.Errorf("broadcast %v", r.Broadcast)
		}
		if v := opt(MaxMessageSize); len(v) == 2 && int(binary.BigEndian.Uint16(v)) != r.MaxSize {
			t.Errorf("size %d", r.MaxSize)
		}
	})
}

func ipOf(a netip.Addr) []byte {
	if !a.IsValid() {
		return net.IPv4zero.To4()
	}
	return a.AsSlice()
}

// seeds are requests as the other implementation writes them.
func seeds(t testing.TB) [][]byte {
	var out [][]byte
	for _, mods := range [][]dhcpv4.Modifier{
		{dhcpv4.WithMessageType(dhcpv4.MessageTypeDiscover)},
		{
			dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), dhcpv4.WithBroadcast(true), dhcpv4.WithClientIP(net.IPv4(10, 0, 0, 9)),
			dhcpv4.WithRelay(net.IPv4(10, 0, 0, 1)),
			dhcpv4.WithGeneric(dhcpv4.OptionRelayAgentInformation, []byte{5, 4, 10, 1, 0, 0}),
			dhcpv4.WithGeneric(dhcpv4.OptionClientIdentifier, bytes.Repeat([]byte{7}, 300)),
			dhcpv4.WithGeneric(dhcpv4.OptionUserClassInformation, []byte("iPXE")),
		},
	} {
		d, err := dhcpv4.New(append(mods, dhcpv4.WithHwAddr(testMAC[:]))...)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, d.ToBytes())
	}
	return append(out, message(nil, 52, 1, 3, 53, 1, 1, 255))
}
