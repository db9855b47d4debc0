package engine

import (
	"errors"
	"testing"
	"time"

	"helperd/services/tftp/packet"
)

// Whatever a client answers, in whatever order and between whatever time-outs,
// it gets no more than the window, and nothing ends well that has not ended.
func FuzzTransfer(f *testing.F) {
	f.Add(uint16(5000), uint8(1), true, []byte("\x04\x00\x04\x00\x00\x00\x00\x01"))
	f.Add(uint16(0), uint8(4), false, []byte("\x04\x00\x04\x00\x04\x00\x04\x01\xff\x04\x00\x05\x00\x00\x00"))
	f.Add(uint16(512*3), uint8(64), true, []byte("\x00\x04\x04\x00\x04\x00\x00\x04\x00\x04\x00\x04\x03"))
	f.Fuzz(func(t *testing.T, size uint16, window uint8, options bool, answers []byte) {
		p, out, now := &fakePort{}, newSender(), time.Now()
		tr := &Transfer{port: p, src: Memory(make([]byte, size)), segment: true, story: untold{}, Terms: packet.Terms{Block: 512, Window: 1 + int(window)%packet.MaxWindow, Timeout: time.Second}}
		if options {
			tr.OACK = []byte("\x00\x06tsize\x000\x00")
		}
		err := tr.begin(out, now)
		for len(answers) > 0 && err == nil {
			n := min(int(answers[0])%8, len(answers)-1)
			answer := answers[1 : 1+n]
			answers = answers[1+n:]
			if n == 7 {
				now = tr.deadline
				err = tr.expired(out, now)
			} else {
				err = tr.take(out, answer, nil, now)
			}
			blocks := int64(size)/512 + 1
			if tr.acked > tr.sent || tr.sent > min(blocks, tr.acked+int64(tr.Window)) || tr.Bytes() > int64(size) {
				t.Fatalf("%d blocks acknowledged, %d sent of %d in windows of %d; %d bytes", tr.acked, tr.sent, blocks, tr.Window, tr.Bytes())
			}
			if err == nil && !tr.deadline.After(now) {
				t.Fatalf("the deadline is %v, now is %v", tr.deadline, now)
			}
			if errors.Is(err, errDone) && tr.Bytes() != int64(size) {
				t.Fatalf("done after %d of %d bytes", tr.Bytes(), size)
			}
		}
	})
}
