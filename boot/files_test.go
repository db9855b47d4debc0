package boot

import (
	"bytes"
	"strings"
	"testing"

	"helperd/plan"
)

func TestResolve(t *testing.T) {
	r := Files(small(t))
	const m, a = "master-0.ocp4.example.com", "arm-0.ocp4.example.com"
	tests := []struct {
		path string
		kind Kind // empty: not found
		node string
	}{
		{"pxelinux.cfg/01-52-54-00-e7-9d-67", KindPXELINUX, m},
		{"/pxelinux.cfg/01-52-54-00-E7-9D-67", KindPXELINUX, m},
		{"pxelinux.cfg/01-52-54-00-e7-9d-ab", KindPXELINUX, m},
		{"boot/pxelinux.cfg/01-52-54-00-e7-9d-67", KindPXELINUX, m},
		{"pxelinux.cfg/C0A8430B", KindPXELINUX, m},
		{"pxelinux.cfg/c0a8430c", KindPXELINUX, a},
		{"pxelinux.cfg/C0A8430", "", ""},
		{"pxelinux.cfg/C0A843FF", "", ""},
		{"PXELINUX.CFG/01-52-54-00-E7-9D-67", KindPXELINUX, m},
		{"pxelinux.cfg/default", KindPXELINUXNone, ""},
		{"boot/pxelinux.cfg/DEFAULT", KindPXELINUXNone, ""},
		{"pxelinux.cfg/default/", "", ""},
		{"pxelinux.cfg/b8945908-d6a6-41a9-611d-74a6ab80b83d", "", ""},
		{"pxelinux.cfg/06-52-54-00-e7-9d-67", "", ""},
		{"pxelinux.cfg/52-54-00-e7-9d-67", "", ""},
		{"grub.cfg-01-52-54-00-e7-9d-67", KindGRUB, m},
		{"/grub/grub.cfg-01-52-54-00-e7-9d-67", KindGRUB, m},
		{"/grub2/powerpc-ieee1275/grub.cfg-01-52-54-00-e7-9d-67", KindGRUB, m},
		{"EFI/redhat/grub.cfg-C0A8430C", KindGRUB, a},
		{`\EFI\redhat\grub.cfg-C0A8430C`, KindGRUB, a},
		{"/boot/grub.cfg-01-52:54:00:e7:9d:67", KindGRUB, m},
		{"//grub//grub.cfg-01-52-54-00-00-00-AA", KindGRUB, a},
		{"grub.cfg-01-52-54-00-00-00-bb", "", ""}, // boots nothing
		{"grub.cfg-01-52-54-00-00-00-cc", "", ""},
		{"grub.cfg-01-5254.00e7.9d67", "", ""},
		{"grub.cfg-", "", ""},
		{"grub/grub.cfg", KindGRUBDispatch, ""},
		{"GRUB.CFG", KindGRUBDispatch, ""},
		{"boot/52-54-00-e7-9d-67.ipxe", KindIPXE, m},
		{"/boot/52:54:00:E7:9D:67.ipxe", KindIPXE, m},
		{"boot/ipxe", KindIPXEDispatch, ""},
		{"52-54-00-e7-9d-67.ipxe", "", ""},
		{"Boot/52-54-00-E7-9D-67.IPXE", KindIPXE, m},
		{"boot/iPXE", KindIPXEDispatch, ""},
		// Vendors' GRUB, loaded by its shim, asks below its own folder.
		{"artifacts/rhcos/loader/grub.cfg-01-52-54-00-e7-9d-67", KindGRUB, m},
		{"/artifacts/rhcos/loader/grub.cfg", KindGRUBDispatch, ""},
		{"/EFI/fedora/grub.cfg", KindGRUBDispatch, ""},
		{"/boot/grub2/grub.cfg-01-52-54-00-E7-9D-67", KindGRUB, m},
		{"/grub/x86_64-efi/grub.cfg", KindGRUBDispatch, ""},
		{"other/52-54-00-e7-9d-67.ipxe", "", ""},
		{"boot/.ipxe", "", ""},
		{"boot/snponly.efi", "", ""},
		{"artifacts/rhcos/kernel", "", ""},
		{"../grub.cfg", "", ""},
		{"a/../pxelinux.cfg/C0A8430B", "", ""},
		{`..\..\grub.cfg-C0A8430B`, "", ""},
		{"pxelinux.cfg/01-52-54-00-e7-9d-67/", "", ""},
		{"pxelinux.cfg/01-52-54-00-e7-9d-67\x00", "", ""},
		{"", "", ""},
		{"/", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			f, ok := r.Resolve(tt.path, nil)
			name := ""
			if f.Node != nil {
				name = f.Node.FQDN
			}
			if ok != (tt.kind != "") || f.Kind != tt.kind || name != tt.node {
				t.Fatalf("got %q of %q (%t), want %q of %q", f.Kind, name, ok, tt.kind, tt.node)
			}
			if ok && len(f.Render(Options{Token: "T"})) == 0 {
				t.Error("the file is empty")
			}
			if shared := ok && f.Node == nil; f.Shared != shared {
				t.Errorf("shared %t, want %t", f.Shared, shared)
			}
		})
	}
}

// Names that say nothing of the machine mean the node that our DHCP gave the
// asking address to; others mean whom they say.
func TestResolveForHolder(t *testing.T) {
	p := small(t)
	r := Files(p)
	arm, idle := p.NodeByName("arm-0"), p.NodeByName("idle")
	const m, a, uuid = "master-0.ocp4.example.com", "arm-0.ocp4.example.com", "b8945908-d6a6-41a9-611d-74a6ab80b83d"
	tests := []struct {
		path   string
		holder *plan.Node
		kind   Kind // empty: not found
		node   string
		shared bool
	}{
		{"pxelinux.cfg/" + uuid, arm, KindPXELINUX, a, false},
		{"PXELINUX.CFG/" + strings.ToUpper(uuid), arm, KindPXELINUX, a, false},
		{"grub/grub.cfg-" + uuid, arm, KindGRUB, a, false},
		{"pxelinux.cfg/default", arm, KindPXELINUX, a, true},
		{"grub.cfg", arm, KindGRUB, a, true},
		{"EFI/redhat/grub.cfg", arm, KindGRUB, a, true},
		{"pxelinux.cfg/01-52-54-00-e7-9d-67", arm, KindPXELINUX, m, false},
		{"grub.cfg-C0A8430B", arm, KindGRUB, m, false},
		{"boot/52-54-00-e7-9d-67.ipxe", arm, KindIPXE, m, false},
		{"boot/ipxe", arm, KindIPXEDispatch, "", true},
		{"pxelinux.cfg/" + uuid[1:], arm, "", "", false},
		{"pxelinux.cfg/" + strings.Replace(uuid, "-", "0", 1), arm, "", "", false},
		{"pxelinux.cfg/C0A843", arm, "", "", false},
		{"pxelinux.cfg/" + uuid, idle, "", "", false}, // boots nothing
		{"pxelinux.cfg/default", idle, KindPXELINUXNone, "", true},
		{"grub.cfg", idle, KindGRUBDispatch, "", true},
	}
	for _, tt := range tests {
		f, ok := r.Resolve(tt.path, tt.holder)
		name := ""
		if f.Node != nil {
			name = f.Node.FQDN
		}
		if ok != (tt.kind != "") || f.Kind != tt.kind || name != tt.node || f.Shared != tt.shared {
			t.Errorf("%s: got %q of %q (%t, shared %t), want %q of %q (shared %t)", tt.path, f.Kind, name, ok, f.Shared, tt.kind, tt.node, tt.shared)
		}
	}
}

// A machine that asks by its MAC and boots nothing is told why, as are the people.
func TestRefused(t *testing.T) {
	r := Files(small(t))
	for path, want := range map[string]string{
		"pxelinux.cfg/01-52-54-00-00-00-cc":   "no node has MAC 52:54:00:00:00:cc",
		"/grub/grub.cfg-01-52:54:00:00:00:CC": "no node has MAC 52:54:00:00:00:cc",
		"boot/52-54-00-00-00-cc.ipxe":         "no node has MAC 52:54:00:00:00:cc",
		"boot/52-54-00-00-00-bb.ipxe":         "node idle boots nothing from here",
		"pxelinux.cfg/C0A843FF":               "",
		"pxelinux.cfg/C0A8":                   "",
		"grub.cfg-nonsense":                   "",
		"boot/snponly.efi":                    "",
	} {
		f, ok := r.Resolve(path, nil)
		if ok || (f.Refused == "") != (want == "") || !strings.Contains(f.Refused, want) || f.MAC.IsZero() != (want == "") {
			t.Errorf("%s: found %t, MAC %s, %q; want %q in it", path, ok, f.MAC, f.Refused, want)
		}
	}
	if f, ok := r.Resolve("pxelinux.cfg/default", nil); !ok || f.Refused == "" {
		t.Errorf("default: found %t, %q: nobody would be told", ok, f.Refused)
	}
}

// What DHCP sends iPXE to must be there.
func TestScriptURL(t *testing.T) {
	n := master(t)
	r := Files(small(t))
	for _, m := range n.MACs {
		url := plan.ScriptURL(n.Boot.BaseURL, m)
		f, ok := r.Resolve(url[len(n.Boot.BaseURL):], nil)
		if !ok || f.Kind != KindIPXE || f.Node.FQDN != n.FQDN {
			t.Errorf("%s resolves to %v (%t)", url, f, ok)
		}
	}
}

func TestIsProbe(t *testing.T) {
	for path, want := range map[string]bool{
		"revocations_sku.efi": true, "/boot/shim_certificate_0.efi": true, "/grub/x86_64-efi/command.lst": true, "boot/autoexec.ipxe": true,
		"pxelinux.cfg/b8945908-d6a6-41a9-611d-74a6ab80b83d": true, "pxelinux.cfg/C0A8430B": true, "/grub/grub.cfg-C0A8": true,
		"pxelinux.cfg/01-52-54-00-e7-9d-67": false, "pxelinux.cfg/default": false, "grub.cfg": false, "boot/52-54-00-e7-9d-67.ipxe": false,
		"artifacts/rhcos/kernel": false, "snponly.efi": false,
	} {
		if IsProbe(path) != want {
			t.Errorf("%s: %t, want %t", path, !want, want)
		}
	}
}

func TestNothingToBoot(t *testing.T) {
	if f, ok := Files(&plan.Plan{}).Resolve("grub.cfg", nil); ok {
		t.Errorf("a plan without nodes has %v", f)
	}
}

func FuzzResolve(f *testing.F) {
	for _, s := range []string{
		"pxelinux.cfg/01-52-54-00-e7-9d-67", "pxelinux.cfg/C0A8430B", "/grub/grub.cfg-01-52:54:00:e7:9d:67",
		"grub.cfg", "boot/ipxe", "boot/52-54-00-00-00-aa.ipxe", `..\grub.cfg-`, "boot/\xff.ipxe", "pxelinux.cfg/",
		"pxelinux.cfg/default", "grub.cfg-b8945908-d6a6-41a9-611d-74a6ab80b83d", "boot/52-54-00-00-00-cc.ipxe", "\u212aernel/grub.cfg",
	} {
		f.Add(s, true, true)
	}
	p := small(f)
	r := Files(p)
	f.Fuzz(func(t *testing.T, path string, held, tftp bool) {
		var holder *plan.Node
		if held {
			holder = p.NodeByName("arm-0")
		}
		file, ok := r.Resolve(path, holder)
		if !ok {
			if file.Kind != "" || file.Node != nil || file.Shared || (file.Refused == "") != file.MAC.IsZero() {
				t.Fatalf("%q is not found and yet %v", path, file)
			}
			return
		}
		if file.Node == nil && !file.Shared || file.Node != nil && file.Node.Boot == nil {
			t.Fatalf("%q gives kind %q with node %v", path, file.Kind, file.Node)
		}
		out := file.Render(Options{TFTP: tftp})
		if bytes.Contains(out, []byte("<no value>")) || len(out) == 0 {
			t.Fatalf("%q renders %q", path, out)
		}
		if file.Kind == KindPXELINUX && tftp == bytes.Contains(out, []byte("KERNEL http://")) {
			t.Fatalf("%q by TFTP %t renders %q", path, tftp, out)
		}
	})
}
