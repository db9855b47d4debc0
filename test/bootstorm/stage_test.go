package bootstorm

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"

	"helperd/boot"
	"helperd/ghost"
	"helperd/internal/netns"
	"helperd/plan"
	"helperd/test/rig"
)

// sizes in bytes of what the machines load.
type sizes struct{ kernel, initramfs, rootfs int }

// stage is one LAN with the files and the machines, and no server yet.
type stage struct {
	*rig.Rig
	mix      mix
	machines []machine
	link     *ghost.Link       // that all machines share
	sums     map[string]string // of what they load, by the last part of its name
}

func newStage(t *testing.T, m mix, count int, z sizes) *stage {
	t.Helper()
	s := &stage{mix: m, machines: machines(count)}
	made := t.TempDir()
	file := func(name string, size int) string {
		path := filepath.Join(made, name)
		write(t, path, noise(name, size))
		return path
	}
	s.Rig = rig.New(t, rig.Options{
		Kernel: file("kernel", z.kernel), Initramfs: file("initramfs", z.initramfs), Rootfs: file("rootfs", z.rootfs), Buffers: true,
	})
	s.Rewrite(t, func(string) string { return configuration(m, s.machines, s.Dir) })
	folder := filepath.Join(s.Dir, loaderFolder)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for l, size := range vendorLoaders {
		write(t, filepath.Join(folder, string(l)), noise(string(l), size))
	}
	s.sum(t)
	s.Router.Do(t, func() {
		var err error
		if s.link, err = ghost.Plug(rig.Bridge, net.HardwareAddr{0x52, 0x54, 0, 0x99, 0, 1}); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(s.link.Close)
	return s
}

// sum learns the checksums of all that the machines load.
func (s *stage) sum(t *testing.T) {
	t.Helper()
	s.sums = map[string]string{
		"kernel": rig.SHA256(t, s.Artifact(kernelFile)), "initramfs": rig.SHA256(t, s.Artifact(initramfsFile)), "rootfs": rig.SHA256(t, s.Artifact(rootfsFile)),
	}
	for _, role := range []string{"bootstrap", "master", "worker"} {
		s.sums[role+".ign"] = rig.SHA256(t, s.Ignition(role))
	}
	for l := range vendorLoaders {
		s.sums[string(l)] = rig.SHA256(t, filepath.Join(s.Dir, loaderFolder, string(l)))
	}
	for l, path := range s.loaders(t) {
		s.sums[string(l)] = rig.SHA256(t, path)
	}
}

// loaders are this machine's iPXE.
func (s *stage) loaders(t *testing.T) map[plan.Loader]string {
	t.Helper()
	found := boot.FindLoaders()
	for _, l := range []plan.Loader{plan.Undionly, plan.SNPOnly64} {
		if found[l] == "" {
			netns.SkipOrFail(t, fmt.Sprintf("%s is not installed: see test/packages.sh", l))
		}
	}
	return map[plan.Loader]string{plan.Undionly: found[plan.Undionly], plan.SNPOnly64: found[plan.SNPOnly64]}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// noise is content in which no offset looks like another.
func noise(seed string, n int) []byte {
	var key [32]byte
	copy(key[:], seed)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}
