package boot

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"helperd/internal/netns"
	"helperd/plan"
)

var update = flag.Bool("update", false, "record the golden files anew")

func mac(t testing.TB, s string) plan.MAC {
	t.Helper()
	m, err := plan.ParseMAC(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// master is a node with arguments that loaders read differently.
func master(t testing.TB) *plan.Node {
	const ignition = "http://192.168.67.2:8080/ignition/ocp4.example.com/master.ign"
	return &plan.Node{
		Name: "master-0", FQDN: "master-0.ocp4.example.com", Role: plan.Master, Arch: "x86_64",
		MACs: []plan.MAC{mac(t, "52:54:00:e7:9d:67"), mac(t, "52:54:00:e7:9d:ab")},
		IP:   netip.MustParseAddr("192.168.67.11"),
		Boot: &plan.Boot{
			Artifact: "rhcos", Kernel: "/artifacts/rhcos/kernel", Initramfs: "/artifacts/rhcos/initramfs",
			BaseURL: "http://192.168.67.2:8080", Ignition: ignition,
			Args: []string{
				"coreos.live.rootfs_url=http://192.168.67.2:8080/artifacts/rhcos/rootfs",
				"coreos.inst.install_dev=/dev/vda", "coreos.inst.ignition_url=" + ignition, "ip=dhcp", "rd.neednet=1",
				"console=tty0 console=ttyS0,115200", `dyndbg="file drivers/usb/* +p"`, "a=$b;'c'",
			},
		},
	}
}

// small is a plan with that node, one on ARM, and one that boots nothing.
func small(t testing.TB) *plan.Plan {
	arm := master(t)
	arm.Name, arm.FQDN, arm.Arch = "arm-0", "arm-0.ocp4.example.com", "aarch64"
	arm.MACs, arm.IP = []plan.MAC{mac(t, "52:54:00:00:00:aa")}, netip.MustParseAddr("192.168.67.12")
	idle := &plan.Node{
		Name: "idle", FQDN: "idle.ocp4.example.com", MACs: []plan.MAC{mac(t, "52:54:00:00:00:bb")},
		IP: netip.MustParseAddr("192.168.67.13"),
	}
	return &plan.Plan{Nodes: []*plan.Node{idle, master(t), arm}}
}

func TestGolden(t *testing.T) {
	tests := []struct {
		file string
		got  []byte
	}{
		{"install.ipxe", IPXE(master(t), Options{Token: "SECRET"})},
		{"disk.ipxe", IPXE(master(t), Options{Disk: true, Token: "SECRET"})},
		{"dispatch.ipxe", IPXEDispatch("http://192.168.67.2:8080")},
		{"install.grub", GRUB(master(t), Options{Token: "SECRET"})},
		{"disk.grub", GRUB(master(t), Options{Disk: true})},
		{"dispatch.grub", GRUBDispatch()},
		{"install.pxelinux", PXELINUX(master(t), Options{Token: "SECRET"})},
		{"disk.pxelinux", PXELINUX(master(t), Options{Disk: true})},
		{"install-tftp.pxelinux", PXELINUX(master(t), Options{Token: "SECRET", TFTP: true})},
		{"none.pxelinux", PXELINUXNone()},
		{"s390x.parm", Parm(zNode(t), Options{Token: "SECRET"}, CardColumns)},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			file := filepath.Join("testdata", tt.file)
			if *update {
				if err := os.WriteFile(file, tt.got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(tt.got)); diff != "" {
				t.Errorf("-want +got; review it and run with -update:\n%s", diff)
			}
		})
	}
}

func TestToken(t *testing.T) {
	for name, render := range map[string]func(*plan.Node, Options) []byte{"ipxe": IPXE, "grub": GRUB, "pxelinux": PXELINUX} {
		n := master(t)
		if got := render(n, Options{}); bytes.Contains(got, []byte("token")) {
			t.Errorf("%s: a token that nobody gave:\n%s", name, got)
		}
		if got := render(n, Options{Token: "A/B"}); !bytes.Contains(got, []byte("/master.ign?token=A%2FB")) {
			t.Errorf("%s: no token on the ignition URL:\n%s", name, got)
		}
		if strings.Contains(strings.Join(n.Boot.Args, " "), "token") {
			t.Fatalf("%s: the plan was written to", name)
		}
		if got := render(n, Options{Token: "A", Disk: true}); bytes.Contains(got, []byte("token")) || bytes.Contains(got, []byte("coreos")) {
			t.Errorf("%s: booting from disk installs:\n%s", name, got)
		}
	}
}

// GRUB's own parser must take what we write.
func TestGRUBSyntax(t *testing.T) {
	check, err := exec.LookPath("grub-script-check")
	if err != nil {
		check = "grub2-script-check" // Fedora's name
		netns.Tools(t, check)
	}
	p := small(t)
	files := map[string][]byte{"dispatch": GRUBDispatch()}
	for _, n := range p.Nodes[1:] {
		files[n.Name+" install"] = GRUB(n, Options{Token: "SECRET"})
		files[n.Name+" disk"] = GRUB(n, Options{Disk: true})
	}
	for name, text := range files {
		cmd := exec.CommandContext(t.Context(), check)
		cmd.Stdin = bytes.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s\n%s", name, err, out, text)
		}
	}
}

func TestSerial(t *testing.T) {
	tests := []struct {
		args []string
		want *serial
	}{
		{nil, nil},
		{[]string{"console=tty0"}, nil},
		{[]string{"console=ttyS0"}, &serial{0, 9600}},
		{[]string{"console=ttyS1,115200n8"}, &serial{1, 115200}},
		{[]string{"console=ttyS1,115200n8r"}, &serial{1, 115200}},
		{[]string{"console=ttyS0,115200 console=tty0"}, &serial{0, 115200}},
		{[]string{"console=ttyS0", "quiet", "console=ttyS2,57600"}, &serial{2, 57600}},
		{[]string{"console=ttyS0,fast"}, nil},
		{[]string{"console=ttyS9,115200"}, nil}, // loaders know four ports
		{[]string{"console=ttyAMA0,115200"}, nil},
		{[]string{"xconsole=ttyS0"}, nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, serialOf(tt.args)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.args, diff)
		}
		n := master(t)
		n.Boot.Args = tt.args
		for _, o := range []Options{{}, {Disk: true}} {
			if text := PXELINUX(n, o); bytes.HasPrefix(text, []byte("SERIAL ")) != (tt.want != nil) {
				t.Errorf("%q: PXELINUX wants SERIAL in its first line:\n%s", tt.args, text)
			}
		}
	}
}

func TestQuoted(t *testing.T) {
	tests := []struct{ name, arg, want string }{
		{"plain", "coreos.inst.install_dev=/dev/vda", "coreos.inst.install_dev=/dev/vda"},
		{"URL with token", "u=http://h:80/a.ign?token=b", "u=http://h:80/a.ign?token=b"},
		{"two in one", "a b", "a b"},
		{"spaces in quotes", `a="b c"`, "'a=b c'"},
		{"variable", "a=$b", "'a=$b'"},
		{"end of command", "a;b", "'a;b'"},
		{"single quote", "a'b", `'a'\''b'`},
		{"IPv6", "ip=[fd00::1]:x", "'ip=[fd00::1]:x'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := quoted([]string{tt.arg}); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
