package config

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"
)

// A decoder walks the node tree into the Go types and goes on after every mistake.
type decoder struct {
	positions map[string]Position
	ds        Diagnostics
	// failed are the paths whose value is missing or not what was written.
	failed   map[string]bool
	fields   map[reflect.Type][]field
	aliases  int // aliases that the walk is inside of
	expanded int // values seen inside of aliases
}

func newDecoder(positions map[string]Position) *decoder {
	return &decoder{positions: positions, failed: map[string]bool{}, fields: map[reflect.Type][]field{}}
}

// full reports whether the walk was cut off.
func (d *decoder) full() bool { return d.expanded > maxExpanded || len(d.ds) > maxDiagnostics }

// errorf complains about the value at path.
func (d *decoder) errorf(n *yaml.Node, path, format string, args ...any) {
	d.failed[path] = true
	d.report(n, path, format, args...)
}

// report complains about something in the mapping at path.
func (d *decoder) report(n *yaml.Node, path, format string, args ...any) {
	if path == "" {
		path = "the file"
	}
	d.ds = append(d.ds, Diagnostic{Position{n.Line, n.Column}, Error, path + ": " + fmt.Sprintf(format, args...)})
}

// document decodes the root.
func (d *decoder) document(n *yaml.Node, c *Config) {
	if isNull(n) {
		d.ds = append(d.ds, emptyFile(n.Line, n.Column)...)
		return
	}
	d.value(n, reflect.ValueOf(c).Elem(), field{}, "")
}

// value decodes n into v, which is of a type that Config reaches.
func (d *decoder) value(n *yaml.Node, v reflect.Value, f field, path string) {
	if d.full() {
		return
	}
	if path != "" {
		d.positions[path] = Position{n.Line, n.Column}
	}
	if n.Kind == yaml.AliasNode {
		d.aliases++
		defer func() { d.aliases-- }()
		n = n.Alias
	}
	if !d.afford(n, path) {
		return
	}
	switch {
	case v.Kind() == reflect.Slice:
		d.list(n, v, f, path)
	case v.Kind() == reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		d.scalar(n, p.Elem(), f, path)
		v.Set(p)
	case isMapping(v.Type()):
		d.mapping(n, v, path)
	default:
		d.scalar(n, v, f, path)
	}
}

// afford counts the values that aliases unfold to.
func (d *decoder) afford(n *yaml.Node, path string) bool {
	if d.aliases == 0 {
		return true
	}
	d.expanded++
	if d.full() {
		d.errorf(n, path, "aliases repeat more than %d values; write fewer of them", maxExpanded)
		return false
	}
	return true
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, f field, path string) {
	if oneOrList(v.Type()) && n.Kind == yaml.ScalarNode {
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		d.value(n, v.Index(0), f, path+"[0]")
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.errorf(n, path, "this is %s where a list belongs; %s", kindName(n), listExample(v.Type().Elem()))
		return
	}
	if f.required && len(n.Content) == 0 {
		d.errorf(n, path, "the list is empty; write at least one entry")
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, e := range n.Content {
		p := fmt.Sprintf("%s[%d]", path, i)
		if isNull(e) {
			d.errorf(e, p, "the entry is empty; write a value after the dash or remove it")
			continue
		}
		d.value(e, v.Index(i), f, p)
	}
}

// A pair is one key of a mapping with its value.
type pair struct{ key, value *yaml.Node }

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	fields := d.fieldsOf(v.Type())
	if n.Kind != yaml.MappingNode {
		keys := make([]string, len(fields))
		for i, f := range fields {
			keys[i] = f.key
		}
		d.errorf(n, path, "this is %s where keys belong; write %s: ..., one key on a line (%s)", kindName(n), keys[0], strings.Join(keys, ", "))
		return
	}
	written := make(map[string]bool)
	for _, p := range d.pairs(n, path, 0) {
		f, ok := find(fields, p.key.Value)
		if !ok {
			d.unknownKey(p.key, v.Type(), fields, path)
			continue
		}
		if isNull(p.value) {
			if f.required {
				written[f.key] = true
				d.errorf(p.key, join(path, f.key), "the value is missing; write %s", f.example())
			}
			continue
		}
		written[f.key] = true
		d.value(p.value, v.Field(f.index), f, join(path, f.key))
	}
	for _, f := range fields {
		if f.required && !written[f.key] && !d.failed[join(path, f.key)] {
			d.failed[join(path, f.key)] = true
			d.report(n, path, "key %q is missing; write %s", f.key, f.example())
		}
	}
}

// pairs lists the keys of n, those that << merges in last. A key of n itself
// hides a merged one.
func (d *decoder) pairs(n *yaml.Node, path string, depth int) []pair {
	var own, merged []pair
	first := make(map[string]*yaml.Node)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.Kind != yaml.ScalarNode:
			d.report(k, path, "this key is %s; write a word", kindName(k))
		case k.Value == "<<" && k.Style == 0:
			merged = append(merged, d.merge(v, path, depth+1)...)
		case first[k.Value] != nil:
			d.report(k, path, "key %q is written twice (first in line %d); keep one", clip(k.Value), first[k.Value].Line)
		default:
			first[k.Value] = k
			own = append(own, pair{k, v})
		}
	}
	for _, p := range merged {
		if first[p.key.Value] == nil {
			first[p.key.Value] = p.key
			own = append(own, p)
		}
	}
	return own
}

// merge lists the keys of the mapping, or of the list of mappings, that << names.
func (d *decoder) merge(n *yaml.Node, path string, depth int) []pair {
	sources := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		sources = n.Content
	}
	var all []pair
	for _, s := range sources {
		if s.Kind == yaml.AliasNode {
			s = s.Alias
		}
		switch {
		case s.Kind != yaml.MappingNode:
			d.report(n, path, "<< merges a mapping; this is %s", kindName(s))
			continue
		case depth > 10:
			d.report(n, path, "<< is nested too deep, or merges a mapping into itself")
			return all
		}
		d.expanded += len(s.Content)
		if d.full() {
			d.errorf(n, path, "aliases repeat more than %d values; write fewer of them", maxExpanded)
			return all
		}
		all = append(all, d.pairs(s, path, depth)...)
	}
	return all
}

func (d *decoder) unknownKey(k *yaml.Node, t reflect.Type, fields []field, path string) {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	hint := "allowed here: " + strings.Join(keys, ", ")
	if near := nearest(k.Value, keys); near != "" {
		d.failed[join(path, near)] = true // its absence is the same mistake
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	if t == reflect.TypeFor[Node]() && k.Value == "bmc" {
		hint = "the name is reserved for a later version; remove it"
	}
	d.report(k, path, "unknown key %q; %s", clip(k.Value), hint)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func kindName(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case isNull(n):
		return "nothing"
	}
	return fmt.Sprintf("the text %q", clip(n.Value))
}

// clip shortens a text that a message repeats.
func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:57]) + "..."
	}
	return s
}
