package engine

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
	"helperd/timeline"
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
		{"EBC HTTP Boot", mod(opt(60, "HTTPClient:Arch:00017"), opt(93, "\x00\x11"))},
		{"UEFI arm32", mod(opt(60, "PXEClient:Arch:00010"), opt(93, "\x00\x0a"))},
		{"U-Boot arm64", mod(opt(60, "PXEClient:Arch:00022"), opt(93, "\x00\x16"))},
		{"RISC-V", mod(opt(60, "PXEClient:Arch:00027"), opt(93, "\x00\x1b"))},
		{"s390x", mod(opt(93, "\x00\x1f"))},
		{"an architecture of the future", mod(opt(60, "PXEClient:Arch:65535"), opt(93, "\xff\xff"))},
		{"half an architecture", mod(opt(60, "PXEClient"), opt(93, "\x07"))},
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

// What a prefix makes PXELINUX load by HTTP goes to BIOS alone.
func TestPathPrefix(t *testing.T) {
	const prefix = "http://192.168.67.2:8080/boot/"
	d := basic()
	files := bootFiles()
	files.TFTP[plan.ArchBIOS], files.PathPrefix[plan.ArchBIOS] = string(plan.LPXELinux), prefix
	d.Reservations[0].Boot = files
	l := newLab(t, d)
	for _, c := range []struct {
		name, arch, user, want string
	}{
		{"BIOS", "\x00\x00", "", prefix},
		{"iPXE", "\x00\x00", "iPXE", ""},
		{"UEFI", "\x00\x07", "", ""},
	} {
		offer := l.send(node, dhcpv4.MessageTypeDiscover, mod(opt(60, "PXEClient"), opt(93, c.arch), opt(77, c.user))...)
		if got := string(offer.Options.Get(dhcpv4.GenericOptionCode(210))); got != c.want {
			t.Errorf("%s: option 210 is %q, want %q", c.name, got, c.want)
		}
	}
}

// A node that asks for a boot file and gets none is told of, with the reason.
func TestNoBootFileIsAnEvent(t *testing.T) {
	without := basic()
	without.Reservations[0].Boot = nil
	noHTTP := basic()
	noHTTP.Reservations[0].Boot.Script = ""
	for _, c := range []struct {
		name string
		dhcp *plan.DHCP
		mods []dhcpv4.Modifier
		want string // empty: no event
	}{
		{"32-bit UEFI", basic(), mod(opt(60, "PXEClient"), opt(93, "\x00\x06")), "32-bit UEFI"},
		{"unknown architecture", basic(), mod(opt(60, "PXEClient"), opt(93, "\x00\x1b")), "PXE architecture 27 gets no boot file"},
		{"no artifacts", without, mod(opt(60, "PXEClient"), opt(93, "\x00\x07")), "names no artifacts"},
		{"iPXE without a web server", noHTTP, mod(opt(60, "PXEClient"), opt(77, "iPXE"), opt(93, "\x00\x07")), "web server"},
		{"BIOS", basic(), mod(opt(60, "PXEClient"), opt(93, "\x00\x00")), ""},
		{"operating system", basic(), nil, ""},
	} {
		l := newLab(t, c.dhcp)
		l.send(node, dhcpv4.MessageTypeDiscover, c.mods...)
		detail := ""
		for _, e := range l.last.Events {
			if e.Kind == timeline.BootRefused {
				detail = e.Detail
			}
		}
		if (detail == "") != (c.want == "") || !strings.Contains(detail, c.want) {
			t.Errorf("%s: event %q, want %q in it", c.name, detail, c.want)
		}
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
