package runtimeapi

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
)

func writeCSV(w *bufio.Writer, rows []*row) {
	_, _ = w.WriteString(header() + "\n")
	for _, r := range rows {
		r.csv(w)
	}
}

// showStat answers "show stat [IID|PROXY TYPE SID] [json|typed|desc] [up|no-maint]".
func showStat(c *client, args []string) {
	rows := c.server.rows()
	if len(args) >= 3 {
		iid := proxyID(rows, args[0])
		if iid == 0 {
			c.fail("No such proxy.")
			return
		}
		kinds, _ := strconv.Atoi(args[1])
		sid, _ := strconv.Atoi(args[2])
		rows = filter(rows, func(r *row) bool {
			return (iid < 0 || r.iid == iid) && kinds&(1<<typeOf[r.kind]) != 0 && (r.kind != serverRow || sid < 0 || r.sid == sid)
		})
		args = args[3:]
	}
	format := ""
	for _, a := range args {
		switch a {
		case "json", "typed":
			format = a
		case "up":
			countUp(rows)
			rows = filter(rows, func(r *row) bool { return r.kind != serverRow || r.up })
		case "no-maint":
			countUp(rows)
			rows = filter(rows, func(r *row) bool { return !r.maint })
		}
	}
	switch format {
	case "typed":
		for _, r := range rows {
			r.typed(c.out)
		}
	case "json":
		separator := "["
		for _, r := range rows {
			_, _ = c.out.WriteString(separator)
			r.json(c.out)
			separator = ","
		}
		if len(rows) == 0 {
			_, _ = c.out.WriteString(separator)
		}
		_, _ = c.out.WriteString("]\n")
	default:
		writeCSV(c.out, rows)
	}
}

// countUp makes backends say how many of their servers are up: not all of them are shown.
func countUp(rows []*row) {
	up, all := 0, 0
	for _, r := range rows {
		switch r.kind {
		case serverRow:
			all++
			if r.up {
				up++
			}
		case backendRow:
			word, _, _ := strings.Cut(r.cells[number["status"]].text, " ")
			r.set("status", fmt.Sprintf("%s (%d/%d)", word, up, all))
			up, all = 0, 0
		}
	}
}

// proxyID gives the number of the proxy that is called so, or the number that name is; 0: neither.
func proxyID(rows []*row, name string) int {
	for _, r := range rows {
		if r.cells[number["pxname"]].text == name {
			return r.iid
		}
	}
	n, _ := strconv.Atoi(name)
	return n
}

func filter(rows []*row, keep func(*row) bool) []*row {
	var kept []*row
	for _, r := range rows {
		if keep(r) {
			kept = append(kept, r)
		}
	}
	return kept
}
