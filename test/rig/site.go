package rig

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// uid of the daemon: "nobody" on every distribution.
const uid = 65534

// A Site is the folder of one rig: configuration, artifacts, ignition, state.
type Site struct {
	Dir    string // all is below it
	Config string // path of helper.yaml
	State  string // folder for the daemon's state
	Socket string // path of the admin socket
	Nodes  []Node // of the configuration
}

// Node is a node of the configuration.
type Node struct {
	Name string `yaml:"name"`
	Role string `yaml:"role"`
	MAC  string `yaml:"mac"`
	IP   string `yaml:"ip"`
}

func newSite(t testing.TB, opt Options) Site {
	t.Helper()
	dir := tempDir(t)
	s := Site{
		Dir:    dir,
		Config: filepath.Join(dir, "helper.yaml"),
		State:  filepath.Join(dir, "state"),
		Socket: filepath.Join(dir, "run", "helperd.sock"),
	}
	for _, sub := range []string{"srv/rhcos", "srv/ignition/ocp4", "srv/export/registry", "state", "run"} {
		must(t, os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	for _, sub := range []string{"srv/ignition", "srv/ignition/ocp4", "srv/export/registry", "state", "run"} {
		must(t, os.Chown(filepath.Join(dir, sub), uid, uid))
	}
	for i, f := range []struct{ from, name string }{
		{opt.Kernel, "rhcos-live-kernel-x86_64"},
		{opt.Initramfs, "rhcos-live-initramfs.x86_64.img"},
		{opt.Rootfs, "rhcos-live-rootfs.x86_64.img"},
	} {
		to := s.Artifact(f.name)
		if f.from == "" {
			must(t, os.WriteFile(to, noise(uint64(i), (1<<20)<<i+i), 0o644))
		} else {
			must(t, copyFile(to, f.from))
		}
	}
	writeIgnition(t, &s)

	text := example(t, &s, opt)
	must(t, os.WriteFile(s.Config, []byte(text), 0o644))
	return s
}

// example is examples/ocp4.yaml with its folders below the site's.
func example(t testing.TB, s *Site, opt Options) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root(t), "examples", "ocp4.yaml"))
	must(t, err)
	text := strings.ReplaceAll(string(b), "/srv/", s.Dir+"/srv/")
	s.readNodes(t, text)
	if opt.KernelArgs != nil {
		const anchor = "    install_disk: /dev/vda\n"
		if strings.Count(text, anchor) != 1 {
			t.Fatalf("examples/ocp4.yaml has not one line %q: the rig cannot add kernel arguments", anchor)
		}
		args := opt.KernelArgs(s)
		for i, arg := range args {
			args[i] = strconv.Quote(arg)
		}
		text = strings.Replace(text, anchor, anchor+"    kernel_args: ["+strings.Join(args, ", ")+"]\n", 1)
	}
	if opt.Edit != nil {
		text = opt.Edit(text)
		s.readNodes(t, text)
	}
	return text
}

// readNodes takes the nodes from the configuration.
func (s *Site) readNodes(t testing.TB, text string) {
	t.Helper()
	var doc struct {
		Clusters []struct {
			Nodes []Node `yaml:"nodes"`
		} `yaml:"clusters"`
	}
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("read the adapted example: %v", err)
	}
	s.Nodes = nil
	for _, c := range doc.Clusters {
		s.Nodes = append(s.Nodes, c.Nodes...)
	}
}

// Artifact is the path of a file of the live installer, such as rhcos-live-rootfs.x86_64.img.
func (s *Site) Artifact(name string) string { return filepath.Join(s.Dir, "srv/rhcos", name) }

// Ignition is the path of a role's ignition file.
func (s *Site) Ignition(role string) string {
	return filepath.Join(s.Dir, "srv/ignition/ocp4", role+".ign")
}

// Node finds a node of the configuration by its short name.
func (s *Site) Node(t testing.TB, name string) Node {
	t.Helper()
	for _, n := range s.Nodes {
		if n.Name == name {
			return n
		}
	}
	t.Fatalf("no node %q in the configuration", name)
	return Node{}
}

// Rewrite changes the configuration file as an editor does: a new file takes the place of the old one.
func (s *Site) Rewrite(t testing.TB, edit func(text string) string) {
	t.Helper()
	b, err := os.ReadFile(s.Config)
	must(t, err)
	must(t, os.WriteFile(s.Config+".new", []byte(edit(string(b))), 0o644))
	must(t, os.Rename(s.Config+".new", s.Config))
}

// SHA256 is the checksum of a file in hex.
func SHA256(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	must(t, err)
	return hex.EncodeToString(h.Sum(nil))
}

// noise is content that no compression, offset or repetition hides an error in.
func noise(seed uint64, n int) []byte {
	var key [32]byte
	key[0] = byte(seed)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

func copyFile(to, from string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// URL of a path on the helper's web server.
func URL(path string) string { return "http://" + HelperIP + ":8080" + path }

// BootScript is the URL of a node's iPXE script.
func (s *Site) BootScript(n Node) string {
	return URL("/boot/" + strings.ReplaceAll(n.MAC, ":", "-") + ".ipxe")
}
