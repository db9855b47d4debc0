package lb

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	cores = max(cores, 3)
	os.Exit(m.Run())
}

func TestWorkers(t *testing.T) {
	before := cores
	defer func() { cores = before }()
	for n, want := range map[int]int{1: 1, 2: 1, 3: 2, 8: 7, 64: maxWorkers} {
		if cores = n; Workers() != want {
			t.Errorf("%d workers on %d cores, want %d", Workers(), n, want)
		}
	}
}
