package engine

import (
	"testing"
	"time"

	"helperd/services/tftp/packet"
)

func TestGap(t *testing.T) {
	for _, tt := range []struct {
		timeout time.Duration
		started bool
		want    [6]time.Duration // in seconds
	}{
		{1, true, [6]time.Duration{1, 2, 4, 8, 8, 8}},
		{3, true, [6]time.Duration{3, 6, 8, 8, 8, 8}},
		{255, true, [6]time.Duration{255, 255, 255, 255, 255, 255}},
		{255, false, [6]time.Duration{8, 8, 8, 8, 8, 8}}, // a forged request must not hold its place for long
	} {
		tr := &Transfer{Terms: packet.Terms{Timeout: tt.timeout * time.Second}}
		tr.started.Store(tt.started)
		for try, want := range tt.want {
			if got := tr.gap(try); got != want*time.Second {
				t.Errorf("timeout %d s, try %d: %v, want %d s", tt.timeout, try, got, want)
			}
		}
	}
}

// The ACKs that a window may get.
func TestJudge(t *testing.T) {
	const far = 65530 // so that numbers roll over within the window
	tests := []struct {
		name   string
		window int
		ack    uint16
		want   verdict
		acked  int64
	}{
		{"the whole window", 8, uint16(far + 8 - 65536), bringsOn, far + 8},
		{"a part, beyond the roll-over", 8, 1, bringsOn, far + 7},
		{"block zero", 8, 0, bringsOn, far + 6},
		{"the first block", 8, far + 1, bringsOn, far + 1},
		{"none of it", 8, far, resend, far},
		{"none of it, in lock step", 1, far, ignore, far},
		{"more than was sent", 8, uint16(far + 9 - 65536), ignore, far},
		{"an old one", 8, far - 1, ignore, far},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := &Transfer{Terms: packet.Terms{Window: tt.window}, acked: far, sent: far + int64(tt.window)}
			if got := tr.judge(tt.ack); got != tt.want || tr.acked != tt.acked {
				t.Errorf("verdict %d, acknowledged %d; want %d, %d", got, tr.acked, tt.want, tt.acked)
			}
		})
	}
}
