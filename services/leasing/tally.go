package leasing

// Tally counts by names that its owner knows, the last of which stands for all others.
type Tally [8]uint64

// Add counts one of name.
func (t *Tally) Add(names []string, name string) {
	for i, n := range names {
		if n == name || i == len(names)-1 {
			t[i]++
			return
		}
	}
}

// By are the counts by name.
func (t *Tally) By(names []string) map[string]uint64 {
	out := map[string]uint64{}
	for i, n := range names {
		out[n] = t[i]
	}
	return out
}
