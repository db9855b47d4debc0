package tftp

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"
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
	f.Fuzz(func(t *testing.T, packet []byte, size int64) {
		before := bytes.Clone(packet)
		r, bad := parseRequest(packet)
		if !bytes.Equal(packet, before) {
			t.Fatal("the packet was written to")
		}
		if bad != nil {
			if p := bad.packet(); len(p) > 128 || p[len(p)-1] != 0 {
				t.Fatalf("refusal %q", p)
			}
			return
		}
		if p := r.path(); !strings.HasPrefix(p, "/") || strings.Contains(p+"/", "/../") || strings.Contains(p, "\\") {
			t.Fatalf("%q leads to %q", r.file, p)
		}
		const largest = 1468
		n := negotiate(&r, size, largest)
		if n.block < minBlockSize || n.block > largest || n.window < 1 || n.window > maxWindow || n.timeout < defaultTimeout || n.timeout > 255*defaultTimeout {
			t.Fatalf("terms %+v", n)
		}
		if n.oack == nil {
			return
		}
		fields := bytes.Split(n.oack[2:], []byte{0})
		if len(fields)%2 != 1 || len(fields[len(fields)-1]) > 0 {
			t.Fatalf("OACK %q", n.oack)
		}
		for i := 1; i < len(fields); i += 2 {
			if _, err := strconv.ParseUint(string(fields[i]), 10, 63); err != nil {
				t.Fatalf("OACK %q: %v", n.oack, err)
			}
		}
	})
}

func FuzzErrorPacket(f *testing.F) {
	f.Add([]byte("\x00\x05\x00\x00x\x00"))
	f.Add([]byte("\x00\x05\x00\x03\xff\x1b[0m"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) < headerLen {
			return
		}
		if text := parseError(p).text; strings.ContainsAny(text, "\x00\x1b\n\r") || len(text) > 300 {
			t.Fatalf("%q", text)
		}
	})
}

// Whatever a client answers, in whatever order and between whatever time-outs,
// it gets no more than the window, and nothing ends well that has not ended.
func FuzzTransfer(f *testing.F) {
	f.Add(uint16(5000), uint8(1), true, []byte("\x04\x00\x04\x00\x00\x00\x00\x01"))
	f.Add(uint16(0), uint8(4), false, []byte("\x04\x00\x04\x00\x04\x00\x04\x01\xff\x04\x00\x05\x00\x00\x00"))
	f.Add(uint16(512*3), uint8(64), true, []byte("\x00\x04\x04\x00\x04\x00\x00\x04\x00\x04\x00\x04\x03"))
	f.Fuzz(func(t *testing.T, size uint16, window uint8, options bool, answers []byte) {
		p, out, now := &fakePort{}, newSender(), time.Now()
		tr := &transfer{port: p, src: memory(make([]byte, size)), segment: true, terms: terms{block: 512, window: 1 + int(window)%maxWindow, timeout: time.Second}}
		if options {
			tr.oack = []byte("\x00\x06tsize\x000\x00")
		}
		err := tr.begin(out, now)
		for len(answers) > 0 && err == nil {
			n := min(int(answers[0])%8, len(answers)-1)
			packet := answers[1 : 1+n]
			answers = answers[1+n:]
			if n == 7 {
				now = tr.deadline
				err = tr.expired(out, now)
			} else {
				err = tr.take(out, packet, nil, now)
			}
			blocks := int64(size)/512 + 1
			if tr.acked > tr.sent || tr.sent > min(blocks, tr.acked+int64(tr.window)) || tr.bytes() > int64(size) {
				t.Fatalf("%d blocks acknowledged, %d sent of %d in windows of %d; %d bytes", tr.acked, tr.sent, blocks, tr.window, tr.bytes())
			}
			if err == nil && !tr.deadline.After(now) {
				t.Fatalf("the deadline is %v, now is %v", tr.deadline, now)
			}
			if errors.Is(err, errDone) && tr.bytes() != int64(size) {
				t.Fatalf("done after %d of %d bytes", tr.bytes(), size)
			}
		}
	})
}
