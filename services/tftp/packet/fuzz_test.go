package packet

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
)

// Whatever comes by the network, a request is refused or its terms are sound.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"", "\x00\x01", "\x00\x01f\x00octet\x00", "\x00\x01f\x00NETASCII\x00tsize\x000\x00blksize\x001468\x00windowsize\x004\x00",
		"\x00\x01f\x00octet\x00blksize\x0099999999999999999999\x00timeout\x00-1\x00", "\x00\x02f\x00octet\x00",
		"\x00\x01..\\..\\..\\etc\\passwd\x00octet\x00", "\x00\x01f\x00octet\x00\x00\x00\x00\x00", "\x00\x01\xff\xfe\x00octet\x00tsize\x00",
	} {
		f.Add([]byte(s), int64(1000))
	}
	f.Fuzz(func(t *testing.T, p []byte, size int64) {
		before := bytes.Clone(p)
		r, bad := ParseRequest(p)
		if !bytes.Equal(p, before) {
			t.Fatal("the packet was written to")
		}
		if bad != nil {
			if p := bad.Bytes(); len(p) > 128 || p[len(p)-1] != 0 {
				t.Fatalf("refusal %q", p)
			}
			return
		}
		if p := r.Path(); !strings.HasPrefix(p, "/") || strings.Contains(p+"/", "/../") || strings.Contains(p, "\\") {
			t.Fatalf("%q leads to %q", r.file, p)
		}
		const largest = 1468
		n := r.Negotiate(size, largest)
		if n.Block < MinBlockSize || n.Block > largest || n.Window < 1 || n.Window > MaxWindow || n.Timeout < defaultTimeout || n.Timeout > 255*defaultTimeout {
			t.Fatalf("terms %+v", n)
		}
		if n.OACK == nil {
			return
		}
		fields := bytes.Split(n.OACK[2:], []byte{0})
		if len(fields)%2 != 1 || len(fields[len(fields)-1]) > 0 {
			t.Fatalf("OACK %q", n.OACK)
		}
		for i := 1; i < len(fields); i += 2 {
			if _, err := strconv.ParseUint(string(fields[i]), 10, 63); err != nil {
				t.Fatalf("OACK %q: %v", n.OACK, err)
			}
		}
	})
}

func FuzzErrorPacket(f *testing.F) {
	f.Add([]byte("\x00\x05\x00\x00x\x00"))
	f.Add([]byte("\x00\x05\x00\x03\xff\x1b[0m"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) < HeaderLen {
			return
		}
		if text := ParseError(p).Text; strings.ContainsAny(text, "\x00\x1b\n\r") || len(text) > 300 {
			t.Fatalf("%q", text)
		}
	})
}
