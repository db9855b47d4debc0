package balance

import (
	"math"
	"net/netip"

	"helperd/plan"
)

// A Pool tells what a Set cannot know beforehand. Its indexes are those of the names given to New.
type Pool interface {
	// Open reports whether server i may take the connection.
	Open(i int) bool
	// Load is the number of connections that server i has.
	Load(i int) int64
}

// A Set is an immutable group of servers with weights.
type Set struct {
	way     plan.Balance
	weights []int
	turns   []uint16 // one cycle of round robin
	seeds   []uint64 // one a server, of its name
}

// maxTurns bounds one cycle of round robin; weights are rounded to fit.
const maxTurns = 1024

// New gives the set of the servers with these names and weights. Names fix
// which clients the source method sends to a server, so they must not change
// with the order of the file. Weights below 1 count as 1.
func New(way plan.Balance, names []string, weights []int) *Set {
	s := &Set{way: way, weights: make([]int, len(weights)), seeds: make([]uint64, len(names))}
	for i, w := range weights {
		s.weights[i] = max(w, 1)
		s.seeds[i] = hashString(names[i])
	}
	s.turns = cycle(s.weights)
	return s
}

// Pick chooses the server of one connection, or -1 when none is open. turn
// rises by one with every connection.
func (s *Set) Pick(turn uint64, client netip.Addr, p Pool) int {
	if len(s.weights) == 0 {
		return -1
	}
	switch s.way {
	case plan.LeastConn:
		return s.least(turn, p)
	case plan.Source:
		return s.source(client, p)
	default:
		return s.next(turn, p)
	}
}

func (s *Set) next(turn uint64, p Pool) int {
	n := uint64(len(s.turns))
	for k := range n {
		if i := int(s.turns[(turn+k)%n]); p.Open(i) {
			return i
		}
	}
	return -1
}

// least takes the server with the fewest connections for its weight. One is
// added to each so that of empty servers the heaviest is first; ties go round.
func (s *Set) least(turn uint64, p Pool) int {
	best, n := -1, len(s.weights)
	var bestLoad int64
	for k := range n {
		i := int((turn + uint64(k)) % uint64(n))
		if !p.Open(i) {
			continue
		}
		load := p.Load(i) + 1
		if best < 0 || load*int64(s.weights[best]) < bestLoad*int64(s.weights[i]) {
			best, bestLoad = i, load
		}
	}
	return best
}

// source is weighted rendezvous hashing: when a server comes or goes, only the
// clients that it takes or leaves move.
func (s *Set) source(client netip.Addr, p Pool) int {
	key := hashAddr(client)
	best, bestScore := -1, 0.0
	for i, w := range s.weights {
		if !p.Open(i) {
			continue
		}
		u := (float64(mix(key^s.seeds[i])>>11) + 0.5) / (1 << 53) // in (0, 1)
		if score := float64(w) / -math.Log(u); best < 0 || score > bestScore {
			best, bestScore = i, score
		}
	}
	return best
}

// cycle spreads the turns of each server evenly (smooth weighted round robin).
func cycle(weights []int) []uint16 {
	w := fit(weights)
	total := 0
	for _, x := range w {
		total += x
	}
	turns := make([]uint16, 0, total)
	current := make([]int, len(w))
	for range total {
		best := 0
		for i := range w {
			current[i] += w[i]
			if current[i] > current[best] {
				best = i
			}
		}
		current[best] -= total
		turns = append(turns, uint16(best))
	}
	return turns
}

// fit divides the weights by their common divisor and scales them down until a
// cycle has at most maxTurns turns, or one a server.
func fit(weights []int) []int {
	divisor, total := 0, 0
	for _, x := range weights {
		divisor = gcd(divisor, x)
	}
	w := make([]int, len(weights))
	for i, x := range weights {
		w[i] = x / divisor
		total += w[i]
	}
	if total > maxTurns {
		for i := range w {
			w[i] = max(1, w[i]*maxTurns/total)
		}
	}
	return w
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// hashAddr and hashString are FNV-1a: the choice must be the same after a restart.
func hashAddr(a netip.Addr) uint64 {
	b := a.As16()
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

func hashString(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

// mix is the finaliser of SplitMix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
