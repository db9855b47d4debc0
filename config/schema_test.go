package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// A schemaNode is as much of a JSON schema as Schema writes.
type schemaNode struct {
	Ref         string                `json:"$ref"`
	Defs        map[string]schemaNode `json:"$defs"`
	Type        string                `json:"type"`
	Properties  map[string]schemaNode `json:"properties"`
	Additional  *bool                 `json:"additionalProperties"`
	Required    []string              `json:"required"`
	Items       *schemaNode           `json:"items"`
	OneOf       []schemaNode          `json:"oneOf"`
	Enum        []any                 `json:"enum"`
	Pattern     string                `json:"pattern"`
	Description string                `json:"description"`
	Default     any                   `json:"default"`
}

func readSchema(t *testing.T) schemaNode {
	t.Helper()
	var s schemaNode
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func (root schemaNode) follow(s schemaNode) schemaNode {
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok {
		return root.Defs[name]
	}
	return s
}

// TestSchemaSaysWhatTheTypesSay walks types and schema side by side.
func TestSchemaSaysWhatTheTypesSay(t *testing.T) {
	root := readSchema(t)
	var walk func(typ reflect.Type, s schemaNode, path string)
	walk = func(typ reflect.Type, s schemaNode, path string) {
		s = root.follow(s)
		switch {
		case oneOrList(typ) || typ == reflect.TypeFor[Duration]():
			if len(s.OneOf) != 2 {
				t.Errorf("%s: has not two forms", path)
			}
		case typ.Kind() == reflect.Slice:
			if s.Type != "array" || s.Items == nil {
				t.Errorf("%s: no list", path)
				return
			}
			walk(typ.Elem(), *s.Items, path+"[]")
		case !isMapping(typ):
			if s.Type != "string" && s.Type != "integer" && s.Type != "boolean" {
				t.Errorf("%s: type %q", path, s.Type)
			}
		default:
			fields := readFields(typ)
			if s.Additional == nil || *s.Additional || len(s.Properties) != len(fields) {
				t.Errorf("%s: %d properties for %d keys, additional ones allowed: %v", path, len(s.Properties), len(fields), s.Additional)
			}
			for _, f := range fields {
				p, at := s.Properties[f.key], join(path, f.key)
				if p.Description == "" || f.required != slices.Contains(s.Required, f.key) || len(f.enum) != len(p.Enum) || (f.fallback != "") != (p.Default != nil) {
					t.Errorf("%s: %+v", at, p)
				}
				walk(f.typ, p, at)
			}
		}
	}
	walk(reflect.TypeFor[Config](), root, "")
}

// TestDefaultsAreDocumented compares each constant default with the doc comment.
func TestDefaultsAreDocumented(t *testing.T) {
	root := readSchema(t)
	for name, def := range root.Defs {
		for key, p := range def.Properties {
			switch d := p.Default.(type) {
			case bool:
				if !strings.Contains(p.Description, "true unless written") && !strings.Contains(p.Description, "Default: true") {
					t.Errorf("%s.%s: %q does not say that it is %v", name, key, p.Description, d)
				}
			case string, float64:
				if !strings.Contains(p.Description, fmt.Sprintf("Default: %v", d)) {
					t.Errorf("%s.%s: %q does not say %v", name, key, p.Description, d)
				}
			}
		}
	}
}

// TestFilesFitTheSchema reads the files as an editor would.
func TestFilesFitTheSchema(t *testing.T) {
	root := readSchema(t)
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("examples: %v %v", files, err)
	}
	texts := map[string][]byte{
		"base": []byte(base), "small": []byte(smallBase),
		"spans": spoil(t, "value: 192.168.7.31", "value: 192.168.7.31, ttl: 300", "dhcp: {", "dhcp: {lease: 1h30m, "),
	}
	for _, f := range files {
		if texts[f], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range texts {
		var v any
		if err := yaml.Load(b, &v); err != nil {
			t.Fatal(err)
		}
		for _, mistake := range root.mistakes(v, root, "") {
			t.Errorf("%s: %s", name, mistake)
		}
	}
	var bad any
	if err := yaml.Load([]byte("version: one\nhelper: {adress: 1}\nnetworks: {}\n"), &bad); err != nil {
		t.Fatal(err)
	}
	if got := root.mistakes(bad, root, ""); len(got) != 4 {
		t.Errorf("a bad file has the mistakes %q", got)
	}
}

// mistakes is a validator for the keywords that Schema uses.
func (root schemaNode) mistakes(v any, s schemaNode, path string) (found []string) {
	s = root.follow(s)
	if len(s.OneOf) > 0 {
		fits := 0
		for _, o := range s.OneOf {
			if len(root.mistakes(v, o, path)) == 0 {
				fits++
			}
		}
		if fits != 1 {
			return []string{path + " fits not just one form"}
		}
		return nil
	}
	kind := map[reflect.Kind]string{reflect.String: "string", reflect.Int: "integer", reflect.Bool: "boolean", reflect.Slice: "array", reflect.Map: "object"}[reflect.ValueOf(v).Kind()]
	if kind != s.Type {
		return []string{path + " is " + kind + ", not " + s.Type}
	}
	switch v := v.(type) {
	case string:
		if s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(v) {
			found = append(found, path+" does not match")
		}
		if s.Enum != nil && !slices.Contains(s.Enum, any(v)) {
			found = append(found, path+" is none of the words")
		}
	case []any:
		for _, e := range v {
			found = append(found, root.mistakes(e, *s.Items, path+"[]")...)
		}
	case map[string]any:
		for _, r := range s.Required {
			if _, ok := v[r]; !ok {
				found = append(found, path+" misses "+r)
			}
		}
		for k, e := range v {
			p, ok := s.Properties[k]
			if !ok {
				found = append(found, path+" has "+k)
				continue
			}
			found = append(found, root.mistakes(e, p, join(path, k))...)
		}
	}
	return found
}
