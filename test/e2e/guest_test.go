package e2e_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"helperd/internal/netns"
)

// bootMark is what the boot sector of an installed disk writes to the serial console.
const bootMark = "E2E disk booted"

// guest is what the machines boot, as files.
type guest struct{ kernel, initramfs, rootfs string }

// guestFiles builds the guest in a folder of the test.
func guestFiles(t *testing.T) guest {
	t.Helper()
	netns.Require(t)
	netns.Tools(t, "cpio", "busybox", "qemu-system-x86_64")
	kernel := kernelDir(t)
	dir := t.TempDir()
	g := guest{filepath.Join(kernel, "vmlinuz"), filepath.Join(dir, "initramfs"), filepath.Join(dir, "rootfs")}
	must(t, os.WriteFile(g.rootfs, rootfs(), 0o644))

	tree := filepath.Join(dir, "tree")
	for _, sub := range []string{"bin", "modules"} {
		must(t, os.MkdirAll(filepath.Join(tree, sub), 0o755))
	}
	install(t, filepath.Join(tree, "init"), "guest/init", 0o755)
	install(t, filepath.Join(tree, "udhcpc.script"), "guest/udhcpc.script", 0o755)
	install(t, filepath.Join(tree, "bin/busybox"), busybox(t), 0o755)
	modules, err := filepath.Glob(filepath.Join(kernel, "*.ko"))
	must(t, err)
	for _, m := range modules {
		install(t, filepath.Join(tree, "modules", filepath.Base(m)), m, 0o644)
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(tree, "node"), "./guest/node")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	run(t, build)
	pack := exec.Command("sh", "-c", `find . | cpio --quiet -o -H newc | gzip -1 >"$0"`, g.initramfs)
	pack.Dir = tree
	run(t, pack)
	return g
}

// kernelDir is a folder with vmlinuz and the modules of its virtual devices.
func kernelDir(t *testing.T) string {
	t.Helper()
	dirs := []string{os.Getenv("E2E_KERNEL"), "../../.cache/e2e/kernel"}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "vmlinuz")); dir != "" && err == nil {
			return dir
		}
	}
	netns.SkipOrFail(t, "no kernel for the machines: run test/packages.sh as root")
	return ""
}

// busybox is a busybox that needs no libraries.
func busybox(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("busybox")
	must(t, err)
	if out, err := exec.Command("ldd", path).CombinedOutput(); err == nil && !strings.Contains(string(out), "statically") {
		netns.SkipOrFail(t, path+" is not static: see test/packages.sh")
	}
	return path
}

// rootfs begins with a boot sector that says bootMark on the serial console
// and halts. The rest is filled with a counter, so that no shifted or
// repeated block keeps the checksum.
func rootfs() []byte {
	b := make([]byte, 16<<20+4321)
	for i := 512; i+8 <= len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], uint64(i)*0x9e3779b97f4a7c15)
	}
	code := []byte{
		0xfa, 0x31, 0xc0, 0x8e, 0xd8, // cli; xor ax,ax; mov ds,ax
		0xbe, 0x28, 0x7c, // mov si,0x7c28: the text
		0xac,       // next: lodsb
		0x84, 0xc0, // test al,al
		0x74, 0x12, // jz done
		0x88, 0xc4, // mov ah,al
		0xba, 0xfd, 0x03, // mov dx,0x3fd: line status of COM1
		0xec,       // wait: in al,dx
		0xa8, 0x20, // test al,0x20: transmitter empty
		0x74, 0xfb, // jz wait
		0x88, 0xe0, // mov al,ah
		0xba, 0xf8, 0x03, // mov dx,0x3f8
		0xee,       // out dx,al
		0xeb, 0xe9, // jmp next
		0xf4,       // done: hlt
		0xeb, 0xfd, // jmp done
	}
	copy(b, code)
	copy(b[0x28:], bootMark+"\r\n\x00")
	b[510], b[511] = 0x55, 0xaa
	return b
}

func install(t *testing.T, to, from string, mode os.FileMode) {
	t.Helper()
	b, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, b, mode))
}

func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
