package config

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// UUID is that of a machine, in the order in which it is printed.
type UUID [16]byte

// uuidForm is the text form of RFC 9562 section 4.
var uuidForm = regexp.MustCompile(`^(?i:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)

// IsZero reports whether no UUID was written.
func (u UUID) IsZero() bool { return u == UUID{} }

// Swapped is u as the SMBIOS table of a machine has it: the first three fields
// with the low byte first.
func (u UUID) Swapped() UUID {
	u[0], u[1], u[2], u[3] = u[3], u[2], u[1], u[0]
	u[4], u[5] = u[5], u[4]
	u[6], u[7] = u[7], u[6]
	return u
}

func (u UUID) String() string {
	if u.IsZero() {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// MarshalText writes the form that dmidecode prints.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// placeholders are what boards say whose maker wrote no UUID, in both orders.
var placeholders = []string{
	"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
	"03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009",
}

// UnmarshalText reads 32 hex digits with dashes, and refuses what is no machine's own.
func (u *UUID) UnmarshalText(b []byte) error {
	s := string(b)
	if !uuidForm.MatchString(s) {
		return fmt.Errorf("%q is not a UUID; write it as dmidecode -s system-uuid prints it, such as 4c4c4544-0051-3510-8052-b4c04f4a3132", clip(s))
	}
	v, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil {
		return err
	}
	if slices.Contains(placeholders, strings.ToLower(s)) {
		return fmt.Errorf("%s is what boards without a UUID say, so it is no machine's own; write a mac instead", s)
	}
	*u = UUID(v)
	return nil
}

// ClientID is option 61 of DHCP as bytes. A text in the file stands for its bytes.
type ClientID string

// hexBytes are at least two bytes with colons between them.
var hexBytes = regexp.MustCompile(`^(?i:[0-9a-f]{2}(:[0-9a-f]{2})+)$`)

// String is the text, or hex bytes with colons where it is not one.
func (c ClientID) String() string {
	other := func(r rune) bool { return r < ' ' || r > '~' }
	if !strings.ContainsFunc(string(c), other) && !hexBytes.MatchString(string(c)) {
		return string(c)
	}
	pairs := make([]string, len(c))
	for i := range len(c) {
		pairs[i] = hex.EncodeToString([]byte{c[i]})
	}
	return strings.Join(pairs, ":")
}

// MarshalText writes the text or the hex bytes.
func (c ClientID) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads a text, or hex bytes with colons.
func (c *ClientID) UnmarshalText(b []byte) error {
	s := string(b)
	if hexBytes.MatchString(s) {
		v, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
		if err != nil {
			return err
		}
		s = string(v)
	}
	if len(s) < 2 || len(s) > 254 { // RFC 2132 section 9.14; one more byte may stand before it
		return fmt.Errorf("client id %q has %d bytes; DHCP has 2 to 254 of them, write a text or hex bytes such as \"01:52:54:00:60:72:67\"", clip(s), len(s))
	}
	*c = ClientID(s)
	return nil
}
