package config

import (
	"encoding"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// A field is one key of a mapping, as the struct tags of types.go describe it.
type field struct {
	key      string
	index    int
	typ      reflect.Type
	required bool
	enum     []string
	fallback string // default; empty: none
	min, max *int
}

// fieldsOf reads the tags of t once.
func (d *decoder) fieldsOf(t reflect.Type) []field {
	if fs, ok := d.fields[t]; ok {
		return fs
	}
	fs := readFields(t)
	d.fields[t] = fs
	return fs
}

func readFields(t reflect.Type) []field {
	var fs []field
	for i := range t.NumField() {
		sf := t.Field(i)
		if !sf.IsExported() {
			continue
		}
		f := field{key: sf.Tag.Get("yaml"), index: i, typ: sf.Type}
		for word := range strings.SplitSeq(sf.Tag.Get("jsonschema"), ",") {
			name, value, _ := strings.Cut(word, "=")
			switch name {
			case "required":
				f.required = true
			case "enum":
				f.enum = append(f.enum, value)
			case "default":
				f.fallback = value
			case "minimum":
				f.min = bound(value)
			case "maximum":
				f.max = bound(value)
			}
		}
		fs = append(fs, f)
	}
	return fs
}

func bound(s string) *int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return nil
	}
	return &n
}

func find(fs []field, key string) (field, bool) {
	i := slices.IndexFunc(fs, func(f field) bool { return f.key == key })
	if i < 0 {
		return field{}, false
	}
	return fs[i], true
}

// isMapping reports whether values of t are written as keys.
func isMapping(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// oneOrList reports whether a list of one may be written without brackets.
func oneOrList(t reflect.Type) bool {
	return t == reflect.TypeFor[MACs]() || t == reflect.TypeFor[AddrPorts]()
}

// examples shows how values of the types are written.
var examples = map[reflect.Type]string{
	reflect.TypeFor[netip.Addr]():   "192.168.7.2",
	reflect.TypeFor[netip.Prefix](): "192.168.7.0/24",
	reflect.TypeFor[AddrPort]():     `"192.168.7.2:9418"`,
	reflect.TypeFor[AddrPorts]():    `"192.168.7.2:9418"`,
	reflect.TypeFor[MAC]():          `"52:54:00:60:72:67"`,
	reflect.TypeFor[UUID]():         "4c4c4544-0051-3510-8052-b4c04f4a3132",
	reflect.TypeFor[ClientID]():     `"01:52:54:00:60:72:67"`,
	reflect.TypeFor[Duration]():     "90s",
}

// example shows how the key and its value are written.
func (f field) example() string {
	switch ex := examples[f.typ]; {
	case len(f.enum) == 1:
		return f.key + ": " + f.enum[0]
	case len(f.enum) > 1:
		return f.key + ": " + alternatives(f.enum)
	case ex != "":
		return "such as " + f.key + ": " + ex
	case f.typ.Kind() == reflect.Slice:
		return f.key + ": and below it a list, each entry after a dash"
	case isMapping(f.typ):
		return f.key + ": and below it, indented, its keys"
	}
	return f.key + ": and its value"
}

// listExample says how a list of elements of type t is written.
func listExample(t reflect.Type) string {
	switch ex := examples[t]; {
	case isMapping(t):
		return `put "- " before the first key of each entry`
	case ex != "":
		return "write [" + ex + "]"
	}
	return "write [FIRST, SECOND]"
}

// alternatives joins words as "a, b or c".
func alternatives(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
