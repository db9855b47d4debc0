package engine

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
)

// The boot files of each kind of client, against testdata/boot.golden. OFFER and ACK must say the same.
func TestBootFiles(t *testing.T) {
	clients := []struct {
		name string
		mods []dhcpv4.Modifier
	}{
		{"BIOS ROM", mod(opt(60, "PXEClient:Arch:00000:UNDI:002001"), opt(93, "\x00\x00"))},
		{"BIOS ROM without option 93", mod(opt(60, "PXEClient"))},
		{"iPXE BIOS ROM", mod(opt(60, "PXEClient:Arch:00000:UNDI:002001"), opt(93, "\x00\x00"), opt(77, "iPXE"), opt(175, "\xb1\x05"))},
		{"iPXE with a length before its class", mod(opt(60, "PXEClient:Arch:00007"), opt(93, "\x00\x07"), opt(77, "\x04iPXE"))},
		{"iPXE arm64 by option 175", mod(opt(60, "PXEClient:Arch:00011"), opt(93, "\x00\x0b"), opt(175, "\xb1\x05"))},
		{"EFI x86", mod(opt(60, "PXEClient:Arch:00006"), opt(93, "\x00\x06"))},
		{"EFI x64 (00:07)", mod(opt(60, "PXEClient:Arch:00007:UNDI:003000"), opt(93, "\x00\x07"))},
		{"EFI x64 (00:09)", mod(opt(60, "PXEClient:Arch:00009:UNDI:003000"), opt(93, "\x00\x09"))},
		{"EFI arm64", mod(opt(60, "PXEClient:Arch:00011:UNDI:003000"), opt(93, "\x00\x0b"))},
		{"ppc64le", mod(opt(93, "\x00\x0c"))},
		{"petitboot", mod(opt(93, "\x00\x0e"))},
		{"HTTP Boot x86", mod(opt(60, "HTTPClient:Arch:00015:UNDI:003000"), opt(93, "\x00\x0f"))},
		{"HTTP Boot x64", mod(opt(60, "HTTPClient:Arch:00016:UNDI:003000"), opt(93, "\x00\x10"))},
		{"HTTP Boot arm64", mod(opt(60, "HTTPClient:Arch:00019:UNDI:003000"), opt(93, "\x00\x13"))},
		{"two architectures", mod(opt(60, "PXEClient"), opt(93, "\x00\x06\x00\x07"))},
		{"operating system", nil},
		{"operating system that asks for a boot file", mod(dhcpv4.WithRequestedOptions(dhcpv4.OptionBootfileName))},
	}
	var out strings.Builder
	l := newLab(t, basic())
	for _, c := range clients {
		offer := l.send(node, dhcpv4.MessageTypeDiscover, c.mods...)
		ack := l.send(node, dhcpv4.MessageTypeRequest, append(c.mods, requested("192.168.67.10"), server("192.168.67.2"))...)
		if diff := cmp.Diff(booting(offer), booting(ack)); diff != "" {
			t.Errorf("%s: offer and ack differ:\n%s", c.name, diff)
		}
		out.WriteString(c.name + "\n")
		for _, line := range booting(ack) {
			out.WriteString("    " + line + "\n")
		}
	}
	const path = "testdata/boot.golden"
	if os.Getenv("UPDATE") == "1" {
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("-want +got (UPDATE=1 records):\n%s", diff)
	}
}

// booting lists what a message says of booting.
func booting(d *dhcpv4.DHCPv4) (lines []string) {
	add := func(name, val string) {
		if val != "" {
			lines = append(lines, name+" "+val)
		}
	}
	if !d.ServerIPAddr.IsUnspecified() {
		add("siaddr", d.ServerIPAddr.String())
	}
	add("file", d.BootFileName)
	for _, o := range []struct {
		code uint8
		name string
	}{{43, "43"}, {60, "60 class"}, {66, "66 server"}, {67, "67 file"}, {209, "209 config"}, {210, "210 prefix"}} {
		add(o.name, string(d.Options.Get(dhcpv4.GenericOptionCode(o.code))))
	}
	return lines
}
