package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// format is how a command prints what it found; it is the value of -o.
type format string

const (
	asTable format = "table"
	asJSON  format = "json"
	asYAML  format = "yaml"
)

// String implements pflag.Value.
func (f *format) String() string { return string(*f) }

// Type implements pflag.Value; it stands for the value in a help text.
func (f *format) Type() string { return "format" }

// Set implements pflag.Value.
func (f *format) Set(s string) error {
	if !slices.Contains([]format{asTable, asJSON, asYAML}, format(s)) {
		return fmt.Errorf("write %s, %s or %s", asTable, asJSON, asYAML)
	}
	*f = format(s)
	return nil
}

// show prints v as JSON or YAML, or the table that rows writes.
func (a *app) show(w io.Writer, v any, rows func(*table)) error {
	switch a.output {
	case asJSON:
		enc := jsonEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	case asYAML:
		return writeYAML(w, v)
	}
	t := &table{tabwriter.NewWriter(w, 0, 8, 2, ' ', 0), w}
	rows(t)
	return t.w.Flush()
}

// jsonEncoder leaves < and > as they are: the reader is a shell, not a browser.
func jsonEncoder(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}

// table aligns columns.
type table struct {
	w   *tabwriter.Writer
	out io.Writer
}

// row adds a line; empty cells become a dash.
func (t *table) row(cells ...any) {
	for i, c := range cells {
		if i > 0 {
			_, _ = io.WriteString(t.w, "\t")
		}
		text := printable(fmt.Sprint(c))
		if text == "" {
			text = "-"
		}
		_, _ = io.WriteString(t.w, text)
	}
	_, _ = io.WriteString(t.w, "\n")
}

// more adds a line that goes on with the last cell of the row before.
func (t *table) more(columns int, last string) {
	_, _ = io.WriteString(t.w, strings.Repeat("\t", columns-1)+printable(last)+"\n")
}

// line adds a line that is not aligned.
func (t *table) line(format string, args ...any) {
	_ = t.w.Flush()
	_, _ = io.WriteString(t.out, printable(fmt.Sprintf(format, args...))+"\n")
}

// printable keeps what a machine on the network sent, such as its host name,
// from moving the cursor of the terminal that shows it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// ago is how long ago t was, short; empty: never.
func ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return span(time.Since(t)) + " ago"
}

// span is a time in its two largest units: 45s, 3m20s, 2h5m, 1d2h.
func span(d time.Duration) string {
	d = max(d, 0).Truncate(time.Second)
	for _, u := range []struct {
		unit, part         time.Duration
		unitName, partName string
	}{
		{24 * time.Hour, time.Hour, "d", "h"},
		{time.Hour, time.Minute, "h", "m"},
		{time.Minute, time.Second, "m", "s"},
	} {
		if d >= u.unit {
			return fmt.Sprintf("%d%s%d%s", d/u.unit, u.unitName, d%u.unit/u.part, u.partName)
		}
	}
	return fmt.Sprintf("%ds", d/time.Second)
}
