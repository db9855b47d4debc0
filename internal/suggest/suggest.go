// Package suggest finds what a person probably meant to write.
package suggest

import (
	"cmp"
	"slices"
	"strings"
)

// longest is the number of bytes of a word that is still compared.
const longest = 80

// Near gives the words that s was probably meant to be, the nearest first. Case does not count.
func Near(s string, words []string) []string {
	lower := strings.ToLower(s)
	if len(lower) > longest {
		return nil
	}
	type hit struct {
		word string
		far  int
	}
	var hits []hit
	for _, w := range words {
		if d := distance(lower, strings.ToLower(w)); d < len(s)/3+2 && d < len(w) {
			hits = append(hits, hit{w, d})
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(a.far, b.far) })
	var near []string
	for _, h := range hits {
		if !slices.Contains(near, h.word) {
			near = append(near, h.word)
		}
	}
	return near
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that make b of a (optimal string alignment).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
