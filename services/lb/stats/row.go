package stats

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Kind of rows is the letter of typed output.
type Kind byte

// The kinds.
const (
	Frontend Kind = 'F'
	Backend  Kind = 'B'
	Server   Kind = 'S'
)

// typeOf is the number of a kind of row, and its bit when rows are chosen is 1 << typeOf.
var typeOf = map[Kind]int{Frontend: 0, Backend: 1, Server: 2}

// A Row of "show stat": a frontend, a backend or a server.
type Row struct {
	kind     Kind
	iid, sid int
	of       any // the counters that it shows: another value is another thing of the same name
	up       bool
	maint    bool
	cells    []cell
}

type cell struct {
	text string
	set  bool
}

// newRow has zeroes where every row of its kind has a number.
func newRow(kind Kind, iid, sid int, of any) *Row {
	r := &Row{kind: kind, iid: iid, sid: sid, of: of, cells: make([]cell, len(columns))}
	for i, c := range columns {
		if c.kind != "str" && strings.IndexByte(c.rows, byte(kind)) >= 0 {
			r.cells[i] = cell{"0", true}
		}
	}
	r.set("pid", 1)
	r.set("iid", iid)
	r.set("sid", sid)
	r.set("type", typeOf[kind])
	r.set("mode", "tcp")
	return r
}

// set gives a column a value: a string, a number, or a time in whole seconds.
func (r *Row) set(name string, v any) {
	i, ok := number[name]
	if !ok {
		panic("stats: no column " + name)
	}
	if d, ok := v.(time.Duration); ok {
		v = int64(max(d, 0) / time.Second)
	}
	r.cells[i] = cell{fmt.Sprint(v), true}
}

// less takes off what a counter was when somebody cleared it.
func (r *Row) less(base *Row) {
	for i := range r.cells {
		if !clearable(i) || !r.cells[i].set {
			continue
		}
		now, _ := strconv.ParseUint(r.cells[i].text, 10, 64)
		then, _ := strconv.ParseUint(base.cells[i].text, 10, 64)
		if then <= now {
			r.cells[i].text = strconv.FormatUint(now-then, 10)
		}
	}
}

// clearable reports whether "clear counters all" makes a column 0. The time that a server was down stays.
func clearable(i int) bool {
	return columns[i].tag[:min(2, len(columns[i].tag))] == "MC" && columns[i].name != "downtime"
}

func (r *Row) tag(i int) string {
	if r.kind == Backend {
		return columns[i].back
	}
	return columns[i].tag
}

// csv writes the row as a line.
func (r *Row) csv(w *bufio.Writer) {
	for i, c := range r.cells {
		if columns[i].name == moduleColumn {
			_, _ = w.WriteString("-,")
		}
		if strings.ContainsAny(c.text, ",\"\r\n") {
			_, _ = w.WriteString(`"` + strings.ReplaceAll(c.text, `"`, `""`) + `"`)
		} else {
			_, _ = w.WriteString(c.text)
		}
		_ = w.WriteByte(',')
	}
	_ = w.WriteByte('\n')
}

// typed writes a line for each field that the row has.
func (r *Row) typed(w *bufio.Writer) {
	for i, c := range r.cells {
		if c.set {
			fmt.Fprintf(w, "%c.%d.%d.%d.%s.1:%s:%s:%s\n", r.kind, r.iid, r.sid, i, columns[i].name, r.tag(i), columns[i].kind, c.text)
		}
	}
}

var objects = map[Kind]string{Frontend: "Frontend", Backend: "Backend", Server: "Server"}

// json writes the row as an array of its fields.
func (r *Row) json(w *bufio.Writer) {
	separator := "["
	for i, c := range r.cells {
		if !c.set {
			continue
		}
		fmt.Fprintf(w, `%s{"objType":%q,"proxyId":%d,"id":%d,`, separator, objects[r.kind], r.iid, r.sid)
		JSONField(w, i, columns[i].name, r.tag(i), columns[i].kind, c.text)
		separator = ","
	}
	_ = w.WriteByte(']')
}

var (
	origins = map[byte]string{'M': "Metric", 'S': "Status", 'K': "Key", 'C': "Config", 'P': "Product"}
	natures = map[byte]string{
		'A': "Age", 'a': "Avg", 'C': "Counter", 'D': "Duration", 'G': "Gauge", 'L': "Limit", 'M': "Max",
		'm': "Min", 'N': "Name", 'O': "Output", 'R': "Rate", 'T': "Time", 'P': "Output",
	}
	scopes = map[byte]string{'C': "Cluster", 'P': "Process", 'S': "Service"}
)

// JSONField writes what "show stat json" and "show info json" both have of a field, and the
// brace that closes it. The tag is origin, nature and scope, each a letter.
func JSONField(w *bufio.Writer, pos int, name, tag, kind, text string) {
	value := text
	if kind == "str" {
		b, _ := json.Marshal(text) // of a string: it cannot fail
		value = string(b)
	}
	fmt.Fprintf(w, `"field":{"pos":%d,"name":%q},"processNum":1,"tags":{"origin":%q,"nature":%q,"scope":%q},"value":{"type":%q,"value":%s}}`,
		pos, name, origins[tag[0]], natures[tag[1]], scopes[tag[2]], kind, value)
}
