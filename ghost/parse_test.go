package ghost

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseArguments(t *testing.T) {
	const needed = " coreos.live.rootfs_url=http://h/r coreos.inst.install_dev=/dev/sda coreos.inst.ignition_url=http://h/i?token=t"
	live := arguments{rootfs: "http://h/r", disk: "/dev/sda", ignition: "http://h/i?token=t"}
	static := live
	static.static = &lease{
		prefix: netip.MustParsePrefix("10.0.0.5/23"), router: netip.MustParseAddr("10.0.0.1"), host: "m0.c.example.com",
		dns: []netip.Addr{netip.MustParseAddr("10.0.0.2")},
	}
	tests := []struct {
		name, line string
		want       arguments
		err        string
	}{
		{"dhcp", "ip=dhcp rd.neednet=1" + needed, live, ""},
		{"dhcp on one interface", "ip=ens3:dhcp" + needed, live, ""},
		{"static", "ip=10.0.0.5::10.0.0.1:255.255.254.0:m0.c.example.com:ens3:none nameserver=10.0.0.2" + needed, static, ""},
		{"static with a prefix length", "ip=10.0.0.5::10.0.0.1:23:m0.c.example.com::none nameserver=10.0.0.2" + needed, static, ""},
		{"4.5", "coreos.inst=yes coreos.inst.install_dev=sda coreos.inst.image_url=http://h/m coreos.inst.ignition_url=http://h/i", arguments{image: "http://h/m", disk: "sda", ignition: "http://h/i"}, ""},
		{"broken address", "ip=10.0.0.500::10.0.0.1:24:m0::none" + needed, arguments{}, "10.0.0.500"},
		{"no rootfs", "ip=dhcp", arguments{}, "coreos.live.rootfs_url"},
		{"no ignition", "coreos.live.rootfs_url=http://h/r coreos.inst.install_dev=/dev/sda", arguments{}, "without configuration"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseArguments(strings.Fields(tt.line))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v does not say %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(arguments{}, lease{}), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseMenu(t *testing.T) {
	m := menu{run: &run{Node: &Node{MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}}}
	tests := []struct {
		name, text string
		want       target
		other      string
	}{
		{"GRUB", "set timeout=0\nlinux /a/kernel 'x=\"1\"' ip=dhcp\n\tinitrd /a/initramfs\n\tif true; then\n\t\tboot\n\tfi\n", target{kernel: "/a/kernel", args: []string{"x=1", "ip=dhcp"}, initrds: []string{"/a/initramfs"}}, ""},
		{"GRUB disk", "chainloader ($disk)/efi\nboot\nexit 1\n", target{disk: true}, ""},
		{"GRUB goes on", "configfile /boot/grub.cfg-01-$net_default_mac\n", target{}, "/boot/grub.cfg-01-02:00:00:00:00:01"},
		{"PXELINUX", "DEFAULT i\nLABEL i\n  KERNEL http://h/k\n  APPEND initrd=http://h/i,b a=b\n", target{kernel: "http://h/k", args: []string{"initrd=http://h/i,b", "a=b"}, initrds: []string{"http://h/i", "b"}}, ""},
		{"PXELINUX disk", "LABEL d\n  LOCALBOOT 0\n", target{disk: true}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, other := m.parse(tt.text)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(target{})); diff != "" || other != tt.other {
				t.Errorf("goes on with %q, want %q\n%s", other, tt.other, diff)
			}
		})
	}
}

func TestExpand(t *testing.T) {
	s := &script{settings: map[string]string{"mac:hexhyp": "02-00", "platform": "efi", "name": "platform"}}
	for in, want := range map[string]string{
		"http://h/${netX/mac:hexhyp}.ipxe": "http://h/02-00.ipxe", "${net0/mac:hexhyp}": "02-00", "${unknown}": "", "a${platform}b${platform}": "aefibefi",
		"${${name}}": "efi", "${open": "${open",
	} {
		if got := s.expand(in); got != want {
			t.Errorf("%s became %q, want %q", in, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("ip=10.0.0.5::10.0.0.1:23:m0::none")
	f.Add("linux (http,h)/k a\ninitrd i\nappend initrd=a,b\nconfigfile x")
	f.Add("kernel --name x ${netX/mac} || goto ${a")
	f.Add("tsize\x0012\x00blksize\x00")
	f.Fuzz(func(t *testing.T, text string) {
		words := strings.Fields(text)
		if a, err := parseArguments(words); err == nil && a.static != nil && !a.static.prefix.IsValid() {
			t.Errorf("a static address without a prefix from %q", text)
		}
		(&menu{run: &run{Node: &Node{}}}).parse(text)
		s := &script{settings: map[string]string{"a": "${b"}}
		if got := s.expand(text); !strings.Contains(text, "${") && got != text {
			t.Errorf("%q became %q", text, got)
		}
		positional(words)
		if n := len(parseOptions([]byte(text))); n > len(text)/2+1 {
			t.Errorf("%d options in %d bytes", n, len(text))
		}
	})
}
