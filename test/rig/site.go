package rig

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
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

	// What the configuration says.
	Address  string    // the helper's
	Address6 string    // likewise; empty: none
	Networks []Network // of IPv4
	LAN6     Network   // on the helper's LAN; the zero value: none
	Clusters []Cluster
	Nodes    []Node // of all clusters
}

// Cluster of the configuration.
type Cluster struct {
	Name     string `yaml:"name"`
	Domain   string `yaml:"domain"`
	Address  string `yaml:"address"`  // of its balancer; the helper's if the file has none
	Ignition string `yaml:"ignition"` // folder
	Nodes    []Node `yaml:"nodes"`
}

// Zone of the cluster's names.
func (c *Cluster) Zone() string { return c.Name + "." + c.Domain }

// Node is a node of the configuration.
type Node struct {
	Name string `yaml:"name"`
	Role string `yaml:"role"`
	MAC  string `yaml:"mac"`
	IP   string `yaml:"ip"`
	IP6  string `yaml:"ip6"`

	Zone    string // of its cluster
	Network *Network
}

// FQDN is the node's name in its cluster's zone.
func (n *Node) FQDN() string { return n.Name + "." + n.Zone }

// IgnitionFile is the path of the file that a role has in the cluster.
func (c *Cluster) IgnitionFile(role string) string { return filepath.Join(c.Ignition, role+".ign") }

// source of an artifact: a file, in the examples below /srv.
type source struct {
	File string `yaml:"file"`
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
	for _, sub := range []string{"srv/export/registry", "state", "run"} {
		must(t, os.MkdirAll(filepath.Join(dir, sub), 0o755))
		must(t, os.Chown(filepath.Join(dir, sub), uid, uid))
	}
	name := opt.Example
	if name == "" {
		name = "ocp4.yaml"
	}
	b, err := os.ReadFile(filepath.Join(root(t), "examples", name))
	must(t, err)
	text := string(b)
	if opt.Edit != nil {
		text = opt.Edit(text)
	}
	text = strings.ReplaceAll(text, "/srv/", s.Dir+"/srv/")
	s.populate(t, text, opt)
	if opt.KernelArgs != nil {
		text = s.withKernelArgs(t, text, opt.KernelArgs)
	}
	must(t, os.WriteFile(s.Config, []byte(text), 0o644))
	return s
}

// populate takes from the configuration what tests ask for, and writes the
// artifacts and ignition files that it names.
func (s *Site) populate(t testing.TB, text string, opt Options) {
	t.Helper()
	var doc struct {
		Helper struct {
			Address  string `yaml:"address"`
			Address6 string `yaml:"address6"`
		} `yaml:"helper"`
		Networks  []Network `yaml:"networks"`
		Artifacts []struct {
			Kernel    source `yaml:"kernel"`
			Initramfs source `yaml:"initramfs"`
			Rootfs    source `yaml:"rootfs"`
			Metal     source `yaml:"metal"`
		} `yaml:"artifacts"`
		Clusters []Cluster `yaml:"clusters"`
	}
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("read the adapted example: %v", err)
	}
	s.Address, s.Address6, s.Clusters = doc.Helper.Address, doc.Helper.Address6, doc.Clusters
	for _, n := range doc.Networks {
		switch {
		case !strings.Contains(n.CIDR, ":"):
			s.Networks = append(s.Networks, n)
		case n.holds(s.Address6):
			s.LAN6 = n
		}
	}
	for i := range s.Networks {
		s.Networks[i].bridge = "lan" + strconv.Itoa(i)
	}
	for i := range s.Clusters {
		c := &s.Clusters[i]
		if c.Address == "" {
			c.Address = s.Address
		}
		for j := range c.Nodes {
			n := &c.Nodes[j]
			n.Zone, n.Network = c.Zone(), s.network(n.IP)
		}
		s.Nodes = append(s.Nodes, c.Nodes...)
		writeIgnition(t, c)
	}
	for _, a := range doc.Artifacts {
		for i, f := range []struct{ to, from string }{
			{a.Kernel.File, opt.Kernel},
			{a.Initramfs.File, opt.Initramfs},
			{a.Rootfs.File, opt.Rootfs},
			{a.Metal.File, opt.Metal},
		} {
			switch {
			case f.to == "":
			case f.from == "":
				must(t, os.MkdirAll(filepath.Dir(f.to), 0o755))
				must(t, os.WriteFile(f.to, noise(uint64(i), (1<<20)<<i+i), 0o644))
			default:
				must(t, os.MkdirAll(filepath.Dir(f.to), 0o755))
				must(t, copyFile(f.to, f.from))
			}
		}
	}
}

// installDisk is the line of a cluster that kernel arguments are put behind.
var installDisk = regexp.MustCompile(`(?m)^    install_disk: .*\n`)

// withKernelArgs adds what give says to every cluster of the text.
func (s *Site) withKernelArgs(t testing.TB, text string, give func(*Site, Cluster) []string) string {
	t.Helper()
	if n := len(installDisk.FindAllString(text, -1)); n != len(s.Clusters) {
		t.Fatalf("the example has %d clusters and %d lines of them with install_disk: the rig cannot add kernel arguments", len(s.Clusters), n)
	}
	next := 0
	return installDisk.ReplaceAllStringFunc(text, func(line string) string {
		var quoted []string
		for _, arg := range give(s, s.Clusters[next]) {
			quoted = append(quoted, strconv.Quote(arg))
		}
		next++
		return line + "    kernel_args: [" + strings.Join(quoted, ", ") + "]\n"
	})
}

// Artifact is the path of a file of the live installer, such as rhcos-live-rootfs.x86_64.img.
func (s *Site) Artifact(name string) string { return filepath.Join(s.Dir, "srv/rhcos", name) }

// Ignition is the path of a role's ignition file in the first cluster.
func (s *Site) Ignition(role string) string { return s.Clusters[0].IgnitionFile(role) }

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

// URL of a path on the web server of examples/ocp4.yaml.
func URL(path string) string { return "http://" + HelperIP + ":8080" + path }

// BootScript is the URL of a node's iPXE script.
func (s *Site) BootScript(n Node) string {
	return "http://" + s.Address + ":8080/boot/" + strings.ReplaceAll(n.MAC, ":", "-") + ".ipxe"
}
