package demo

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"helperd/boot"
	"helperd/config"
	"helperd/examples"
	"helperd/plan"
)

// Sizes of the files that nodes boot. A real kernel is as large; a real
// initramfs and rootfs are five and thirty times larger.
const (
	kernelSize    = 4 << 20
	initramfsSize = 8 << 20
	rootfsSize    = 24 << 20
	loaderSize    = 256 << 10
)

// site is the demonstration's folder.
type site struct {
	dir  string
	text string // of the configuration
	cfg  *config.Config
}

func (s *site) configPath() string { return filepath.Join(s.dir, "helper.yaml") }
func (s *site) socketPath() string { return filepath.Join(s.dir, "helperd.sock") }
func (s *site) logPath() string    { return filepath.Join(s.dir, "helperd.log") }

// newSite makes the files that the example names, below dir in place of /.
// Where the machine has no iPXE, files of the same names stand in for it: no
// ghost runs them.
func newSite(dir string, standIns bool) (*site, error) {
	s := &site{dir: dir, text: strings.ReplaceAll(string(examples.OCP4()), "/srv/", dir+"/srv/")}
	found := boot.FindLoaders()
	if standIns || found[plan.Undionly] == "" || found[plan.SNPOnly64] == "" {
		root := filepath.Join(dir, "srv", "tftp")
		s.text += "\ntftp:\n  root: " + root + "\n"
		for _, l := range []plan.Loader{plan.Undionly, plan.SNPOnly64} {
			if err := noise(filepath.Join(root, string(l)), loaderSize); err != nil {
				return nil, err
			}
		}
	}
	cfg, diags := config.Load([]byte(s.text))
	if diags.HasErrors() {
		return nil, fmt.Errorf("the example is not valid: %w", diags)
	}
	s.cfg = cfg
	for _, a := range cfg.Artifacts {
		for file, size := range map[string]int64{a.Kernel.File: kernelSize, a.Initramfs.File: initramfsSize, a.Rootfs.File: rootfsSize} {
			if err := noise(file, size); err != nil {
				return nil, err
			}
		}
	}
	for i := range cfg.Clusters {
		if err := ignitionFiles(&cfg.Clusters[i]); err != nil {
			return nil, err
		}
	}
	for _, e := range cfg.NFS.Exports {
		if err := os.MkdirAll(e.Path, 0o755); err != nil {
			return nil, err
		}
	}
	return s, s.write()
}

// noise makes a file of random bytes: nothing on the way can shrink or guess it.
func noise(path string, size int64) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(f, rand.Reader, size); err != nil {
		_ = f.Close()
		return fmt.Errorf("fill %s: %w", path, err)
	}
	return f.Close()
}

// ignitionFiles makes what openshift-install would: for bootstrap the whole
// configuration, for the others a pointer to the machine config server.
func ignitionFiles(c *config.Cluster) error {
	if err := os.MkdirAll(c.Ignition, 0o755); err != nil {
		return err
	}
	zone := c.Name + "." + c.Domain
	for _, role := range []string{"master", "worker"} {
		text := fmt.Sprintf(`{"ignition":{"config":{"merge":[{"source":"https://api-int.%s:22623/config/%s"}]},"version":"3.2.0"}}`, zone, role)
		if err := os.WriteFile(filepath.Join(c.Ignition, role+".ign"), []byte(text), 0o600); err != nil {
			return err
		}
	}
	bootstrap := fmt.Sprintf(`{"ignition":{"version":"3.2.0"},"storage":{"files":[{"path":"/etc/motd","contents":{"source":"data:,bootstrap%%20of%%20%s"}}]}}`, zone)
	return os.WriteFile(filepath.Join(c.Ignition, "bootstrap.ign"), []byte(bootstrap), 0o600)
}

// write puts the configuration where the daemon reads it, in one step.
func (s *site) write() error {
	return renameio.WriteFile(s.configPath(), []byte(s.text), 0o644)
}

// addWorker puts one more worker into the configuration, as a person with an
// editor would: a line below the last node.
func (s *site) addWorker() (*config.Node, error) {
	cluster := &s.cfg.Clusters[0]
	last := cluster.Nodes[len(cluster.Nodes)-1]
	name, ip := "worker-2", last.IP.Next()
	var lines []string
	for line := range strings.Lines(s.text) {
		lines = append(lines, line)
		if strings.Contains(line, "{name: "+last.Name+",") {
			lines = append(lines, fmt.Sprintf("      - {name: %s, role: worker, mac: \"52:54:00:0d:e0:02\", ip: %s}\n", name, ip))
		}
	}
	text := strings.Join(lines, "")
	cfg, diags := config.Load([]byte(text))
	if diags.HasErrors() {
		return nil, fmt.Errorf("the example with %s is not valid: %w", name, diags)
	}
	s.text, s.cfg = text, cfg
	nodes := cfg.Clusters[0].Nodes
	if nodes[len(nodes)-1].Name != name {
		return nil, fmt.Errorf("the example has changed: %s is not its last node", last.Name)
	}
	return &nodes[len(nodes)-1], s.write()
}
