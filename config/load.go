package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// Bounds of a file. The deepest valid file is eight levels deep; the largest
// seen had 500 nodes in 60 KiB.
const (
	// MaxSize is the largest file that Load reads, in bytes. Readers need not read more than one byte beyond it.
	MaxSize = 1 << 20

	maxDepth = 100
	// maxExpanded bounds the values that aliases repeat, so that a small file
	// cannot unfold into a large one.
	maxExpanded = 50_000
	// maxDiagnostics keeps a file that is something else altogether from
	// answering with a hundred thousand lines.
	maxDiagnostics = 1000
)

// Load reads one configuration file and fills in its defaults. The diagnostics
// are in the order of the file; with an error among them the Config is nil.
//
// These defaults depend on more than the file and stay zero: the addresses that
// a service listens on, the NTP servers of a network, and the lease time of a
// network, which differs for pool and reservations.
func Load(b []byte) (*Config, Diagnostics) {
	root, ds := parse(b)
	if root == nil {
		return nil, ds
	}
	c := &Config{positions: make(map[string]Position)}
	d := newDecoder(c.positions)
	d.document(root, c)
	c.setDefaults()
	v := &validator{c: c, failed: d.failed}
	if !d.full() {
		v.validate()
	}
	ds = append(append(ds, d.ds...), v.ds...).Sort()
	if n := len(ds); n > maxDiagnostics {
		ds = append(ds[:maxDiagnostics:maxDiagnostics], Diagnostic{
			ds[maxDiagnostics-1].Position, Error, fmt.Sprintf("%d further mistakes are not shown", n-maxDiagnostics),
		})
	}
	if ds.HasErrors() {
		return nil, ds
	}
	return c, ds
}

// parse gives the root value of the only document in b.
func parse(b []byte) (*yaml.Node, Diagnostics) {
	b = bytes.TrimPrefix(b, []byte("\uFEFF"))
	if ds := unreadable(b); ds != nil {
		return nil, ds
	}
	l, err := yaml.NewLoader(bytes.NewReader(b), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	if err != nil {
		return nil, one(1, 1, "%v", err)
	}
	doc, err := nextDocument(l)
	switch {
	case errors.Is(err, io.EOF):
		return nil, emptyFile(1, 1)
	case err != nil:
		return nil, Diagnostics{syntaxError(b, err)}
	}
	second, err := nextDocument(l)
	switch {
	case errors.Is(err, io.EOF):
	case err != nil:
		return doc.Content[0], Diagnostics{syntaxError(b, err)}
	default:
		return doc.Content[0], one(second.Line, second.Column, "a second document starts here; write everything in one and remove this ---")
	}
	return doc.Content[0], nil
}

// nextDocument keeps a panic of the library, which reads whatever a person
// saved, from ending the daemon.
func nextDocument(l *yaml.Loader) (doc *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the YAML reader gave up: %v", r)
		}
	}()
	doc = new(yaml.Node)
	err = l.Load(doc)
	if err == nil && (doc.Kind != yaml.DocumentNode || len(doc.Content) != 1) {
		err = io.EOF
	}
	return doc, err
}

// unreadable finds what keeps b from being text at all.
func unreadable(b []byte) Diagnostics {
	if len(b) > MaxSize {
		return one(1, 1, "the file has %d bytes; at most %d are read", len(b), MaxSize)
	}
	if bytes.HasPrefix(b, []byte{0xff, 0xfe}) || bytes.HasPrefix(b, []byte{0xfe, 0xff}) {
		return one(1, 1, "the file is UTF-16; save it as UTF-8")
	}
	line, column := 1, 1
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1:
			return one(line, column, "byte 0x%02x is not UTF-8; save the file as UTF-8", b[0])
		case r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f:
			return one(line, column, "control character 0x%02x; remove it", r)
		case r == '\n':
			line, column = line+1, 0
		}
		column++
		b = b[n:]
	}
	return nil
}

func emptyFile(line, column int) Diagnostics {
	return one(line, column, "the file is empty; the smallest one has version, helper, networks and clusters")
}

func one(line, column int, format string, args ...any) Diagnostics {
	return Diagnostics{{Position{line, column}, Error, fmt.Sprintf(format, args...)}}
}

// remedies says what to do about what the YAML library finds.
var remedies = []struct{ found, message string }{
	{"mapping values are not allowed", `unexpected ": "; indent this line like its neighbours, and quote a text that holds ": "`},
	{"exceeded max depth", fmt.Sprintf("nested deeper than %d levels", maxDepth)},
	{"unknown anchor", ""},
	{"unknown escape character", `unknown escape in a "quoted" text; write \\ for a backslash, or use 'single quotes'`},
	{"did not find expected ',' or ']'", "a [list] is not closed; write , or ]"},
	{"did not find expected ',' or '}'", "a {mapping} is not closed; write , or }"},
	{"found unexpected end of stream", "a quote is not closed"},
	{"did not find expected key", "a key was expected; indent this line like its neighbours"},
	{"did not find expected '-' indicator", `a further "- " was expected; indent this line like its neighbours`},
	{"could not find expected ':'", `a key without ": "; write KEY: VALUE`},
	{"did not find expected node content", "a value was expected"},
	{"<document start>", "indented less than the first line of the file; indent keys of one level alike"},
	{"character that cannot start any token", "this character cannot start a value; put the text in quotes"},
	{"incompatible YAML document", "only YAML 1.1 and 1.2 are read; remove the %YAML line"},
}

// syntaxError says where and why b is no YAML.
func syntaxError(b []byte, err error) Diagnostic {
	var le *yaml.LoadError
	if !errors.As(err, &le) {
		return one(1, 1, "%v", err)[0]
	}
	mark := le.Mark
	if startsWrong(le.Message) && le.ContextMark.Line > 0 {
		mark = le.ContextMark
	}
	line, column := max(mark.Line, 1), max(mark.Column, 1)
	if l, c, ok := indentTab(b, le.ContextMark.Line, max(line, le.Mark.Line)); ok {
		return one(l, c, "a tab indents this line; YAML wants spaces")[0]
	}
	message := le.Message
	for _, r := range remedies {
		if strings.Contains(le.Message, r.found) && r.message != "" {
			message = r.message
			break
		}
	}
	if from := le.ContextMark.Line; from > 0 && from != line {
		message += fmt.Sprintf(" (of what starts in line %d)", from)
	}
	return one(line, column, "%s", message)[0]
}

// startsWrong reports whether the mistake is where the construct starts; it is
// noticed only where it ends, at the end of the file at worst.
func startsWrong(message string) bool {
	return strings.Contains(message, "found unexpected end of stream") || strings.Contains(message, "could not find expected ':'")
}

// indentTab finds the first tab that indents one of the given lines.
func indentTab(b []byte, first, last int) (line, column int, ok bool) {
	if first == 0 {
		first = last - 1
	}
	for i, text := range bytes.SplitAfterN(b, []byte("\n"), last+1) {
		indent := text[:len(text)-len(bytes.TrimLeft(text, " \t"))]
		if tab := bytes.IndexByte(indent, '\t'); i+1 >= first && i < last && tab >= 0 {
			return i + 1, tab + 1, true
		}
	}
	return 0, 0, false
}
