package boot

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helperd/internal/liveiso"
	"helperd/plan"
)

// Where vendors have their loaders.
func TestVendorLoader(t *testing.T) {
	shim, grub := bytes.Repeat([]byte("shim"), 5000), bytes.Repeat([]byte("grub"), 40_000)
	b := func(s string) []byte { return []byte(s) }
	for _, tt := range []struct {
		name             string
		opt              liveiso.Options
		shim, grub       plan.Loader
		wantShim, wantGR []byte
	}{
		{
			"installer of RHEL and Fedora: beside the packages",
			liveiso.Options{Files: map[string][]byte{"EFI/BOOT/BOOTX64.EFI": shim, "EFI/BOOT/grubx64.efi": grub, "EFI/BOOT/mmx64.efi": b("mm")}},
			plan.Shim64, plan.GRUB64, shim, grub,
		},
		{
			"live ISO of CoreOS: in the EFI system partition",
			liveiso.Options{EFI: map[string][]byte{"EFI/BOOT/BOOTX64.EFI": shim, "EFI/redhat/shimx64.efi": shim, "EFI/redhat/grubx64.efi": grub}},
			plan.Shim64, plan.GRUB64, shim, grub,
		},
		{
			"a vendor's folder before the fallback",
			liveiso.Options{EFI: map[string][]byte{"EFI/BOOT/BOOTX64.EFI": b("fallback"), "EFI/fedora/shimx64.efi": shim, "EFI/BOOT/grubx64.efi": b("cd"), "EFI/fedora/grubx64.efi": grub}},
			plan.Shim64, plan.GRUB64, shim, grub,
		},
		{
			"arm64",
			liveiso.Options{EFI: map[string][]byte{"EFI/BOOT/BOOTAA64.EFI": shim, "EFI/redhat/grubaa64.efi": grub}},
			plan.ShimAA64, plan.GRUBAA64, shim, grub,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := liveiso.Build(t, tt.opt)
			var v Vendor
			for range 2 { // read, and remembered
				if got, _, err := v.Loader(path, tt.shim); err != nil || !bytes.Equal(got, tt.wantShim) {
					t.Errorf("%s: %d bytes, %v", tt.shim, len(got), err)
				}
				if got, _, err := v.Loader(path, tt.grub); err != nil || !bytes.Equal(got, tt.wantGR) {
					t.Errorf("%s: %d bytes, %v", tt.grub, len(got), err)
				}
			}
		})
	}
}

func TestVendorMissing(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.iso")
	if err := os.WriteFile(text, bytes.Repeat([]byte("text"), 30_000), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		liveiso.Build(t, liveiso.Options{}):                                                       "there is no shimx64.efi on the ISO",
		liveiso.Build(t, liveiso.Options{EFI: map[string][]byte{"EFI/BOOT/BOOTAA64.EFI": {1}}}):   "there is no shimx64.efi on the ISO",
		liveiso.Build(t, liveiso.Options{Files: map[string][]byte{"images/efiboot.img": {1, 2}}}): "fetch the ISO anew",
		text:                       "not an ISO image",
		dir:                        "not a file",
		filepath.Join(dir, "none"): "served at once",
	} {
		var v Vendor
		_, _, err := v.Loader(name, plan.Shim64)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), dir) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// An ISO that is replaced is read anew.
func TestVendorChanges(t *testing.T) {
	path := liveiso.Build(t, liveiso.Options{})
	var v Vendor
	if _, _, err := v.Loader(path, plan.GRUB64); err == nil {
		t.Fatal("a loader out of nothing")
	}
	if err := os.Rename(liveiso.Build(t, liveiso.Options{Files: map[string][]byte{"EFI/BOOT/grubx64.efi": []byte("new")}}), path); err != nil {
		t.Fatal(err)
	}
	got, changed, err := v.Loader(path, plan.GRUB64)
	if err != nil || string(got) != "new" || time.Since(changed) > time.Hour {
		t.Errorf("%q of %v, %v", got, changed, err)
	}
}
