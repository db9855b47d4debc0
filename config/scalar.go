package config

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// MAC is an Ethernet address.
type MAC [6]byte

// MACs is one MAC address or a list of them.
type MACs []MAC

// AddrPort is an address with an optional port; the port is 0 when none is written.
type AddrPort struct{ netip.AddrPort }

// AddrPorts is one address with port or a list of them.
type AddrPorts []AddrPort

// Range is an inclusive range of addresses, written FIRST-LAST.
type Range struct{ First, Last netip.Addr }

// PortRange is an inclusive range of ports, written FIRST-LAST.
type PortRange struct{ First, Last int }

// IsValid reports whether the range was written.
func (r Range) IsValid() bool { return r.First.IsValid() }

// Contains reports whether a lies in the range.
func (r Range) Contains(a netip.Addr) bool {
	return r.IsValid() && r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0
}

func (r Range) String() string {
	if !r.IsValid() {
		return ""
	}
	return r.First.String() + "-" + r.Last.String()
}

// macForms are how MAC addresses are written: by colons, by dashes, and in
// Cisco's groups of four digits.
var macForms = regexp.MustCompile(`^(?i:[0-9a-f]{2}(:[0-9a-f]{2}){5}|[0-9a-f]{2}(-[0-9a-f]{2}){5}|[0-9a-f]{4}(\.[0-9a-f]{4}){2})$`)

// ParseMAC reads six hex bytes separated by colons, dashes, or in Cisco's dotted groups of four digits.
func ParseMAC(s string) (MAC, error) {
	b, err := hex.DecodeString(strings.NewReplacer(":", "", "-", "", ".", "").Replace(s))
	if err != nil || !macForms.MatchString(s) {
		return MAC{}, fmt.Errorf("%q is not a MAC address; write six hex bytes, such as 52:54:00:60:72:67", clip(s))
	}
	return MAC(b), nil
}

func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Dashed is the form that boot loaders put into file names: 52-54-00-60-72-67.
func (m MAC) Dashed() string { return strings.ReplaceAll(m.String(), ":", "-") }

// IsZero reports whether no address was written.
func (m MAC) IsZero() bool { return m == MAC{} }

// MarshalText writes the colon form.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads any form that ParseMAC reads.
func (m *MAC) UnmarshalText(b []byte) (err error) {
	*m, err = ParseMAC(string(b))
	return err
}

// UnmarshalText reads 90s, 4h, or a plain number of seconds.
func (d *Duration) UnmarshalText(b []byte) error {
	s := string(b)
	if n, err := strconv.Atoi(s); err == nil {
		s = strconv.Itoa(n) + "s"
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a time span; write it as 90s, 15m or 4h", clip(string(b)))
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes the span as Go does: 1h30m0s.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads FIRST-LAST.
func (r *Range) UnmarshalText(b []byte) error {
	first, last, ok := strings.Cut(string(b), "-")
	f, err1 := netip.ParseAddr(strings.TrimSpace(first))
	l, err2 := netip.ParseAddr(strings.TrimSpace(last))
	if !ok || err1 != nil || err2 != nil {
		return fmt.Errorf("%q is not a range of addresses; write FIRST-LAST, such as 192.168.7.100-192.168.7.200", clip(string(b)))
	}
	if f.BitLen() != l.BitLen() || f.Zone() != "" || l.Zone() != "" || f.Is4In6() || l.Is4In6() {
		return fmt.Errorf("%q mixes kinds of addresses; write two plain ones of the same IP version", b)
	}
	if l.Less(f) {
		return fmt.Errorf("range %q ends before it starts; write %s-%s", b, l, f)
	}
	*r = Range{f, l}
	return nil
}

// MarshalText writes FIRST-LAST.
func (r Range) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads FIRST-LAST.
func (r *PortRange) UnmarshalText(b []byte) error {
	first, last, ok := strings.Cut(string(b), "-")
	f, err1 := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
	l, err2 := strconv.ParseUint(strings.TrimSpace(last), 10, 16)
	if !ok || err1 != nil || err2 != nil || f == 0 || l < f {
		return fmt.Errorf("%q is not a range of ports; write FIRST-LAST, such as 30000-30009", clip(string(b)))
	}
	*r = PortRange{int(f), int(l)}
	return nil
}

// MarshalText writes FIRST-LAST.
func (r PortRange) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%d-%d", r.First, r.Last), nil
}

// UnmarshalText reads ADDRESS or ADDRESS:PORT.
func (a *AddrPort) UnmarshalText(b []byte) error {
	ip, err := netip.ParseAddr(string(b))
	var port uint16
	if err != nil {
		ap, err := netip.ParseAddrPort(string(b))
		if err != nil {
			return fmt.Errorf("%q is not an address with port; write it as 192.168.7.2:9418 or [fd00::2]:9418", clip(string(b)))
		}
		ip, port = ap.Addr(), ap.Port()
	}
	if ip.Zone() != "" || ip.Is4In6() {
		return fmt.Errorf("%q is not a plain address; write %s", b, ip.Unmap().WithZone(""))
	}
	a.AddrPort = netip.AddrPortFrom(ip, port)
	return nil
}

// MarshalText writes ADDRESS, or ADDRESS:PORT when there is a port.
func (a AddrPort) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

func (a AddrPort) String() string {
	switch {
	case !a.IsValid():
		return ""
	case a.Port() == 0:
		return a.Addr().String()
	}
	return a.AddrPort.String()
}
