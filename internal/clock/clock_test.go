package clock

import (
	"testing"
	"time"
)

func TestClockNoticesWhenItIsSet(t *testing.T) {
	wall, up := time.Unix(1_800_000_000, 0), time.Duration(0)
	c := Clock{Now: func() time.Time { return wall }, Uptime: func() time.Duration { return up }}
	tests := []struct {
		name     string
		wall, up time.Duration
		want     int64
	}{
		{"first", 0, 0, 0},
		{"an hour goes by", time.Hour, time.Hour, 0},
		{"corrected bit by bit", time.Hour + time.Second, time.Hour, 0},
		{"set forward", 56*365*24*time.Hour + time.Minute, time.Minute, 56 * 365 * 24 * 3600},
		{"set back", -time.Hour, time.Minute, -3660},
		{"and no more", time.Second, time.Second, 0},
	}
	for _, tt := range tests {
		wall, up = wall.Add(tt.wall), up+tt.up
		if now, step := c.Read(); now != wall.Unix() || step != tt.want {
			t.Errorf("%s: %d, set by %d s; want %d, %d", tt.name, now, step, wall.Unix(), tt.want)
		}
	}
}
