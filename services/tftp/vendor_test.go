package tftp

import (
	"bytes"
	"strings"
	"testing"

	"helperd/internal/liveiso"
	"helperd/plan"
	"helperd/services/tftp/packet"
	"helperd/timeline"
)

// Shim and GRUB of a live ISO are sent out of it.
func TestVendorISO(t *testing.T) {
	shim, grub := bytes.Repeat([]byte("shim"), 30_000), bytes.Repeat([]byte("grub"), 100_000)
	iso := liveiso.Build(t, liveiso.Options{EFI: map[string][]byte{"EFI/BOOT/BOOTX64.EFI": shim, "EFI/redhat/grubx64.efi": grub}})
	file := func(l plan.Loader) plan.File {
		return plan.File{Path: "/artifacts/rhcos/loader/" + string(l), File: iso, Inside: l}
	}
	g := newRig(t, func(p *plan.Plan) {
		p.TFTP.Files = []plan.File{file(plan.Shim64), file(plan.GRUB64), file(plan.ShimAA64)}
	})
	for l, want := range map[plan.Loader][]byte{plan.Shim64: shim, plan.GRUB64: grub} {
		if got := g.get(t, strings.TrimPrefix(file(l).Path, "/")); !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, want %d", l, len(got), len(want))
		}
		g.seen(t, timeline.TFTPGet, file(l).Path)
	}
	w := g.dial(t)
	w.ask(packet.OpRead, file(plan.ShimAA64).Path, "octet")
	if text := w.refusal(packet.CodeNotFound); !strings.Contains(text, "no shimaa64.efi on the ISO") || strings.Contains(text, iso) {
		t.Errorf("one that is not there: %q", text)
	}
	if p := g.Status().Problem; !strings.Contains(p, "no shimaa64.efi on the ISO") || strings.Contains(p, "no shimx64.efi") {
		t.Errorf("status says %q", p)
	}
}
