package table

import (
	"fmt"
	"net/netip"
	"strings"

	"helperd/plan"
)

// routes is what a frontend chooses its backend by when several clusters share its address.
type routes struct {
	names    map[string]*Backend // exact, lower case
	suffixes map[string]*Backend // with the leading dot, lower case
	sources  map[netip.Addr]*Backend
}

// longestName bounds a name in bytes (RFC 1035, section 2.3.4), the dot of the root included.
const longestName = 254

// newRoutes indexes list. Of two routes with the same name or source the first one counts.
func newRoutes(list []plan.NameRoute, backends map[string]*Backend) (*routes, error) {
	r := &routes{names: map[string]*Backend{}, suffixes: map[string]*Backend{}, sources: map[netip.Addr]*Backend{}}
	for _, route := range list {
		b := backends[route.Backend]
		if b == nil {
			return nil, fmt.Errorf("there is no backend %q", route.Backend)
		}
		for _, name := range route.Names {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			into := r.names
			if strings.HasPrefix(name, ".") {
				into = r.suffixes
			}
			if into[name] == nil {
				into[name] = b
			}
		}
		for _, a := range route.Sources {
			if a = a.Unmap(); r.sources[a] == nil {
				r.sources[a] = b
			}
		}
	}
	return r, nil
}

// Route chooses the backend of a connection that asks for name, which is empty
// when it names nobody: by the name, else by the client's address, else the
// frontend's default, which may be nil. It does not allocate.
func (f *Frontend) Route(name string, client netip.Addr) *Backend {
	if f.routes == nil {
		return f.Backend
	}
	if b := f.routes.named(name); b != nil {
		return b
	}
	if b := f.routes.sources[client.Unmap()]; b != nil {
		return b
	}
	return f.Backend
}

// Routed reports whether the name that a connection asks for decides on its backend.
func (f *Frontend) Routed() bool { return f.routes != nil }

// named looks for the name itself, then for its suffixes, the longest first.
func (r *routes) named(name string) *Backend {
	if name == "" || len(name) > longestName {
		return nil
	}
	var lower [longestName]byte
	n := copy(lower[:], name)
	for i, c := range lower[:n] {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	if lower[n-1] == '.' {
		n--
	}
	if b := r.names[string(lower[:n])]; b != nil {
		return b
	}
	for i := 1; i < n; i++ { // a suffix alone is no name: there is a label before it
		if lower[i] == '.' {
			if b := r.suffixes[string(lower[i:n])]; b != nil {
				return b
			}
		}
	}
	return nil
}
