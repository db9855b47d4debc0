package config

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// scalar decodes one text, number, switch or address.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, f field, path string) {
	if n.Kind != yaml.ScalarNode {
		hint := "one value"
		if ex := examples[v.Type()]; ex != "" {
			hint = "one value, such as " + ex
		}
		d.errorf(n, path, "this is %s where one value belongs; write %s", kindName(n), hint)
		return
	}
	if n.Style&yaml.TaggedStyle != 0 && !slices.Contains([]string{"!!str", "!!int", "!!bool"}, n.Tag) {
		d.errorf(n, path, "the tag %q has no meaning here; remove it", clip(n.Tag))
		return
	}
	if err := setScalar(v, n, f); err != nil {
		d.errorf(n, path, "%v", err)
	}
}

// setScalar stores the text of n in v.
func setScalar(v reflect.Value, n *yaml.Node, f field) error {
	s := n.Value
	switch p := v.Addr().Interface().(type) {
	case *bool:
		return setBool(p, n)
	case *int:
		return setInt(p, n, f)
	case *string:
		if s == "" {
			return fmt.Errorf("the text is empty; write a value or remove the key")
		}
		*p = s
		return checkWord(s, f.enum)
	case *netip.Addr:
		a, err := parseAddr(s)
		*p = a
		return err
	case *netip.Prefix:
		a, err := parsePrefix(s)
		*p = a
		return err
	case *Duration:
		err := p.UnmarshalText([]byte(s))
		if err == nil && *p == 0 && f.key != "ttl" {
			err = fmt.Errorf("a span of zero means nothing here; write such as 30s, or remove the key for the default")
		}
		return err
	case encoding.TextUnmarshaler:
		return p.UnmarshalText([]byte(s))
	}
	return fmt.Errorf("values of type %s cannot be read", v.Type())
}

func setBool(p *bool, n *yaml.Node) error {
	if n.Tag == "!!bool" {
		if b, err := strconv.ParseBool(strings.ToLower(n.Value)); err == nil {
			*p = b
			return nil
		}
	}
	switch strings.ToLower(n.Value) {
	case "true", "yes", "on", "enabled":
		return fmt.Errorf("%q is a text where true or false belongs; write true, without quotes", n.Value)
	case "false", "no", "off", "disabled":
		return fmt.Errorf("%q is a text where true or false belongs; write false, without quotes", n.Value)
	}
	return fmt.Errorf("%q is neither true nor false", clip(n.Value))
}

func setInt(p *int, n *yaml.Node, f field) error {
	i, err := strconv.Atoi(n.Value)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a whole number", clip(n.Value))
	case n.Tag != "!!int":
		return fmt.Errorf("%q is a text where a number belongs; write %d, without quotes", n.Value, i)
	case f.min != nil && i < *f.min || f.max != nil && i > *f.max:
		return fmt.Errorf("%d is out of range; write %s", i, f.bounds())
	}
	*p = i
	if f.key == "version" && n.Value != f.enum[0] {
		return fmt.Errorf("version %s of the format is not supported; this helperd reads version %s", n.Value, f.enum[0])
	}
	return nil
}

// bounds says which numbers are allowed.
func (f field) bounds() string {
	switch {
	case f.min == nil:
		return fmt.Sprintf("at most %d", *f.max)
	case f.max == nil:
		return fmt.Sprintf("at least %d", *f.min)
	}
	return fmt.Sprintf("%d to %d", *f.min, *f.max)
}

func checkWord(s string, allowed []string) error {
	if len(allowed) == 0 || slices.Contains(allowed, s) {
		return nil
	}
	if near := nearest(s, allowed); near != "" {
		return fmt.Errorf("%q is not allowed; did you mean %q? (%s)", clip(s), near, alternatives(allowed))
	}
	return fmt.Errorf("%q is not allowed; write %s", clip(s), alternatives(allowed))
}

func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil && strings.Contains(s, "/"):
		return netip.Addr{}, fmt.Errorf("%q is a prefix; write the address alone, without the /", clip(s))
	case err != nil:
		return netip.Addr{}, fmt.Errorf("%q is not an IP address; write it such as 192.168.7.2", clip(s))
	case a.Zone() != "":
		return netip.Addr{}, fmt.Errorf("%q names an interface; write %s", clip(s), a.WithZone(""))
	case a.Is4In6():
		return netip.Addr{}, fmt.Errorf("%q is an IPv4 address in IPv6 form; write %s", s, a.Unmap())
	case a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return netip.Addr{}, fmt.Errorf("%s is not the address of one machine; write its own address", a)
	}
	return a, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
			return netip.Prefix{}, fmt.Errorf("%q has no prefix length; write %s for the one address, or the network such as %s",
				s, netip.PrefixFrom(a, a.BitLen()), examples[reflect.TypeFor[netip.Prefix]()])
		}
		return netip.Prefix{}, fmt.Errorf("%q is not a network; write ADDRESS/LENGTH, such as 192.168.7.0/24", clip(s))
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q is an address inside of a network; write the network itself, %s", s, p.Masked())
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is an IPv4 network in IPv6 form; write it as 192.168.7.0/24", s)
	}
	return p, nil
}
