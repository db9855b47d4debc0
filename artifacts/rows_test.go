package artifacts

import (
	"testing"
	"time"
)

func TestETA(t *testing.T) {
	for _, tt := range []struct {
		size, done, rate int64
		want             time.Duration
	}{
		{100, 50, 10, 5 * time.Second},
		{100, 50, 0, 0},
		{0, 50, 10, 0},
		{20e9, 0, 100e6, 200 * time.Second}, // a disk image
	} {
		r := Row{Size: tt.size, Done: tt.done, Rate: tt.rate}
		if got := r.ETA(); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}
