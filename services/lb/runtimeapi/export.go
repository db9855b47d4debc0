package runtimeapi

import (
	"bufio"
	"io"
)

// A Stat is a row of "show stat": texts by the names of HAProxy's columns. A column
// that the row has not is missing.
type Stat map[string]string

// Stats gives the rows of "show stat" in their order: frontends, then the servers of each
// backend and the backend. The column type is 0, 2 and 1.
func (s *Server) Stats() []Stat {
	var all []Stat
	for _, r := range s.rows() {
		st := Stat{}
		for i, c := range r.cells {
			if c.set {
				st[columns[i].name] = c.text
			}
		}
		all = append(all, st)
	}
	return all
}

// WriteCSV writes what "show stat" answers.
func (s *Server) WriteCSV(out io.Writer) error {
	w := bufio.NewWriter(out)
	writeCSV(w, s.rows())
	return w.Flush()
}
