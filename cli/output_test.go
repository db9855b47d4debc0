package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour:                     "0s",
		999 * time.Millisecond:         "0s",
		59*time.Second + 1:             "59s",
		time.Minute:                    "1m0s",
		200 * time.Second:              "3m20s",
		time.Hour - 1:                  "59m59s",
		2*time.Hour + 5*time.Minute:    "2h5m",
		26 * time.Hour:                 "1d2h",
		24*time.Hour*400 + time.Minute: "400d0h",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	const in = "plain ünï ✓\x1b[2J\t\n\r\u009b\u202e\xff"
	if got, want := printable(in), "plain ünï ✓\uFFFD[2J"+strings.Repeat("\uFFFD", 6); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The keys are in the order of the JSON; what YAML 1.1 takes for something else is quoted.
func TestYAML(t *testing.T) {
	var out bytes.Buffer
	err := writeYAML(&out, struct {
		Z    string            `json:"z"`
		A    []any             `json:"a"`
		None []string          `json:"none"`
		Map  map[string]uint64 `json:"map"`
	}{"yes", []any{"52:54:00:00:00:01", 1, -2.5, true, nil, "a\nb\x1b<&>", []any{}, map[string]any{}}, nil, map[string]uint64{"big": 1<<64 - 1}})
	if err != nil {
		t.Fatal(err)
	}
	const want = `z: "yes"
a:
- "52:54:00:00:00:01"
- 1
- -2.5
- true
- null
- "a\nb\e<&>"
- []
- {}
none: null
map:
  big: 18446744073709551615
`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
}

// Every command says what it is for in one line, and its help can be shown.
func TestHelpOfEveryCommand(t *testing.T) {
	seen := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		seen++
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || strings.Contains(c.Short, "\n") {
			t.Errorf("%s: short help %q", c.CommandPath(), c.Short)
		}
		var stdout, stderr bytes.Buffer
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		if code := Main(t.Context(), "test", args, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
			t.Errorf("%s: exit code %d, stderr %q", args, code, stderr.String())
		}
		if !strings.Contains(stdout.String(), c.CommandPath()) {
			t.Errorf("%s: help %q", args, stdout.String())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot("test"))
	if seen < 15 {
		t.Errorf("only %d commands were found", seen)
	}
}
