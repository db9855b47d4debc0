package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity of a diagnostic.
type Severity int

// The severities. An error keeps the file from being applied.
const (
	Warning Severity = iota
	Error
)

// A Diagnostic is one thing to know about a configuration file: what is
// wrong, where, and what to write instead.
type Diagnostic struct {
	Position
	Severity Severity
	Message  string
}

// Diagnostics are all that is to be said about one file.
type Diagnostics []Diagnostic

// String gives line:column: message, the form editors jump to; the caller puts the file name before it.
func (d Diagnostic) String() string {
	if d.Severity == Warning {
		return fmt.Sprintf("%d:%d: warning: %s", d.Line, d.Column, d.Message)
	}
	return fmt.Sprintf("%d:%d: %s", d.Line, d.Column, d.Message)
}

// HasErrors reports whether the file must not be applied.
func (ds Diagnostics) HasErrors() bool {
	return slices.ContainsFunc(ds, func(d Diagnostic) bool { return d.Severity == Error })
}

// Sort orders the diagnostics as the file reads and drops repetitions.
func (ds Diagnostics) Sort() Diagnostics {
	slices.SortStableFunc(ds, func(a, b Diagnostic) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(ds)
}

// Error joins all diagnostics, one a line.
func (ds Diagnostics) Error() string {
	lines := make([]string, len(ds))
	for i, d := range ds {
		lines[i] = d.String()
	}
	return strings.Join(lines, "\n")
}

// Pos is where the value at path was written, such as
// "clusters[0].nodes[3].mac". A default has no place of its own: the nearest
// enclosing value answers for it.
func (c *Config) Pos(path string) Position {
	for {
		if p, ok := c.positions[path]; ok {
			return p
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return Position{1, 1}
		}
		path = path[:i]
	}
}

// Written reports whether the file has a value at path. It tells a bool that is
// true unless written from one that was switched on, and a default from the
// same value in the file.
func (c *Config) Written(path string) bool {
	_, ok := c.positions[path]
	return ok
}
