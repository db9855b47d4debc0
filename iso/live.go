package iso

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

const (
	// destination is where the live system has the ignition file of the system that is installed.
	destination = "/etc/coreos/dest.ign"
	// installerConfig tells the installer (0.12 and later, which is 4.10) about it.
	installerConfig = "/etc/coreos/installer.d/0000-helperd.yaml"
)

// liveConfig is the ignition configuration of the live system. Its version is
// the oldest of specification 3, which every live ISO reads.
func liveConfig(ignition []byte, args []string, installer bool) ([]byte, error) {
	type source struct {
		Compression string `json:"compression,omitempty"`
		Source      string `json:"source"`
	}
	type file struct {
		Path     string `json:"path"`
		Mode     int    `json:"mode"`
		Contents source `json:"contents"`
	}
	var config struct {
		Ignition struct {
			Version string `json:"version"`
		} `json:"ignition"`
		Storage struct {
			Files []file `json:"files"`
		} `json:"storage"`
	}
	config.Ignition.Version = "3.0.0"
	packed, err := compress(ignition)
	if err != nil {
		return nil, err
	}
	add := func(path, compression string, content []byte) {
		config.Storage.Files = append(config.Storage.Files,
			file{path, 0o600, source{compression, "data:;base64," + base64.StdEncoding.EncodeToString(content)}})
	}
	add(destination, "gzip", packed)
	if installer {
		yaml, err := installerYAML(args)
		if err != nil {
			return nil, err
		}
		add(installerConfig, "", yaml)
	}
	return json.Marshal(config)
}

// installerYAML is the installer's configuration. It is JSON, of which YAML is
// a superset. The disk is on the kernel command line, and so are the
// addresses, which the installer hands on to the first boot; consoles it would drop.
func installerYAML(args []string) ([]byte, error) {
	consoles := slices.DeleteFunc(slices.Clone(args), func(a string) bool { return !strings.HasPrefix(a, "console=") })
	return json.Marshal(struct {
		IgnitionFile string   `json:"ignition-file"`
		AppendKarg   []string `json:"append-karg,omitempty"`
	}{destination, consoles})
}

// fileURL is how older installers are told: they fetch with curl, which reads files too.
func fileURL() string { return "coreos.inst.ignition_url=file://" + destination }

// archive is a compressed cpio archive with the one file config.ign. The same
// configuration makes the same bytes: it has no times in it.
func archive(config []byte) ([]byte, error) {
	var b bytes.Buffer
	member := func(inode, mode int, name string, content []byte) {
		// newc, cpio(5): magic, then thirteen numbers of eight hex digits: inode,
		// mode, uid, gid, links, time, size, four of devices, length of the name with its NUL, checksum.
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
			inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
		b.WriteString(name)
		b.WriteByte(0)
		pad(&b)
		b.Write(content)
		pad(&b)
	}
	member(1, 0o100600, "config.ign", config)
	member(0, 0, "TRAILER!!!", nil)
	return compress(b.Bytes())
}

func pad(b *bytes.Buffer) {
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
}

func compress(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	err = w.Close() // writes the rest
	return out.Bytes(), err
}
