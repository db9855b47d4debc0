package config

import (
	"encoding"
	"testing"
)

// TestTextForms reads each form and writes it back in the one that the product shows.
func TestTextForms(t *testing.T) {
	type text interface {
		encoding.TextMarshaler
		encoding.TextUnmarshaler
	}
	type pair struct {
		value         text
		written, want string // want empty: refused
	}
	for _, c := range []pair{
		{new(MAC), "52:54:00:AB:cd:ef", "52:54:00:ab:cd:ef"},
		{new(MAC), "52-54-00-ab-cd-ef", "52:54:00:ab:cd:ef"},
		{new(MAC), "5254.00ab.cdef", "52:54:00:ab:cd:ef"},
		{new(MAC), "525400abcdef", ""},
		{new(MAC), "5:254:00:ab:cd:ef", ""},
		{new(MAC), "52:54-00:ab-cd:ef", ""},
		{new(MAC), "52:54:00:ab:cd:eg", ""},
		{new(MAC), "", ""},
		{new(UUID), "4C4C4544-0051-3510-8052-b4c04f4a3132", "4c4c4544-0051-3510-8052-b4c04f4a3132"},
		{new(UUID), "4c4c4544005135108052b4c04f4a3132", ""},
		{new(UUID), "ffffffff-ffff-ffff-ffff-ffffffffffff", ""},
		{new(ClientID), "node-1", "node-1"},
		{new(ClientID), "01:52:54:00:60:72:67", "01:52:54:00:60:72:67"},
		{new(ClientID), "61:62:63", "abc"},
		{new(ClientID), "ff", "ff"},
		{new(ClientID), "31:32:3A:33:34", "31:32:3a:33:34"}, // the bytes of 12:34, which would be read as two
		{new(ClientID), "x", ""},
		{new(ClientID), "", ""},
		{new(Duration), "90s", "1m30s"},
		{new(Duration), "3600", "1h0m0s"},
		{new(Duration), "1h30m", "1h30m0s"},
		{new(Duration), "-1s", ""},
		{new(Duration), "4 hours", ""},
		{new(Duration), "99999999999999", ""},
		{new(Range), "10.0.0.1 - 10.0.0.9", "10.0.0.1-10.0.0.9"},
		{new(Range), "fd00::1-fd00::9", "fd00::1-fd00::9"},
		{new(Range), "10.0.0.9-10.0.0.1", ""},
		{new(Range), "10.0.0.1-fd00::1", ""},
		{new(Range), "fe80::1%a-fe80::2%a", ""},
		{new(Range), "10.0.0.1-9", ""},
		{new(PortRange), "30000-30009", "30000-30009"},
		{new(PortRange), "0-9", ""},
		{new(PortRange), "9-1", ""},
		{new(PortRange), "1-70000", ""},
		{new(AddrPort), "10.0.0.1", "10.0.0.1"},
		{new(AddrPort), "10.0.0.1:53", "10.0.0.1:53"},
		{new(AddrPort), "[fd00::1]:53", "[fd00::1]:53"},
		{new(AddrPort), "fd00::1", "fd00::1"},
		{new(AddrPort), "[fe80::1%a]:53", ""},
		{new(AddrPort), "host:53", ""},
	} {
		err := c.value.UnmarshalText([]byte(c.written))
		if (err != nil) != (c.want == "") {
			t.Errorf("%T %q: %v", c.value, c.written, err)
		}
		if got, _ := c.value.MarshalText(); err == nil && string(got) != c.want {
			t.Errorf("%T %q: %s, want %s", c.value, c.written, got, c.want)
		}
	}
	if m, _ := ParseMAC("52:54:00:ab:cd:ef"); m.Dashed() != "52-54-00-ab-cd-ef" {
		t.Error(m.Dashed())
	}
}

func TestDiagnosticsRead(t *testing.T) {
	ds := Diagnostics{
		{Position{9, 1}, Error, "b"},
		{Position{2, 5}, Warning, "a"},
		{Position{9, 1}, Error, "b"},
	}.Sort()
	if got, want := ds.Error(), "2:5: warning: a\n9:1: b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !ds.HasErrors() || ds[:1].HasErrors() {
		t.Error("a warning is no error, and an error is")
	}
}
