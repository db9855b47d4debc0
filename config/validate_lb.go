package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// objectName is what the HAProxy runtime API takes for a name of a proxy or server.
var objectName = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,128}$`)

func (v *validator) balancer() {
	b := v.c.LB
	v.absolute("lb.stats_socket", "lb", b.StatsSocket)
	v.unique("lb.frontends", "name", "frontend", namesOf(b.Frontends, func(f Frontend) string { return f.Name }))
	backends := namesOf(b.Backends, func(b Backend) string { return b.Name })
	v.unique("lb.backends", "name", "backend", backends)
	for i, f := range b.Frontends {
		v.frontend(index("lb.frontends", i), f, backends)
	}
	for i, g := range b.Backends {
		v.backend(index("lb.backends", i), g)
	}
}

func (v *validator) objectName(p, who, name string) {
	if name != "" && !objectName.MatchString(name) {
		v.errorf(p, "%s: the name may have letters, digits, hyphen, underscore, dot and colon, at most 128 of them", who)
	}
}

func (v *validator) frontend(p string, f Frontend, backends []string) {
	who := fmt.Sprintf("frontend %q", clip(f.Name))
	v.objectName(p+".name", who, f.Name)
	for i, a := range f.Listen {
		if a.IsValid() && a.Port() == 0 {
			v.errorf(index(p+".listen", i), "%s: %s has no port; write such as %q", who, a.Addr(), withPort(a, 9418))
		}
	}
	if f.Backend != "" && !slices.Contains(backends, f.Backend) && !v.broken("lb.backends") {
		v.errorf(p+".backend", "%s: there is no backend %q; %s", who, clip(f.Backend), meant(f.Backend, backends, "write it under lb.backends"))
	}
}

func (v *validator) backend(p string, b Backend) {
	who := fmt.Sprintf("backend %q", clip(b.Name))
	v.objectName(p+".name", who, b.Name)
	v.check(p+".check", who, b.Check)
	v.unique(p+".servers", "name", "server", namesOf(b.Servers, func(s Server) string { return s.Name }))
	for i, s := range b.Servers {
		at := index(p+".servers", i)
		v.objectName(at+".name", fmt.Sprintf("server %q", clip(s.Name)), s.Name)
		switch a := s.Address; {
		case !a.IsValid():
		case a.Addr().IsUnspecified() || a.Addr().IsMulticast():
			v.errorf(at+".address", "server %q: %s is not the address of one machine; write its own", s.Name, a.Addr())
		case a.Port() == 0:
			v.errorf(at+".address", "server %q: %s has no port; write such as %q", s.Name, a.Addr(), withPort(a, 9418))
		}
	}
}

func (v *validator) check(p, who string, c Check) {
	web := c.Type == "http" || c.Type == "https"
	for _, key := range []string{"path", "status", "host"} {
		if v.c.Written(p+"."+key) && !web && !v.broken(p+".type") {
			v.errorf(p+"."+key, "%s: a check of type %s has no %s; write type: http or remove it", who, c.Type, key)
		}
	}
	if c.Verify && c.Type != "https" && !v.broken(p+".type") {
		v.errorf(p+".verify", "%s: a check of type %s has no certificate to verify; write type: https or remove it", who, c.Type)
	}
	if strings.ContainsFunc(c.Host, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '/' }) {
		v.errorf(p+".host", "%s: check host %q; write a name alone, such as api.ocp4.example.com", who, clip(c.Host))
	}
	if v.broken(p + ".path") {
		return
	}
	if !strings.HasPrefix(c.Path, "/") || strings.ContainsFunc(c.Path, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		v.errorf(p+".path", "%s: check path %q; write it from the root and without spaces, such as /healthz", who, clip(c.Path))
	}
}

func withPort(a AddrPort, port uint16) string {
	if a.Addr().Is6() {
		return fmt.Sprintf("[%s]:%d", a.Addr(), port)
	}
	return fmt.Sprintf("%s:%d", a.Addr(), port)
}
