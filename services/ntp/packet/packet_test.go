package packet

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// unhex reads bytes in hex, blanks apart.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "", "\t", "").Replace(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Requests, the first two as they were sent.
var (
	// chronyd 4.3: nothing of itself, and the transmit time is random.
	chrony = `23 00 06 20 00000000 00000000 00000000 0000000000000000 0000000000000000 0000000000000000 fe7dda03320e3337`
	// ntpdig of ntpsec 1.2.2: the transmit time is that of its clock.
	ntpdig = `e3 00 00 00 00000000 00000000 00000000 0000000000000000 0000000000000000 0000000000000000 eeb41b28942db000`
	// SNTP of version 3 as simple firmware does it.
	sntp3 = `1b 00 00 00 00000000 00000000 00000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000`
)

const code = `00000001 00112233445566778899aabbccddeeff` // key 1, MD5

func TestParse(t *testing.T) {
	field := "0104 0020" + strings.Repeat("00", 28)
	for _, tt := range []struct {
		name, packet string
		want         Request
		verdict      Verdict
	}{
		{"chronyd", chrony, Request{Version: 4, Poll: 6, Transmit: 0xfe7dda03320e3337}, Client},
		{"ntpdig", ntpdig, Request{Version: 4, Transmit: 0xeeb41b28942db000}, Client},
		{"SNTP 3", sntp3, Request{Version: 3}, Client},
		{"version 1", "0b" + sntp3[2:], Request{Version: 1}, Client},
		{"version 1, which has no modes", "08" + sntp3[2:], Request{Version: 1}, Client},
		{"no mode, version 3", "18" + sntp3[2:], Request{}, Other},
		{"version 2", "13" + sntp3[2:], Request{Version: 2}, Client},
		{"version 0", "03" + sntp3[2:], Request{}, Other},
		{"version 5", "2b" + sntp3[2:], Request{}, Other},
		{"symmetric active", "21" + chrony[2:], Request{}, Other},
		{"symmetric passive", "22" + chrony[2:], Request{}, Other},
		{"an answer", "24" + chrony[2:], Request{}, Other},
		{"broadcast", "25" + chrony[2:], Request{}, Other},
		{"mode 6, readvar", "16 02 0001 0000 0000 0000 0000", Request{}, Other},
		{"mode 7, monlist", "17 00 03 2a 00000000", Request{}, Other},
		{"empty", "", Request{}, Malformed},
		{"short", chrony[:len(chrony)-2], Request{}, Malformed},
		{"one byte more", chrony + "00", Request{}, Malformed},
		{"signed", chrony + code, Request{Version: 4, Poll: 6, Transmit: 0xfe7dda03320e3337, Signed: true}, Client},
		{"signed by SHA-1", chrony + code + "01020304", Request{Version: 4, Poll: 6, Transmit: 0xfe7dda03320e3337, Signed: true}, Client},
		{"signed, version 3", sntp3 + code, Request{Version: 3, Signed: true}, Client},
		{"signed by SHA-512, version 3", sntp3 + strings.Repeat("01", 68), Request{Version: 3, Signed: true}, Client},
		{"a longer code, version 3", sntp3 + strings.Repeat("01", 72), Request{}, Malformed},
		{"crypto-NAK of a client", chrony + "00000000", Request{}, Malformed},
		{"field", chrony + field, Request{Version: 4, Poll: 6, Transmit: 0xfe7dda03320e3337}, Client},
		{"two fields and a code", chrony + field + field + code, Request{Version: 4, Poll: 6, Transmit: 0xfe7dda03320e3337, Signed: true}, Client},
		{"short last field", chrony + "0104 0010" + strings.Repeat("00", 12), Request{Version: 4, Poll: 6, Transmit: 0xfe7dda03320e3337}, Client},
		{"field without length", chrony + "0104 0000" + strings.Repeat("00", 28), Request{}, Malformed},
		{"field longer than the packet", chrony + "0104 0040" + strings.Repeat("00", 28), Request{}, Malformed},
		{"field of odd length", chrony + "0104 0013" + strings.Repeat("00", 28), Request{}, Malformed},
		{"rubbish of 8 bytes", chrony + "0102030405060708", Request{}, Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got Request
			if v := got.Parse(unhex(t, tt.packet)); v != tt.verdict {
				t.Fatalf("verdict %d, want %d", v, tt.verdict)
			}
			if tt.verdict == Client && got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestReply(t *testing.T) {
	h := &Header{
		Leap: 1, Stratum: 3, Precision: -24, RootDelay: Short(time.Second / 2), RootDispersion: Short(20 * time.Millisecond),
		RefID: [4]byte{192, 0, 2, 1}, RefTime: 0xee0b6a0000000001,
	}
	for _, tt := range []struct{ name, request, want string }{
		{
			"version 4", chrony,
			`64 03 06 e8 00008000 0000051f c0000201 ee0b6a0000000001 fe7dda03320e3337 ee0b6a1240000000 ee0b6a1250000000`,
		},
		{
			"version 3", sntp3,
			`5c 03 00 e8 00008000 0000051f c0000201 ee0b6a0000000001 0000000000000000 ee0b6a1240000000 ee0b6a1250000000`,
		},
		{
			"signed: crypto-NAK", chrony + code,
			`64 03 06 e8 00008000 0000051f c0000201 ee0b6a0000000001 fe7dda03320e3337 ee0b6a1240000000 ee0b6a1250000000 00000000`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r Request
			request := unhex(t, tt.request)
			if v := r.Parse(request); v != Client {
				t.Fatalf("verdict %d", v)
			}
			out := bytes.Repeat([]byte{0xff}, MaxReply) // as the last answer left it
			n := r.Reply(out, h, 0xee0b6a1240000000)
			Stamp(out[:n], 0xee0b6a1250000000)
			if diff := cmp.Diff(hex.EncodeToString(unhex(t, tt.want)), hex.EncodeToString(out[:n])); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// A clock that was set back a moment ago was set last in the future; no answer says so.
func TestClockSetBack(t *testing.T) {
	var r Request
	r.Parse(unhex(t, chrony))
	out := make([]byte, MaxReply)
	for set, want := range map[Time]Time{0xee0b6a0000000000: 0xee0b6a0000000000, 0xee0b790000000000: 0xee0b6a1240000000, 0x0000000500000000: 0xee0b6a1240000000} {
		r.Reply(out, &Header{Stratum: 2, RefTime: set}, 0xee0b6a1240000000)
		if got := Time(binary.BigEndian.Uint64(out[16:])); got != want {
			t.Errorf("set at %#x, told as %#x, want %#x", set, got, want)
		}
	}
}

func TestKiss(t *testing.T) {
	var r Request
	r.Parse(unhex(t, chrony))
	out := bytes.Repeat([]byte{0xff}, MaxReply)
	want := `e4 00 06 00 00000000 00000000 52415445 0000000000000000 fe7dda03320e3337 fe7dda03320e3337 fe7dda03320e3337`
	if diff := cmp.Diff(hex.EncodeToString(unhex(t, want)), hex.EncodeToString(out[:r.Kiss(out)])); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTime(t *testing.T) {
	for _, tt := range []struct {
		sec, nsec int64
		want      Time
	}{
		{0, 0, 2208988800 << 32},
		{1, 500_000_000, 2208988801<<32 | 1<<31},
		{0, 999_999_999, 2208988800<<32 | 0xfffffffb},
		{2085978496, 0, 0},       // 7 February 2036: the next era begins
		{2085978497, 0, 1 << 32}, // and goes on
	} {
		if got := TimeOf(tt.sec, tt.nsec); got != tt.want {
			t.Errorf("TimeOf(%d, %d) = %#x, want %#x", tt.sec, tt.nsec, got, tt.want)
		}
	}
	if d := TimeOf(2085978506, 0).Sub(TimeOf(2085978486, 0)); d != 20*time.Second {
		t.Errorf("20 s over the end of the era are %s", d)
	}
	if d := TimeOf(0, 0).Sub(TimeOf(1795791600, 0)); d != -1795791600*time.Second {
		t.Errorf("a clock of 1970 is off by %s", d)
	}
	for d, want := range map[time.Duration]uint32{-1: 0, 0: 0, 1: 1, time.Second: 1 << 16, 20 * time.Hour: 1<<32 - 1} {
		if got := Short(d); got != want {
			t.Errorf("Short(%s) = %#x, want %#x", d, got, want)
		}
	}
}

// Whatever comes in, no answer is longer than it, and the answer repeats the client's time.
func FuzzParse(f *testing.F) {
	for _, s := range []string{chrony, ntpdig, sntp3, chrony + code, chrony + "0104 0020" + strings.Repeat("00", 28) + code, "16 02 0001 0000 0000 0000 0000"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var r Request
		v := r.Parse(p)
		if v != Client {
			return
		}
		if p[0]&7 != ModeClient || r.Version != p[0]>>3&7 {
			t.Fatalf("% x is taken for a request: %+v", p[:1], r)
		}
		out := make([]byte, MaxReply)
		n := r.Reply(out, &Header{}, 1)
		if n > len(p) || r.Kiss(out) > len(p) {
			t.Fatalf("%d bytes are answered by %d", len(p), n)
		}
		if !bytes.Equal(out[24:32], p[40:48]) {
			t.Fatalf("origin % x for % x", out[24:32], p[40:48])
		}
		var again Request
		if again.Parse(out[:n]) != Other {
			t.Fatal("an answer is taken for a request: two servers would talk for ever")
		}
	})
}
