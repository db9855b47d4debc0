package boot

import (
	"bytes"
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
		{"pxelinux.cfg/default", "", ""},
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
			f, ok := r.Resolve(tt.path)
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
		})
	}
}

// What DHCP sends iPXE to must be there.
func TestScriptURL(t *testing.T) {
	n := master(t)
	r := Files(small(t))
	for _, m := range n.MACs {
		url := plan.ScriptURL(n.Boot.BaseURL, m)
		f, ok := r.Resolve(url[len(n.Boot.BaseURL):])
		if !ok || f.Kind != KindIPXE || f.Node.FQDN != n.FQDN {
			t.Errorf("%s resolves to %v (%t)", url, f, ok)
		}
	}
}

func TestNothingToBoot(t *testing.T) {
	if f, ok := Files(&plan.Plan{}).Resolve("grub.cfg"); ok {
		t.Errorf("a plan without nodes has %v", f)
	}
}

func FuzzResolve(f *testing.F) {
	for _, s := range []string{
		"pxelinux.cfg/01-52-54-00-e7-9d-67", "pxelinux.cfg/C0A8430B", "/grub/grub.cfg-01-52:54:00:e7:9d:67",
		"grub.cfg", "boot/ipxe", "boot/52-54-00-00-00-aa.ipxe", `..\grub.cfg-`, "boot/\xff.ipxe", "pxelinux.cfg/",
	} {
		f.Add(s)
	}
	p := small(f)
	r := Files(p)
	f.Fuzz(func(t *testing.T, path string) {
		file, ok := r.Resolve(path)
		if !ok {
			if file.Kind != "" || file.Node != nil {
				t.Fatalf("%q is not found and yet %v", path, file)
			}
			return
		}
		dispatch := file.Kind == KindIPXEDispatch || file.Kind == KindGRUBDispatch
		if dispatch != (file.Node == nil) || !dispatch && file.Node.Boot == nil {
			t.Fatalf("%q gives kind %q with node %v", path, file.Kind, file.Node)
		}
		if out := file.Render(Options{}); bytes.Contains(out, []byte("<no value>")) || len(out) == 0 {
			t.Fatalf("%q renders %q", path, out)
		}
	})
}
