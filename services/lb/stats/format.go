package stats

import (
	"bufio"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Stat is a row of "show stat": texts by the names of HAProxy's columns. A column
// that the row has not is missing.
type Stat map[string]string

// Stat gives the row by columns. The column type is 0 for frontends, 1 for backends, 2 for servers.
func (r *Row) Stat() Stat {
	st := Stat{}
	for i, c := range r.cells {
		if c.set {
			st[columns[i].name] = c.text
		}
	}
	return st
}

// ErrNoProxy is returned for a name that is no frontend and no backend.
var ErrNoProxy = errors.New("no such proxy")

// A Query chooses rows.
type Query struct {
	Proxy string // name or number of a frontend or backend, -1: all; empty: Kinds and SID do not count
	Kinds int    // bits: 1 frontends, 2 backends, 4 servers
	SID   int    // number of a server, below 0: all
	// Up leaves out servers that are down, NoMaint those in maintenance.
	Up, NoMaint bool
}

// Select gives the rows that q chooses.
func (q Query) Select(rows []*Row) ([]*Row, error) {
	if q.Proxy != "" {
		iid := proxyID(rows, q.Proxy)
		if iid == 0 {
			return nil, ErrNoProxy
		}
		rows = filter(rows, func(r *Row) bool {
			return (iid < 0 || r.iid == iid) && q.Kinds&(1<<typeOf[r.kind]) != 0 && (r.kind != Server || q.SID < 0 || r.sid == q.SID)
		})
	}
	if q.Up || q.NoMaint {
		countUp(rows)
	}
	return filter(rows, func(r *Row) bool { return !(q.Up && r.kind == Server && !r.up) && !(q.NoMaint && r.maint) }), nil
}

// WriteCSV writes a header and a line a row.
func WriteCSV(w *bufio.Writer, rows []*Row) {
	_, _ = w.WriteString(header() + "\n")
	for _, r := range rows {
		r.csv(w)
	}
}

// WriteTyped writes a line for each field.
func WriteTyped(w *bufio.Writer, rows []*Row) {
	for _, r := range rows {
		r.typed(w)
	}
}

// WriteJSON writes an array of an array of fields for each row.
func WriteJSON(w *bufio.Writer, rows []*Row) {
	separator := "["
	for _, r := range rows {
		_, _ = w.WriteString(separator)
		r.json(w)
		separator = ","
	}
	if len(rows) == 0 {
		_, _ = w.WriteString(separator)
	}
	_, _ = w.WriteString("]\n")
}

// countUp makes backends say how many of their servers are up: not all of them are shown.
func countUp(rows []*Row) {
	up, all := 0, 0
	for _, r := range rows {
		switch r.kind {
		case Server:
			all++
			if r.up {
				up++
			}
		case Backend:
			word, _, _ := strings.Cut(r.cells[number["status"]].text, " ")
			r.set("status", fmt.Sprintf("%s (%d/%d)", word, up, all))
			up, all = 0, 0
		}
	}
}

// proxyID gives the number of the proxy that is called so, or the number that name is; 0: neither.
func proxyID(rows []*Row, name string) int {
	for _, r := range rows {
		if r.cells[number["pxname"]].text == name {
			return r.iid
		}
	}
	n, _ := strconv.Atoi(name)
	return n
}

func filter(rows []*Row, keep func(*Row) bool) []*Row {
	var kept []*Row
	for _, r := range rows {
		if keep(r) {
			kept = append(kept, r)
		}
	}
	return kept
}
