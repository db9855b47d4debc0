package iso

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func FuzzLayout(f *testing.F) {
	f.Add(seed(`{"file":"ignition.img"}`, `{"size":20,"files":[{"path":"grub.cfg","offset":3}]}`))
	f.Add(seed(`{"file":"ignition.img","offset":1,"length":2}`, `{"size":4,"files":[{"path":"grub.cfg","offset":3,"pad":" ","end":"x"}]}`))
	f.Add(seed("", ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ReadLayout(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for _, a := range l.areas() {
			if a.offset < 0 || a.length < 1 || a.offset+a.length > int64(len(b)) {
				t.Errorf("area %+v of %d bytes", a, len(b))
			}
		}
		patches, err := l.patches([]string{"a=b"}, []byte("{}"))
		if err != nil {
			return
		}
		for i, p := range patches {
			if p.offset < 0 || p.end() > int64(len(b)) || i > 0 && p.offset < patches[i-1].end() {
				t.Errorf("patch %d of %d bytes at %d", i, len(p.data), p.offset)
			}
		}
	})
}

func TestSeeds(t *testing.T) {
	for _, b := range [][]byte{seed(`{"file":"ignition.img"}`, `{"size":20,"files":[{"path":"grub.cfg","offset":3}]}`), seed("", "")} {
		if l, err := ReadLayout(bytes.NewReader(b), int64(len(b))); err != nil || l.args != "args" {
			t.Errorf("%+v, %v", l, err)
		}
	}
}

// seed is a small ISO by hand. Without JSON it has headers in the system area.
func seed(igninfo, kargs string) []byte {
	b := make([]byte, 24*2048)
	at := 18 * 2048
	record := func(sector, size int, folder byte, name string) {
		n := 33 + len(name) + (1 - len(name)%2)
		b[at], b[at+2], b[at+25], b[at+32] = byte(n), byte(sector), folder, byte(len(name))
		binary.LittleEndian.PutUint32(b[at+10:], uint32(size))
		copy(b[at+33:], name)
		at += n
	}
	pvd := 16 * 2048
	copy(b[pvd:], "\x01CD001\x01")
	b[pvd+129] = 8
	at = pvd + 156
	record(18, 2048, 2, "\x00")
	at = 18 * 2048
	if igninfo != "" {
		record(19, 2048, 2, "COREOS")
	}
	record(20, 2048, 0, "IGNITION.IMG;1")
	record(21, 60, 0, "GRUB.CFG;1")
	at = 19 * 2048
	record(22, len(igninfo), 0, "IGNINFO.JSO;1")
	record(23, len(kargs), 0, "KARGS.JSO;1")
	copy(b[21*2048:], "#> args\n"+string(bytes.Repeat([]byte{'#'}, 52)))
	copy(b[22*2048:], igninfo)
	copy(b[23*2048:], kargs)
	if igninfo == "" {
		h := []byte("coreKarg")
		for _, v := range []uint64{20, 21*2048 + 3, 21*2048 + 3, 0, 0, 0, 0, 0} {
			h = binary.LittleEndian.AppendUint64(h, v)
		}
		h = append(h, "coreiso+"...)
		h = binary.LittleEndian.AppendUint64(h, 20*2048)
		h = binary.LittleEndian.AppendUint64(h, 2048)
		copy(b[32768-len(h):], h)
	}
	return b
}
