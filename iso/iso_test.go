package iso_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helperd/internal/liveiso"
	"helperd/internal/netns"
	"helperd/iso"
)

var (
	args     = []string{"coreos.inst.install_dev=/dev/vda", "ip=10.0.0.21::10.0.0.1:255.255.255.0:w0:ens3:none", "nameserver=10.0.0.2", "rd.neednet=1", "console=ttyS0,115200"}
	ignition = []byte(`{"ignition":{"version":"3.2.0"},"passwd":{"users":[{"name":"core"}]}}` + "\n")
)

const config410 = `{"installer-config": true, "live-initrd-network": true}`

func image(t *testing.T, base string, args []string, ignition []byte) *iso.Image {
	t.Helper()
	var l iso.Library
	m, err := l.Open(base, args, ignition)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// written is the image as a file.
func written(t *testing.T, m *iso.Image) string {
	t.Helper()
	b, err := io.ReadAll(m)
	if err != nil || int64(len(b)) != m.Size() {
		t.Fatalf("%d bytes of %d, %v", len(b), m.Size(), err)
	}
	path := filepath.Join(t.TempDir(), "node.iso")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// unpacked gives config.ign of the ignition area, by gunzip and cpio.
func unpacked(t *testing.T, area []byte) []byte {
	t.Helper()
	netns.Tools(t, "gzip", "cpio")
	dir := t.TempDir()
	packed := filepath.Join(dir, "area.gz")
	if err := os.WriteFile(packed, area, 0o600); err != nil {
		t.Fatal(err)
	}
	// gzip says that it passes over the zeros behind the archive, and exits with 2.
	c := exec.Command("sh", "-c", `gzip -dcq "$0" > archive; cpio -i --quiet -H newc < archive && cpio -t --quiet < archive`, packed)
	c.Dir = dir
	out, err := c.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "config.ign" {
		t.Fatalf("cpio: %v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "config.ign"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type live struct {
	Ignition struct{ Version string }
	Storage  struct {
		Files []struct {
			Path     string
			Mode     int
			Contents struct{ Compression, Source string }
		}
	}
}

// files are the files that a live configuration writes, by path, unpacked by gzip.
func (l live) files(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, f := range l.Storage.Files {
		data, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(f.Contents.Source, "data:;base64,"))
		if err != nil || f.Mode != 0o600 {
			t.Fatalf("%s: mode %o, %v", f.Path, f.Mode, err)
		}
		if f.Contents.Compression == "gzip" {
			c := exec.Command("gzip", "-dc")
			c.Stdin = bytes.NewReader(data)
			if data, err = c.Output(); err != nil {
				t.Fatalf("%s: gunzip: %v", f.Path, err)
			}
		}
		out[f.Path] = string(data)
	}
	return out
}

// What is read of an image by xorriso, gunzip and cpio is what was asked for,
// on ISOs of every layout.
func TestLayouts(t *testing.T) {
	installer := `{"ignition-file":"/etc/coreos/dest.ign","append-karg":["console=ttyS0,115200"]}`
	byURL := " coreos.inst.ignition_url=file:///etc/coreos/dest.ign"
	for _, tt := range []struct {
		name      string
		opt       liveiso.Options
		installer string // the installer's configuration
		more      string // kernel arguments beyond those asked for
	}{
		{"4.14 and later", liveiso.Options{Features: config410}, installer, ""},
		{"long names", liveiso.Options{Features: config410, LongNames: true}, installer, ""},
		{"json, older installer", liveiso.Options{}, "", byURL},
		{"4.8, headers", liveiso.Options{Headers: true}, "", byURL},
		{"only some features", liveiso.Options{Features: `{"live-initrd-network": true}`}, "", byURL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := liveiso.Build(t, tt.opt)
			path := written(t, image(t, base, args, ignition))

			wantArgs := liveiso.Args + " " + strings.Join(args, " ") + tt.more + "\n###"
			for _, cfg := range []string{"/EFI/redhat/grub.cfg", "/isolinux/isolinux.cfg"} {
				was, is := liveiso.Extract(t, base, cfg), string(liveiso.Extract(t, path, cfg))
				if !strings.Contains(is, wantArgs) || len(is) != len(was) || strings.Count(is, "\n") != strings.Count(string(was), "\n") {
					t.Errorf("%s is\n%s", cfg, is)
				}
			}
			area := liveiso.Extract(t, path, "/images/ignition.img")
			if len(area) != liveiso.Room {
				t.Errorf("the area has %d bytes", len(area))
			}
			var l live
			if err := json.Unmarshal(unpacked(t, area), &l); err != nil || l.Ignition.Version != "3.0.0" {
				t.Errorf("live configuration %+v, %v", l, err)
			}
			files := l.files(t)
			if files["/etc/coreos/dest.ign"] != string(ignition) || files["/etc/coreos/installer.d/0000-helperd.yaml"] != tt.installer {
				t.Errorf("the live system gets %q", files)
			}
			onlyAreas(t, base, path, "/images/ignition.img", "/EFI/redhat/grub.cfg", "/isolinux/isolinux.cfg")
		})
	}
}

// onlyAreas compares two ISOs beyond the files that may differ.
func onlyAreas(t *testing.T, base, path string, may ...string) {
	t.Helper()
	a, err := os.ReadFile(base)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || len(a) != len(b) {
		t.Fatalf("%d bytes and %d, %v", len(a), len(b), err)
	}
	for _, name := range may {
		at := liveiso.Offset(t, base, name)
		n := int64(len(liveiso.Extract(t, base, name)))
		clear(a[at : at+n])
		clear(b[at : at+n])
	}
	if !bytes.Equal(a, b) {
		t.Error("bytes outside of the areas changed")
	}
}

func TestWithoutIgnition(t *testing.T) {
	base := liveiso.Build(t, liveiso.Options{Features: config410})
	path := written(t, image(t, base, args, nil))
	if area := liveiso.Extract(t, path, "/images/ignition.img"); bytes.ContainsFunc(area, func(r rune) bool { return r != 0 }) {
		t.Error("the ignition area is not empty")
	}
	if cfg := liveiso.Extract(t, path, "/isolinux/isolinux.cfg"); strings.Contains(string(cfg), "ignition_url") {
		t.Errorf("an ignition file is named that is not there:\n%s", cfg)
	}
}

// Any part of an image equals that part of the whole, however it is read.
func TestRanges(t *testing.T) {
	base := liveiso.Build(t, liveiso.Options{Features: config410})
	whole, err := os.ReadFile(written(t, image(t, base, args, ignition)))
	if err != nil {
		t.Fatal(err)
	}
	edges := []int64{0, int64(len(whole))}
	for _, name := range []string{"/images/ignition.img", "/EFI/redhat/grub.cfg", "/isolinux/isolinux.cfg"} {
		at := liveiso.Offset(t, base, name)
		edges = append(edges, at, at+70, at+liveiso.Room, at+liveiso.Room-1)
	}
	m := image(t, base, args, ignition)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 500 {
		from := rnd.Int64N(int64(len(whole)))
		if i%2 == 0 {
			from = max(0, min(edges[rnd.IntN(len(edges))]+rnd.Int64N(5)-2, int64(len(whole))))
		}
		n := rnd.Int64N(min(400_000, int64(len(whole))-from) + 1)
		if _, err := m.Seek(from, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		want := whole[from : from+n]
		got := make([]byte, n)
		if _, err := io.ReadFull(m, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("Read %d bytes at %d: %v", n, from, err)
		}
		var b bytes.Buffer
		_, _ = m.Seek(-n, io.SeekCurrent)
		if sent, err := m.Send(&b, n); err != nil || sent != n || !bytes.Equal(b.Bytes(), want) {
			t.Fatalf("Send %d bytes at %d: %d, %v", n, from, sent, err)
		}
	}
	if at, err := m.Seek(0, io.SeekEnd); err != nil || at != int64(len(whole)) {
		t.Errorf("the end is at %d, %v", at, err)
	}
	if n, err := m.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("behind the end: %d, %v", n, err)
	}
	if _, err := m.Seek(-1, io.SeekStart); err == nil {
		t.Error("a position before the start")
	}
}

// Two images of the same are the same to the byte, today and after a restart,
// and the tag changes with every part.
func TestTag(t *testing.T) {
	base := liveiso.Build(t, liveiso.Options{Features: config410})
	first := image(t, base, args, ignition)
	again := image(t, base, args, ignition) // of another library
	a, b := written(t, first), written(t, again)
	if first.Tag() != again.Tag() || string(must(os.ReadFile(a))) != string(must(os.ReadFile(b))) {
		t.Error("the same content differs")
	}
	tags := map[string]string{first.Tag(): "the first"}
	add := func(what string, m *iso.Image) {
		if was, ok := tags[m.Tag()]; ok {
			t.Errorf("%s has the tag of %s", what, was)
		}
		tags[m.Tag()] = what
	}
	add("other arguments", image(t, base, args[1:], ignition))
	add("another ignition file", image(t, base, args, []byte("{}")))
	add("none", image(t, base, args, nil))
	if err := os.Chtimes(base, time.Now(), time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	add("a new ISO", image(t, base, args, ignition))
	if strings.Contains(first.Tag(), "{") || len(first.Tag()) != 32 {
		t.Errorf("tag %q", first.Tag())
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// One library forgets nothing that changed, and gives what it knows.
func TestLibrary(t *testing.T) {
	base := liveiso.Build(t, liveiso.Options{Features: config410})
	var l iso.Library
	tags := map[string]bool{}
	for i := range 40 { // more than it keeps
		m, err := l.Open(base, args, fmt.Appendf(nil, `{"n":%d}`, i%25))
		if err != nil {
			t.Fatal(err)
		}
		tags[m.Tag()] = true
		m.Close()
	}
	if len(tags) != 25 {
		t.Errorf("%d tags of 25 contents", len(tags))
	}
}

func TestRefused(t *testing.T) {
	good := liveiso.Build(t, liveiso.Options{Features: config410})
	edited := func(path string, at int64, text string) string {
		b := must(os.ReadFile(good))
		copy(b[liveiso.Offset(t, good, path)+at:], text)
		out := filepath.Join(t.TempDir(), "edited.iso")
		if err := os.WriteFile(out, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return out
	}
	noise := make([]byte, 300<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	text := filepath.Join(t.TempDir(), "text.iso")
	if err := os.WriteFile(text, bytes.Repeat([]byte("text"), 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, base string
		args       []string
		ignition   []byte
		want       string
	}{
		{"too large", good, args, noise, "has room for 262144; boot the node from the network"},
		{"too many arguments", good, []string{strings.Repeat("a", 2000)}, nil, "more than the ISO has room for; shorten kernel_args"},
		{"a quote", good, []string{`x="y`}, nil, `leave it out of kernel_args`},
		{"a semicolon", good, []string{"a;reboot"}, nil, "leave it out of kernel_args"},
		{"a line feed", good, []string{"a\nb"}, nil, "leave it out of kernel_args"},
		{"a comment", good, []string{"#a"}, nil, "leave it out of kernel_args"},
		{"not an ISO", text, args, nil, "not an ISO image"},
		{"not there", "/nonexistent/live.iso", args, nil, "not on the helper yet"},
		{"a folder", t.TempDir(), args, nil, "not a file"},
		{"an ignition file already", edited("/images/ignition.img", 0, "\x1f\x8b"), args, nil, "coreos-installer iso reset"},
		{"arguments that differ", edited("/isolinux/isolinux.cfg", 150, "XX"), args, nil, "different kernel arguments"},
		{"another ISO", liveOf(t, "images/install.img"), args, ignition, "no live ISO of CoreOS"},
		{"bad JSON", edited("/coreos/kargs.json", 0, "]"), args, ignition, "coreos/kargs.json"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var l iso.Library
			m, err := l.Open(tt.base, tt.args, tt.ignition)
			if err == nil {
				m.Close()
				t.Fatal("it was made")
			}
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "/nonexistent") || strings.Contains(err.Error(), "/tmp/") {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// liveOf is an ISO with a single file.
func liveOf(t *testing.T, name string) string {
	t.Helper()
	netns.Tools(t, "xorriso")
	tree, out := t.TempDir(), filepath.Join(t.TempDir(), "other.iso")
	if err := os.MkdirAll(filepath.Join(tree, filepath.Dir(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, name), make([]byte, 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("xorriso", "-as", "mkisofs", "-quiet", "-o", out, tree).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// A file that became shorter is an error, not zeros.
func TestShrinks(t *testing.T) {
	base := liveiso.Build(t, liveiso.Options{Features: config410})
	m := image(t, base, args, ignition)
	if err := os.Truncate(base, m.Size()/2); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(m); err != io.ErrUnexpectedEOF {
		t.Errorf("read: %v", err)
	}
	_, _ = m.Seek(0, io.SeekStart)
	if n, err := m.Send(io.Discard, m.Size()); err == nil {
		t.Errorf("sent %d bytes of %d", n, m.Size())
	}
}
