package peek

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// v2 is a header of version 2.
func v2(command, family byte, body ...byte) []byte {
	b := append([]byte(v2Signature), 0x20|command, family)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(body))), body...)
}

// summed appends a checksum field to a body, right but for wrong.
func summed(wrong uint32, body ...byte) []byte {
	body = append(body, v2CRC32C, 0, 4, 0, 0, 0, 0)
	sum := crc32.Checksum(v2(1, v2TCP4, body...), castagnoli)
	binary.BigEndian.PutUint32(body[len(body)-4:], sum^wrong)
	return v2(1, v2TCP4, body...)
}

func TestProxyHeader(t *testing.T) {
	four := []byte{192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x34, 0, 80}
	six := append(append(netip.MustParseAddr("2001:db8::1").AsSlice(), netip.MustParseAddr("2001:db8::2").AsSlice()...), 0x12, 0x34, 1, 0xbb)
	mapped := append(append(netip.MustParseAddr("::ffff:192.0.2.1").AsSlice(), netip.MustParseAddr("::ffff:198.51.100.1").AsSlice()...), 0x12, 0x34, 0, 80)
	tlv := append(append([]byte{}, four...), 1, 0, 2, 'h', '2')
	ap := netip.MustParseAddrPort
	from4, to4 := ap("192.0.2.1:4660"), ap("198.51.100.1:80")
	from6, to6 := ap("[2001:db8::1]:4660"), ap("[2001:db8::2]:443")
	tests := []struct {
		name        string
		in          string
		from, local netip.AddrPort
		size        int
		o           Outcome
	}{
		{"v1", "PROXY TCP4 192.0.2.1 198.51.100.1 4660 80\r\ndata", from4, to4, 43, Found},
		{"v1 IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 4660 443\r\n", from6, to6, 45, Found},
		{"v1 IPv4 in IPv6", "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.1 4660 80\r\n", from4, to4, 57, Found},
		{"v1 unknown", "PROXY UNKNOWN\r\nx", netip.AddrPort{}, netip.AddrPort{}, 15, Absent},
		{"v1 unknown with more", "PROXY UNKNOWN ffff::1 what ever\r\n", netip.AddrPort{}, netip.AddrPort{}, 33, Absent},
		{"v1 as long as it may be", "PROXY UNKNOWN " + strings.Repeat("f", 91) + "\r\n", netip.AddrPort{}, netip.AddrPort{}, 107, Absent},
		{"v1 too long", "PROXY UNKNOWN " + strings.Repeat("f", 92) + "\r\n", netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"v1 half", "PROXY TCP4 192.0", netip.AddrPort{}, netip.AddrPort{}, 0, More},
		{"v1 without its line feed", "PROXY UNKNOWN\r", netip.AddrPort{}, netip.AddrPort{}, 0, More},
		{"v1 other family", "PROXY UDP4 192.0.2.1 198.51.100.1 4660 80\r\n", netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"v1 wrong family", "PROXY TCP6 192.0.2.1 198.51.100.1 4660 80\r\n", netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"v1 wrong family of one", "PROXY TCP4 192.0.2.1 2001:db8::1 4660 80\r\n", netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"v1 zone", "PROXY TCP6 fe80::1%eth0 fe80::2 4660 80\r\n", netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"v1 two spaces", "PROXY TCP4 192.0.2.1  198.51.100.1 4660 80\r\n", netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"v1 too many words", "PROXY TCP4 192.0.2.1 198.51.100.1 4660 80 1\r\n", netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"v1 too few words", "PROXY TCP4 192.0.2.1 198.51.100.1 4660\r\n", netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"v1 port too high", "PROXY TCP4 192.0.2.1 198.51.100.1 65536 80\r\n", netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"v1 port with zeros", "PROXY TCP4 192.0.2.1 198.51.100.1 04660 80\r\n", netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"v1 port that is none", "PROXY TCP4 192.0.2.1 198.51.100.1 +466 80\r\n", netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"v1 in small letters", "proxy TCP4 192.0.2.1 198.51.100.1 4660 80\r\n", netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"v2", string(v2(1, 0x11, four...)) + "data", from4, to4, 28, Found},
		{"v2 IPv6", string(v2(1, 0x21, six...)), from6, to6, 52, Found},
		{"v2 IPv4 in IPv6", string(v2(1, 0x21, mapped...)), from4, to4, 52, Found},
		{"v2 with fields", string(v2(1, 0x11, tlv...)), from4, to4, 33, Found},
		{"v2 with a checksum", string(summed(0, tlv...)), from4, to4, 40, Found},
		{"v2 with a wrong checksum", string(summed(1, tlv...)), netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"v2 with half a checksum", string(v2(1, 0x11, append(four, 3, 0, 2, 1, 2)...)), netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"v2 local", string(v2(0, 0)), netip.AddrPort{}, netip.AddrPort{}, 16, Absent},
		{"v2 local with addresses", string(v2(0, 0x11, four...)), netip.AddrPort{}, netip.AddrPort{}, 28, Absent},
		{"v2 local with half addresses", string(v2(0, 0x11, 1, 2)), netip.AddrPort{}, netip.AddrPort{}, 18, Absent},
		{"v2 unspecified", string(v2(1, 0, 1, 2)), netip.AddrPort{}, netip.AddrPort{}, 0, Garbage}, // no field fits in there
		{"v2 UDP", string(v2(1, 0x12, four...)), netip.AddrPort{}, netip.AddrPort{}, 28, Absent},
		{"v2 Unix", string(v2(1, 0x31, make([]byte, 216)...)), netip.AddrPort{}, netip.AddrPort{}, 232, Absent},
		{"v2 short addresses", string(v2(1, 0x11, four[:11]...)), netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"v2 field too long", string(v2(1, 0x11, append(four, 1, 0, 3, 'h', '2')...)), netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"v2 half a field", string(v2(1, 0x11, append(four, 1, 0)...)), netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"v2 unknown command", string(v2(2, 0x11, four...)), netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"version 1 in binary", v2Signature + "\x11\x11\x00\x0c" + string(four), netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"v2 longer than a head", v2Signature + "\x21\x11\x3f\xf1", netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"v2 half", string(v2(1, 0x11, four...))[:20], netip.AddrPort{}, netip.AddrPort{}, 0, More},
		{"v2 half a signature", v2Signature[:5], netip.AddrPort{}, netip.AddrPort{}, 0, More},
		{"none", "GET / HTTP/1.1\r\n", netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"TLS", "\x16\x03\x01", netip.AddrPort{}, netip.AddrPort{}, 0, Garbage},
		{"nothing", "", netip.AddrPort{}, netip.AddrPort{}, 0, More},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, o := ProxyHeader([]byte(tt.in))
			want := Proxied{tt.from, tt.local, tt.size}
			if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" || o != tt.o {
				t.Fatalf("%v, want %v\n%s", o, tt.o, diff)
			}
			early(t, []byte(tt.in), proxyText)
		})
	}
}

func proxyText(b []byte) (string, Outcome) {
	p, o := ProxyHeader(b)
	return p.Client.String() + p.Local.String(), o
}

func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 198.51.100.1 4660 80\r\n"))
	f.Add(v2(1, 0x11, 192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x34, 0, 80, 1, 0, 2, 'h', '2'))
	f.Add(v2(0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1024 {
			return
		}
		early(t, b, proxyText)
		if p, _ := ProxyHeader(b); p.Size > len(b) {
			t.Errorf("a header of %d bytes in %d", p.Size, len(b))
		}
	})
}
