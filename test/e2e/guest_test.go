package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"helperd/internal/netns"
)

// guest is what the machines of one architecture boot, as files.
type guest struct {
	arch      string // as artifacts have it
	from      string // folder of the kernel
	kernel    string
	initramfs string
	rootfs    string // a disk image
}

// goarch are Go's names of the architectures.
var goarch = map[string]string{"x86_64": "amd64", "aarch64": "arm64"}

// guestFiles builds the guest in a folder of the test.
func guestFiles(t *testing.T, arch string) guest {
	t.Helper()
	netns.Require(t)
	netns.Tools(t, "cpio", "busybox", "mformat", "mcopy", "qemu-system-"+arch)
	from := kernelDir(t, arch)
	dir := t.TempDir()
	g := guest{arch, from, filepath.Join(from, "vmlinuz"), filepath.Join(dir, "initramfs"), filepath.Join(dir, "rootfs")}
	must(t, os.WriteFile(g.rootfs, diskImage(t), 0o644))

	tree := filepath.Join(dir, "tree")
	for _, sub := range []string{"bin", "modules"} {
		must(t, os.MkdirAll(filepath.Join(tree, sub), 0o755))
	}
	install(t, filepath.Join(tree, "init"), "guest/init", 0o755)
	install(t, filepath.Join(tree, "udhcpc.script"), "guest/udhcpc.script", 0o755)
	install(t, filepath.Join(tree, "bin/busybox"), busybox(t, from), 0o755)
	modules, err := filepath.Glob(filepath.Join(from, "*.ko"))
	must(t, err)
	for _, m := range modules {
		install(t, filepath.Join(tree, "modules", filepath.Base(m)), m, 0o644)
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(tree, "node"), "./guest/node")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+goarch[arch])
	run(t, build)
	pack := exec.Command("sh", "-c", `find . | cpio --quiet -o -H newc | gzip -1 >"$0"`, g.initramfs)
	pack.Dir = tree
	run(t, pack)
	return g
}

// kernelDir is a folder with vmlinuz, the modules of its virtual devices, and
// for another architecture than this machine's also busybox and boot loaders.
func kernelDir(t *testing.T, arch string) string {
	t.Helper()
	dirs := []string{os.Getenv("E2E_KERNEL"), "../../.cache/e2e/kernel"}
	if arch != "x86_64" {
		dirs = []string{"../../.cache/e2e/" + arch}
	}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "vmlinuz")); dir != "" && err == nil {
			return dir
		}
	}
	netns.SkipOrFail(t, "no kernel for "+arch+" machines: run test/packages.sh matrix as root")
	return ""
}

// busybox is one that needs no libraries: the folder's, or this machine's.
func busybox(t *testing.T, dir string) string {
	t.Helper()
	if path := filepath.Join(dir, "busybox"); exists(path) {
		return path
	}
	path, err := exec.LookPath("busybox")
	must(t, err)
	if out, err := exec.Command("ldd", path).CombinedOutput(); err == nil && !strings.Contains(string(out), "statically") {
		netns.SkipOrFail(t, path+" is not static: see test/packages.sh")
	}
	return path
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// first is the first file that one of the patterns of filepath.Match means.
func first(t *testing.T, what string, patterns ...string) string {
	t.Helper()
	for _, p := range patterns {
		if files, err := filepath.Glob(p); err == nil && len(files) > 0 {
			return files[0]
		}
	}
	netns.SkipOrFail(t, what+" is not installed: see test/packages.sh")
	return ""
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
