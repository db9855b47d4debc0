package config

import (
	"embed"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"
)

// sources are the files whose doc comments describe the format; the installed
// binary has no other copy of them.
//
//go:embed types*.go
var sources embed.FS

// Patterns of what Load reads. They catch slips while typing; Load is stricter.
const (
	addrPattern = `(\d{1,3}(\.\d{1,3}){3}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)`
	portPattern = `(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:.]+\]):\d{1,5}`
)

// patterns are the texts that the scalar types take.
var patterns = map[reflect.Type]string{
	reflect.TypeFor[MAC]():          `^([0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}|[0-9a-fA-F]{4}(\.[0-9a-fA-F]{4}){2})$`,
	reflect.TypeFor[netip.Addr]():   `^` + addrPattern + `$`,
	reflect.TypeFor[netip.Prefix](): `^` + addrPattern + `/\d{1,3}$`,
	reflect.TypeFor[AddrPort]():     `^(` + addrPattern + `|` + portPattern + `)$`,
	reflect.TypeFor[Range]():        `^` + addrPattern + ` *- *` + addrPattern + `$`,
	reflect.TypeFor[PortRange]():    `^\d{1,5} *- *\d{1,5}$`,
	reflect.TypeFor[UUID]():         `^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`,
	reflect.TypeFor[ClientID]():     `^.{2,761}$`,
	reflect.TypeFor[Duration]():     `^(\d+|(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+)$`,
}

// Schema is the JSON schema (draft 2020-12) of the file, for editors.
func Schema() []byte {
	comments := readComments()
	r := jsonschema.Reflector{
		Anonymous:                  true,
		ExpandedStruct:             true,
		RequiredFromJSONSchemaTags: true,
		FieldNameTag:               "yaml",
		Mapper:                     scalarSchema,
		LookupComment:              func(t reflect.Type, name string) string { return comments[t.Name()+"."+name] },
	}
	s := r.Reflect(Config{})
	plainNumbers(s)
	for _, def := range s.Definitions {
		plainNumbers(def)
	}
	s.Title = "helperd configuration"
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic("config: schema: " + err.Error()) // the types are constant; every test would see it
	}
	return append(b, '\n')
}

// plainNumbers lets the spans of s be numbers of seconds too. It runs last, for
// the reflector sets defaults only where there is one type.
func plainNumbers(s *jsonschema.Schema) {
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		if v := p.Value; v.Pattern == patterns[reflect.TypeFor[Duration]()] {
			v.OneOf = []*jsonschema.Schema{{Type: v.Type, Pattern: v.Pattern}, {Type: "integer", Minimum: "0"}}
			v.Type, v.Pattern = "", ""
		}
	}
}

// scalarSchema describes the types that are written as one text.
func scalarSchema(t reflect.Type) *jsonschema.Schema {
	if p := patterns[t]; p != "" {
		return &jsonschema.Schema{Type: "string", Pattern: p}
	}
	if oneOrList(t) {
		item := scalarSchema(t.Elem())
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{item, {Type: "array", Items: item}}}
	}
	return nil
}

// readComments reads the doc comments of types and their fields, under
// "Type." and "Type.Field".
func readComments() map[string]string {
	comments := map[string]string{}
	files, err := sources.ReadDir(".")
	if err != nil {
		panic("config: embedded sources: " + err.Error())
	}
	for _, f := range files {
		src, err := sources.ReadFile(f.Name())
		if err != nil {
			panic("config: embedded sources: " + err.Error())
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), src, parser.ParseComments)
		if err != nil {
			panic("config: embedded sources: " + err.Error()) // they compiled
		}
		for _, d := range parsed.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE {
				continue
			}
			for _, spec := range g.Specs {
				typeComments(comments, g, spec.(*ast.TypeSpec))
			}
		}
	}
	return comments
}

func typeComments(comments map[string]string, g *ast.GenDecl, t *ast.TypeSpec) {
	comments[t.Name.Name+"."] = flat(g.Doc)
	st, ok := t.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, f := range st.Fields.List {
		for _, n := range f.Names {
			comments[t.Name.Name+"."+n.Name] = flat(f.Doc)
		}
	}
}

// flat is a comment in one line.
func flat(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }
