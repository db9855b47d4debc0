package balance

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"helperd/plan"
)

// fake has servers that are shut and loads.
type fake struct {
	shut  map[int]bool
	loads []int64
}

func (f fake) Open(i int) bool  { return !f.shut[i] }
func (f fake) Load(i int) int64 { return f.loads[i] }

func names(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("server-%d", i))
	}
	return out
}

func TestRoundRobin(t *testing.T) {
	tests := []struct {
		name    string
		weights []int
		shut    map[int]bool
		want    []int
	}{
		{"even", []int{100, 100, 100}, nil, []int{0, 1, 2, 0, 1, 2}},
		{"weighted, spread", []int{200, 100}, nil, []int{0, 1, 0, 0, 1, 0}},
		{"one shut", []int{1, 1, 1}, map[int]bool{1: true}, []int{0, 2, 2, 0, 2, 2}},
		{"all shut", []int{1, 1}, map[int]bool{0: true, 1: true}, []int{-1, -1}},
		{"none", nil, nil, []int{-1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := New(plan.RoundRobin, names(len(tt.weights)), tt.weights)
			var got []int
			for turn := range tt.want {
				got = append(got, s.Pick(uint64(turn), netip.Addr{}, fake{shut: tt.shut}))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestHugeWeights: the cycle stays short and nobody is left out.
func TestHugeWeights(t *testing.T) {
	s := New(plan.RoundRobin, names(3), []int{25600, 25500, 1})
	seen := map[int]int{}
	for turn := range len(s.turns) {
		seen[s.Pick(uint64(turn), netip.Addr{}, fake{})]++
	}
	if len(s.turns) > maxTurns+3 || seen[2] != 1 || seen[0] < 500 || seen[1] < 500 {
		t.Errorf("%d turns: %v", len(s.turns), seen)
	}
}

func TestLeastConn(t *testing.T) {
	tests := []struct {
		name    string
		weights []int
		loads   []int64
		want    int
	}{
		{"fewest", []int{1, 1, 1}, []int64{5, 2, 9}, 1},
		{"by weight", []int{1, 10}, []int64{3, 20}, 1},
		{"empty: the heaviest", []int{1, 10}, []int64{0, 0}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := New(plan.LeastConn, names(len(tt.weights)), tt.weights)
			for turn := range uint64(4) {
				if got := s.Pick(turn, netip.Addr{}, fake{loads: tt.loads}); got != tt.want {
					t.Errorf("turn %d: %d, want %d", turn, got, tt.want)
				}
			}
		})
	}
}

func client(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }

// TestSource: clients keep their server when another one goes, and spread by weight.
func TestSource(t *testing.T) {
	const clients = 4000
	s := New(plan.Source, names(4), []int{100, 100, 100, 100})
	all := fake{}
	one := fake{shut: map[int]bool{2: true}}
	count := make([]int, 4)
	for i := range clients {
		before, after := s.Pick(uint64(i), client(i), all), s.Pick(0, client(i), one)
		count[before]++
		if before != 2 && after != before {
			t.Fatalf("client %d moved from %d to %d when server 2 went", i, before, after)
		}
		if after == 2 {
			t.Fatal("a shut server was chosen")
		}
	}
	for i, n := range count {
		if n < clients/4*8/10 || n > clients/4*12/10 {
			t.Errorf("server %d has %d of %d clients", i, n, clients)
		}
	}
	heavy := New(plan.Source, names(2), []int{300, 100})
	n := 0
	for i := range clients {
		if heavy.Pick(0, client(i), all) == 0 {
			n++
		}
	}
	if n < clients*70/100 || n > clients*80/100 {
		t.Errorf("a server with three quarters of the weight has %d of %d clients", n, clients)
	}
}

// TestSourceGrows: a server that comes, or gets more weight, takes clients of the others and moves
// no other one; the order of the file does not matter.
func TestSourceGrows(t *testing.T) {
	const clients = 4000
	pick := func(names []string, weights []int, c int) string {
		return names[New(plan.Source, names, weights).Pick(uint64(c), client(c), fake{})]
	}
	three, four := []string{"a", "b", "c"}, []string{"d", "c", "b", "a"}
	came, heavier := 0, 0
	for c := range clients {
		was := pick(three, []int{100, 100, 100}, c)
		if now := pick(four, []int{100, 100, 100, 100}, c); now == "d" {
			came++
		} else if now != was {
			t.Fatalf("client %d moved from %s to %s when d came", c, was, now)
		}
		if now := pick(three, []int{100, 200, 100}, c); now == "b" && was != "b" {
			heavier++
		} else if now != was {
			t.Fatalf("client %d moved from %s to %s when b got heavier", c, was, now)
		}
	}
	if came < clients/4*8/10 || came > clients/4*12/10 {
		t.Errorf("%d of %d clients went to a fourth server", came, clients)
	}
	if share := clients/2 - clients/3; heavier < share*8/10 || heavier > share*12/10 {
		t.Errorf("%d of %d clients went to the one that got heavier", heavier, clients)
	}
}

func TestRamp(t *testing.T) {
	tests := []struct {
		name      string
		weight    int
		age, slow time.Duration
		want      int
	}{
		{"no slow start", 10, 0, 0, 1000},
		{"at once", 10, 0, time.Minute, 10},
		{"a quarter", 10, 15 * time.Second, time.Minute, 250},
		{"half", 1, 30 * time.Second, time.Minute, 50},
		{"over", 1, time.Minute, time.Minute, 100},
		{"clock went back", 1, -time.Hour, time.Minute, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Ramp(tt.weight, tt.age, tt.slow); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}
