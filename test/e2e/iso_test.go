package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"helperd/api"
	"helperd/internal/liveiso"
	"helperd/internal/netns"
	"helperd/test/rig"
	"helperd/timeline"
)

// TestBootISO attaches a node's ISO to a machine that has no network, as the
// virtual drive of a management controller does: kernel arguments and ignition
// file must reach the live system, by the BIOS's boot loader and by UEFI's.
func TestBootISO(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "xorriso", "osirrox", "mformat", "grub-mkimage", "curl", "qemu-system-x86_64")
	base := liveiso.Build(t, liveiso.Options{
		Features: `{"installer-config": true}`, Kernel: filepath.Join(kernelDir(t, "x86_64"), "vmlinuz"), Initramfs: isoGuest(t),
		EFI: map[string][]byte{"EFI/BOOT/BOOTX64.EFI": isoGRUB(t)},
	})
	r := rig.New(t, rig.Options{
		KernelArgs: func(*rig.Site, rig.Cluster) []string { return []string{"console=ttyS0,115200"} },
		Edit: func(text string) string {
			const anchor = "artifacts:\n  - name: rhcos\n"
			if strings.Count(text, anchor) != 1 {
				t.Fatalf("the example has not one %q", anchor)
			}
			return strings.Replace(text, anchor, anchor+"    iso:       {file: "+readable(t, base)+"}\n", 1)
		},
	})
	r.Start(t)
	node := r.Machine(t, "worker-0")

	cmd := exec.Command(filepath.Join(r.Dir, "helperd"), "iso", "worker-0", "--url", "--socket", r.Socket)
	url, err := cmd.Output()
	must(t, err)
	path := filepath.Join(t.TempDir(), "worker-0.iso")
	node.Run(t, "curl", "-sSf", "--max-time", "60", "-o", path, strings.TrimSpace(string(url)))
	if status := node.Run(t, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", rig.URL("/iso/worker-0.iso")); status != "403" {
		t.Errorf("without the token: status %s", status)
	}
	r.AwaitEvent(t, "the whole ISO", 5*time.Second, func(e *timeline.Event) bool {
		return e.Kind == timeline.ISOGet && e.Node == "worker-0."+rig.Zone && e.Bytes == e.Total && e.Total > 0
	})
	rows, err := api.NewClient(r.Socket).Nodes(t.Context())
	must(t, err)
	for _, n := range rows {
		if n.Name == "worker-0" && (n.Story.Stage != timeline.Rootfs || n.Boot.Phase != "armed") {
			t.Errorf("after its ISO was fetched worker-0 is %s, at stage %s", n.Boot.Phase, n.Story.Stage)
		}
	}
	if b, _ := os.ReadFile(path); len(b) > 0 {
		must(t, os.WriteFile(path+".again", nil, 0o600))
		run(t, exec.Command(filepath.Join(r.Dir, "helperd"), "iso", "worker-0", "-o", path+".again", "--socket", r.Socket))
		if again, err := os.ReadFile(path + ".again"); err != nil || string(again) != string(b) {
			t.Errorf("`helperd iso` writes another ISO than the web server sends: %v", err)
		}
	}

	want := liveiso.Args + " coreos.inst.install_dev=/dev/vda ip=dhcp rd.neednet=1 console=ttyS0,115200"
	for _, fw := range []string{"BIOS", "UEFI"} {
		t.Run(fw, func(t *testing.T) {
			console := bootISO(t, path, fw)
			facts := console.facts("live")
			if !strings.Contains(" "+facts["cmdline"]+" ", " "+want+" ") {
				t.Errorf("the kernel got %q, want %q in it; the end of the console:\n%s", facts["cmdline"], want, console.tail(40))
			}
			if sum := rig.SHA256(t, configOf(t, path)); facts["config"] != sum {
				t.Errorf("config.ign of the live system has the checksum %q, want %q", facts["config"], sum)
			}
		})
	}
}

// readable is a copy that the unprivileged daemon may read.
func readable(t *testing.T, path string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "helperd-iso-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	install(t, filepath.Join(dir, "live.iso"), path, 0o644)
	return filepath.Join(dir, "live.iso")
}

// isoGuest is an initramfs that says on the console what it got.
func isoGuest(t *testing.T) string {
	t.Helper()
	tree := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(tree, "bin"), 0o755))
	install(t, filepath.Join(tree, "init"), "guest/live", 0o755)
	install(t, filepath.Join(tree, "bin/busybox"), busybox(t, kernelDir(t, "x86_64")), 0o755)
	out := filepath.Join(t.TempDir(), "initramfs")
	pack := exec.Command("sh", "-c", `find . | cpio --quiet -o -H newc | gzip -1 >"$0"`, out)
	pack.Dir = tree
	run(t, pack)
	return out
}

// isoGRUB is a GRUB for UEFI that goes on, as that of CoreOS, with the configuration on the ISO.
func isoGRUB(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	config, out := filepath.Join(dir, "early.cfg"), filepath.Join(dir, "grub.efi")
	must(t, os.WriteFile(config, []byte("search --no-floppy --set=root --file /coreos/kargs.json\nset prefix=($root)/EFI/redhat\nconfigfile $prefix/grub.cfg\n"), 0o644))
	run(t, exec.Command("grub-mkimage", "-O", "x86_64-efi", "-p", "/EFI/redhat", "-c", config, "-o", out,
		"iso9660", "fat", "part_gpt", "part_msdos", "search", "search_fs_file", "configfile", "normal", "linux", "echo", "test", "minicmd"))
	b, err := os.ReadFile(out)
	must(t, err)
	return b
}

// configOf is the file config.ign that gunzip and cpio find in the ignition area of an ISO.
func configOf(t *testing.T, iso string) string {
	t.Helper()
	dir := t.TempDir()
	area := filepath.Join(dir, "area")
	must(t, os.WriteFile(area, liveiso.Extract(t, iso, "/images/ignition.img"), 0o600))
	unpack := exec.Command("sh", "-c", `gzip -dcq "$0" | cpio -i --quiet -H newc`, area)
	unpack.Dir = dir
	run(t, unpack)
	return filepath.Join(dir, "config.ign")
}

// bootISO boots a machine without a network card from a CD drive.
func bootISO(t *testing.T, iso, fw string) transcript {
	t.Helper()
	dir := t.TempDir()
	serial := filepath.Join(dir, "serial")
	must(t, os.WriteFile(serial, nil, 0o644))
	args := []string{
		"-accel", "tcg", "-cpu", "qemu64", "-m", "768", "-nodefaults", "-no-user-config", "-no-reboot",
		"-display", "none", "-vga", "none", "-serial", "file:" + serial,
		"-drive", "if=none,id=cd,media=cdrom,readonly=on,format=raw,file=" + iso, "-device", "ide-cd,drive=cd,bootindex=1",
	}
	switch fw {
	case "BIOS":
		args = append(args, "-machine", "pc,graphics=off")
	case "UEFI":
		vars := filepath.Join(dir, "vars")
		install(t, vars, first(t, "OVMF's variables", "/usr/share/OVMF/OVMF_VARS_4M.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"), 0o644)
		code := first(t, "OVMF", "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/edk2/ovmf/OVMF_CODE.fd")
		args = append(args, "-machine", "q35", "-drive", "if=pflash,format=raw,readonly=on,file="+code, "-drive", "if=pflash,format=raw,file="+vars)
	}
	cmd := exec.Command("qemu-system-x86_64", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &complaint, &complaint
	must(t, cmd.Start())
	exit := make(chan error, 1)
	go func() { exit <- cmd.Wait() }()
	select {
	case err := <-exit:
		if err != nil {
			t.Fatalf("qemu: %v\n%s", err, complaint.String())
		}
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-exit
	}
	return read(t, serial)
}
