package clock

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var now = time.Unix(1795791659, 307200000)

// Replies of chronyd 4.3 to "tracking" with sequence number 0x01020304.
const localReply = "060200000021000500000000000000000102030400000000000000007f7f0101000000000000000000000000000000000000000000050000" +
	"000000006b099b2b124f7ffa000000000000000000000000000000000000000000000000000000000000000000000000"

func reply(t testing.TB, edit func(b []byte)) []byte {
	t.Helper()
	b, err := hex.DecodeString(localReply)
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(b)
	}
	return b
}

func TestParseTracking(t *testing.T) {
	be := binary.BigEndian
	kept := func(b []byte) {
		d := b[replyHeader:]
		copy(d, []byte{192, 0, 2, 1})
		be.PutUint16(d[24:], 3)          // stratum
		be.PutUint16(d[26:], 1)          // a leap second is inserted
		be.PutUint32(d[40:], 0xf7f00000) // correction: -1 * 2^-11 s... -(2^20)*2^(-5-25)
		be.PutUint32(d[64:], 0x02800000) // root delay: 2^23 * 2^(1-25) s
		be.PutUint32(d[68:], 0xfa800000) // root dispersion: 2^23 * 2^(-3-25) s
	}
	for _, tt := range []struct {
		name string
		edit func(b []byte)
		want State
	}{
		{"local mode", nil, State{By: Chronyd, Stratum: 5, RefID: localID, RefTime: now.Truncate(time.Second)}},
		{"not synchronised", func(b []byte) { kept(b); be.PutUint16(b[replyHeader+26:], 3) }, local(Chronyd, now)},
		{"no stratum", func(b []byte) { kept(b); be.PutUint16(b[replyHeader+24:], 0) }, local(Chronyd, now)},
		{"kept", kept, State{
			By: Chronyd, Synchronised: true, Leap: 1, Stratum: 3, RefID: [4]byte{192, 0, 2, 1}, RefTime: time.Unix(0x6b099b2b, 0x124f7ffa),
			Delay: 500 * time.Millisecond, Dispersion: 31250*time.Microsecond + 976562*time.Nanosecond,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseTracking(reply(t, tt.edit), 0x01020304, now)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	for name, b := range map[string][]byte{
		"empty": nil, "short": reply(t, nil)[:trackingLen-1], "another sequence": reply(t, func(b []byte) { b[19]++ }),
		"another version": reply(t, func(b []byte) { b[0] = 5 }), "a request": reply(t, func(b []byte) { b[1] = typeRequest }),
		"not authorised": reply(t, func(b []byte) { b[9] = 2 }), "another reply": reply(t, func(b []byte) { b[7]++ }),
	} {
		if s, err := parseTracking(b, 0x01020304, now); err == nil {
			t.Errorf("%s: taken for %+v", name, s)
		}
	}
}

func FuzzParseTracking(f *testing.F) {
	f.Add(reply(f, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseTracking(b, 0x01020304, now)
		if err == nil && (s.Stratum < 1 || s.Stratum > 15 || s.Leap > 2 || s.Delay < 0 || s.Dispersion < 0) {
			t.Fatalf("%+v", s)
		}
	})
}

func TestSeconds(t *testing.T) {
	for x, want := range map[uint32]time.Duration{
		0: 0, 0x02800000: 500 * time.Millisecond, 0x03800000: -500 * time.Millisecond, 0x7effffff: 1e6 * time.Second,
	} {
		if got := seconds(x); got != want {
			t.Errorf("%#x is %s, want %s", x, got, want)
		}
	}
	if math.Abs(seconds(0xb6c00000).Seconds()) > 1e-6 {
		t.Error(seconds(0xb6c00000))
	}
}

func TestKernel(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   unix.Timex
		want State
	}{
		{"free", unix.Timex{Status: staUnsync, Maxerror: 16e6}, local(Kernel, now)},
		{"broken", unix.Timex{Status: staClockErr}, local(Kernel, now)},
		{"kept", unix.Timex{Maxerror: 2500, Offset: -40}, State{
			By: Kernel, Synchronised: true, Stratum: 8, RefID: keptID, RefTime: now.Truncate(time.Second), Dispersion: 2540 * time.Microsecond,
		}},
		{"kept, in nanoseconds, leap second", unix.Timex{Status: staNano | staIns, Maxerror: 2500, Offset: 40000}, State{
			By: Kernel, Synchronised: true, Leap: 1, Stratum: 8, RefID: keptID, RefTime: now.Truncate(time.Second), Dispersion: 2540 * time.Microsecond,
		}},
		{"second left out", unix.Timex{Status: staDel}, State{
			By: Kernel, Synchronised: true, Leap: 2, Stratum: 8, RefID: keptID, RefTime: now.Truncate(time.Second),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, ofKernel(&tt.in, now)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// A port where nobody is, and one whose owner says nothing, leave the kernel.
func TestWithoutChronyd(t *testing.T) {
	mute, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := netip.MustParseAddrPort(free.LocalAddr().String())
	free.Close()
	for name, at := range map[string]netip.AddrPort{"nobody": nobody, "mute": netip.MustParseAddrPort(mute.LocalAddr().String())} {
		s, err := (&Host{Chronyd: at}).Read(t.Context())
		if err != nil || s.By != Kernel || s.Stratum == 0 {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

func TestPrecision(t *testing.T) {
	if p := Precision(); p > -10 || p < -32 {
		t.Errorf("2^%d s", p)
	}
}
