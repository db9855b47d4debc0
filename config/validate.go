package config

import (
	"fmt"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"unicode"
)

// A validator looks for what types cannot say: names and addresses that
// clash, references to nothing, and what OpenShift would not like.
type validator struct {
	c  *Config
	ds Diagnostics
	// failed are paths that the decoder has complained about; what they would
	// lead to is not a second mistake.
	failed map[string]bool

	addresses map[netip.Addr]owner
	macs      map[MAC]owner
	uuids     map[UUID]owner
	ids       map[ClientID]owner
	names     map[string]owner // full names, without a trailing dot
}

// An owner is who has an address, a MAC or a name, and where that is written.
type owner struct{ who, path string }

// validate runs every check.
func (v *validator) validate() {
	v.addresses = map[netip.Addr]owner{}
	v.macs = map[MAC]owner{}
	v.uuids = map[UUID]owner{}
	v.ids = map[ClientID]owner{}
	v.names = map[string]owner{}
	v.helper()
	v.networks()
	v.artifacts()
	v.clusters()
	v.hosts()
	v.pools()
	v.dns()
	v.balancer()
	v.files()
	v.ports()
}

func (v *validator) errorf(path, format string, args ...any) { v.add(Error, path, format, args) }
func (v *validator) warnf(path, format string, args ...any)  { v.add(Warning, path, format, args) }

func (v *validator) add(s Severity, path, format string, args []any) {
	v.ds = append(v.ds, Diagnostic{v.c.Pos(path), s, fmt.Sprintf(format, args...)})
}

// line is the line of path, for "(line 9)".
func (v *validator) line(path string) int { return v.c.Pos(path).Line }

// broken reports whether the decoder complained about path or something below it.
func (v *validator) broken(path string) bool {
	for p := range v.failed {
		if rest, ok := strings.CutPrefix(p, path); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

// helper checks the machine itself.
func (v *validator) helper() {
	h := v.c.Helper
	v.label("helper.name", "helper", h.Name)
	own := v.family("helper.address", "helper", h.Address, false)
	v.claimAddress("helper.address", "the helper", own)
	own6 := v.family("helper.address6", "helper", h.Address6, true)
	v.claimAddress("helper.address6", "the helper", own6)
	v.inNetwork("helper.address", "helper", own, "add the network of the helper, with dhcp: {mode: off} if nothing is to be handed out there")
	v.inNetwork("helper.address6", "helper", own6, "add the IPv6 network of the helper")
}

// machine checks and claims both addresses of a node or host.
func (v *validator) machine(p, who string, ip, ip6 netip.Addr, remedy string) {
	if !ip.IsValid() && !ip6.IsValid() && !v.failed[p] && !v.broken(p+".ip") && !v.broken(p+".ip6") {
		v.errorf(p, "%s: no address; write such as ip: %s", who, v.exampleAddress())
	}
	ip, ip6 = v.family(p+".ip", who, ip, false), v.family(p+".ip6", who, ip6, true)
	v.claimAddress(p+".ip", who, ip)
	v.claimAddress(p+".ip6", who, ip6)
	v.inNetwork(p+".ip", who, ip, remedy)
	v.inNetwork(p+".ip6", who, ip6, remedy)
}

// family refuses an address of the other IP version; it returns a, or the zero
// address after a complaint.
func (v *validator) family(path, who string, a netip.Addr, six bool) netip.Addr {
	switch {
	case !a.IsValid() || a.Is6() == six:
		return a
	case six:
		v.errorf(path, "%s: %s is an IPv4 address where an IPv6 one belongs; write such as fd00::10", who, a)
	default:
		v.errorf(path, "%s: %s is an IPv6 address where an IPv4 one belongs; move it to %s6", who, a, path[strings.LastIndexByte(path, '.')+1:])
	}
	return netip.Addr{}
}

// claimAddress gives a to one owner; a zero address is nobody's.
func (v *validator) claimAddress(path, who string, a netip.Addr) {
	if !a.IsValid() {
		return
	}
	o, taken := v.addresses[a]
	isHost := strings.HasPrefix(path, "hosts[")
	switch {
	case taken && isHost && strings.HasSuffix(o.path, ".gateway"): // a name for the router
	case taken && isHost:
		v.errorf(path, "%s: address %s is already used by %s (line %d); write a further name of that machine under dns.records", who, a, o.who, v.line(o.path))
		return
	case taken:
		v.errorf(path, "%s: address %s is already used by %s (line %d); give each machine its own", who, a, o.who, v.line(o.path))
		return
	}
	v.addresses[a] = owner{who, path}
}

// claimMACs gives each MAC of one machine to it.
func (v *validator) claimMACs(path, who string, macs MACs) {
	for i, m := range macs {
		p := index(path, i)
		o, taken := v.macs[m]
		switch {
		case v.failed[p]:
		case m.IsZero() || m[0]&1 == 1:
			v.errorf(p, "%s: %s is no MAC of one machine (its group bit is set or it is zero); write the one of the boot interface", who, m)
		case taken:
			v.errorf(p, "%s: MAC %s is already used by %s (line %d)", who, m, o.who, v.line(o.path))
		default:
			v.macs[m] = owner{who, p}
		}
	}
}

// claimName gives a full name to one owner.
func (v *validator) claimName(path, who, name string) {
	name = strings.ToLower(name)
	if o, taken := v.names[name]; taken {
		v.errorf(path, "%s: the name %s is already used by %s (line %d); choose another", who, name, o.who, v.line(o.path))
		return
	}
	v.names[name] = owner{who, path}
}

// label checks one label of a name (RFC 1123 section 2.1), in lower case as Kubernetes wants it.
func (v *validator) label(path, who, s string) bool {
	if s == "" {
		return false
	}
	if why := badLabel(s, false); why != "" {
		v.errorf(path, "%s: %q is no host name: %s; write such as %q", who, clip(s), why, tidyLabel(s))
		return false
	}
	return true
}

// fullName checks a name of several labels. Owners of records may have
// underscores and start with a wildcard.
func (v *validator) fullName(path, who, s string, record bool) bool {
	if s == "" {
		return false
	}
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	if record && labels[0] == "*" {
		labels = labels[1:]
	}
	for _, l := range labels {
		if why := badLabel(l, record); why != "" {
			v.errorf(path, "%s: %q is no domain name: in %q, %s; write such as example.com", who, clip(s), clip(l), why)
			return false
		}
	}
	switch {
	case len(s) > 253:
		v.errorf(path, "%s: the name has %d bytes; DNS allows 253", who, len(s))
		return false
	case strings.HasSuffix(s, ".") && !record:
		v.errorf(path, "%s: %q ends in a dot; write %s", who, s, strings.TrimSuffix(s, "."))
		return false
	}
	return true
}

// badLabel says why s is no label; empty: it is one.
func badLabel(s string, underscore bool) string {
	for _, r := range s {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-':
		case underscore && (r == '_' || 'A' <= r && r <= 'Z'):
		case 'A' <= r && r <= 'Z':
			return "it has capital letters"
		default:
			return fmt.Sprintf("%q is not allowed", r)
		}
	}
	switch {
	case s == "":
		return "a label is empty"
	case len(s) > 63:
		return "a label has more than 63 bytes"
	case s[0] == '-' || s[len(s)-1] == '-':
		return "it starts or ends with a hyphen"
	}
	return ""
}

// tidyLabel makes a label of s that would do.
func tidyLabel(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		}
		return '-'
	}, strings.ToLower(s))
	s = strings.Trim(s[:min(len(s), 63)], "-")
	if s == "" {
		return "node1"
	}
	return s
}

// absolute checks a path on this machine.
func (v *validator) absolute(at, who, p string) {
	switch {
	case p == "":
	case strings.ContainsFunc(p, unicode.IsControl):
		v.errorf(at, "%s: the path %q has control characters; remove them", who, clip(p))
	case !path.IsAbs(p):
		v.errorf(at, "%s: %q is a relative path; write it from the root, such as %s", who, clip(p), path.Join("/srv", clip(p)))
	}
}

// unique finds names that are used twice in one list.
func (v *validator) unique(list, key, what string, names []string) {
	first := map[string]int{}
	for i, n := range names {
		if n == "" {
			continue
		}
		p := index(list, i) + "." + key
		if j, taken := first[n]; taken {
			v.errorf(p, "%s %q is already there (line %d); choose another %s", what, clip(n), v.line(index(list, j)+"."+key), key)
			continue
		}
		first[n] = i
	}
}

// namesOf lists one text of each entry.
func namesOf[T any](list []T, name func(T) string) []string {
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = name(e)
	}
	return names
}

// meant is "; did you mean ...", or the list of what there is.
func meant(s string, words []string, none string) string {
	if near := nearest(s, words); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(words) == 0 {
		return none
	}
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	return "there is " + clip(strings.Join(quoted, ", "))
}

// index is the path of entry i of a list.
func index(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }
