package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// show prints v as JSON, or the table that rows writes.
func (a *app) show(w io.Writer, v any, rows func(*table)) error {
	if a.output == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	t := &table{tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
	rows(t)
	return t.w.Flush()
}

// table aligns columns.
type table struct{ w *tabwriter.Writer }

// row adds a line; empty cells become a dash.
func (t *table) row(cells ...any) {
	for i, c := range cells {
		if i > 0 {
			_, _ = io.WriteString(t.w, "\t")
		}
		text := fmt.Sprint(c)
		if text == "" {
			text = "-"
		}
		_, _ = io.WriteString(t.w, text)
	}
	_, _ = io.WriteString(t.w, "\n")
}

// ago is how long ago t was, short.
func ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return time.Since(t).Round(time.Second).String()
}
