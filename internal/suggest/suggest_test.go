package suggest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNear(t *testing.T) {
	nodes := []string{"master-0", "worker-0", "worker-1", "worker-0", "bootstrap"}
	tests := []struct {
		s    string
		want []string
	}{
		{"worker-1", []string{"worker-1", "worker-0"}},
		{"wroker0", []string{"worker-0", "worker-1"}},
		{"BOOTSTRAP", []string{"bootstrap"}},
		{"loadbalancer", nil},
		{"", nil},
		{strings.Repeat("worker-0", 20), nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, Near(tt.s, nodes)); diff != "" {
			t.Errorf("%q: %s", tt.s, diff)
		}
	}
}
