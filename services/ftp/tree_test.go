package ftp

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"helperd/boot"
	"helperd/internal/liveiso"
	"helperd/plan"
	"helperd/timeline"
)

func TestFiles(t *testing.T) {
	g := newRig(t, nil)
	kernel := g.put(t, "vmlinuz", 100_000)
	g.write(t, "root/sub/two words.txt", "2")
	g.write(t, "root/empty", "")
	g.write(t, "root/boot/snponly.efi", "mine")
	tests := []struct{ path, want string }{
		{kernelPath, kernel},
		{"/hello.txt", "hello\n"},
		{"hello.txt", "hello\n"},
		{"//hello.txt", "hello\n"},
		{"/sub/../hello.txt", "hello\n"},
		{"/sub/two words.txt", "2"},
		{"/empty", ""},
		{"/boot/snponly.efi", "mine"}, // the user's own come first
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			c := g.login(t, otherAddr)
			if got := c.want(t, "213", "SIZE "+tt.path); got != fmt.Sprintf("213 %d\r\n", len(tt.want)) {
				t.Errorf("SIZE says %q", got)
			}
			c.want(t, "213", "MDTM "+tt.path)
			c.want(t, "250", "MLST "+tt.path)
			if body, answer := c.fetch(t, "RETR "+tt.path); body != tt.want || !strings.HasPrefix(answer, "226") {
				t.Errorf("RETR gives %d bytes and %q, want %d", len(body), answer, len(tt.want))
			}
		})
	}
}

func TestRestart(t *testing.T) {
	g := newRig(t, nil)
	kernel := g.put(t, "vmlinuz", 100_000)
	c := g.login(t, otherAddr)
	for _, from := range []int{1, 99_999, 100_000} {
		c.want(t, "350", fmt.Sprint("REST ", from))
		if body, answer := c.fetch(t, "RETR "+kernelPath); body != kernel[from:] || !strings.HasPrefix(answer, "226") {
			t.Errorf("from %d: %d bytes, %q", from, len(body), answer)
		}
	}
	for _, from := range []int{-1, 100_001} {
		c.want(t, "350", fmt.Sprint("REST ", from))
		if _, answer := c.fetch(t, "RETR "+kernelPath); !strings.HasPrefix(answer, "550") {
			t.Errorf("from %d: %q", from, answer)
		}
	}
}

// TYPE A makes text of a file (RFC 959 section 3.1.1.1).
func TestText(t *testing.T) {
	g := newRig(t, nil)
	c := g.login(t, nodeAddr)
	c.want(t, "200", "TYPE A")
	if body, answer := c.fetch(t, "RETR /hello.txt"); body != "hello\r\n" || !strings.HasPrefix(answer, "226") {
		t.Errorf("%q, %q", body, answer)
	}
	g.happened(t, func(e *timeline.Event) bool { return e.Kind == timeline.FTPGet && e.Bytes == 6 && e.Total == 6 })
}

func TestFolders(t *testing.T) {
	g := newRig(t, nil)
	outside := filepath.Join(g.dir, "secret")
	g.write(t, "secret", "s")
	for name, to := range map[string]string{"inner": "hello.txt", "outer": outside, "relative": "../secret", "loop": "loop", "lost": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(g.dir, "root", name)); err != nil {
			t.Fatal(err)
		}
	}
	g.write(t, "root/.hidden", "h")
	g.write(t, "root/a\nb", "h")
	g.write(t, "root/sub/x", "x")
	if err := unix.Mkfifo(filepath.Join(g.dir, "root/fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := g.login(t, otherAddr)
	list, answer := c.fetch(t, "NLST /")
	if want := "artifacts\r\nboot\r\ngrub\r\nhello.txt\r\ninner\r\npxelinux.cfg\r\nsub\r\n"; list != want || !strings.HasPrefix(answer, "226") {
		t.Errorf("NLST gives %q and %q, want %q", list, answer, want)
	}
	list, _ = c.fetch(t, "MLSD /")
	if n := strings.Count(list, "\n"); n != 7 || !strings.Contains(list, "Type=file;Size=6;") || strings.Contains(list, "secret") {
		t.Errorf("MLSD gives %q", list)
	}
	c.want(t, "250", "CWD artifacts")
	c.want(t, "250", "CWD rhcos")
	if list, _ := c.fetch(t, "LIST"); !strings.Contains(list, " 100000 ") || !strings.Contains(list, "kernel\r\n") || strings.Contains(list, g.dir) {
		t.Errorf("LIST gives %q", list)
	}
	c.want(t, "250", "CDUP")
	if got := c.want(t, "257", "PWD"); !strings.Contains(got, `"/artifacts"`) {
		t.Errorf("PWD says %q", got)
	}
	if _, answer := c.fetch(t, "NLST /sub/none"); !strings.HasPrefix(answer, "450") {
		t.Errorf("a folder that is not there: %q", answer)
	}
	if _, answer := c.fetch(t, "RETR /sub"); !strings.HasPrefix(answer, "550") {
		t.Errorf("RETR of a folder: %q", answer)
	}
}

func TestFoldersAreNotListedUnlessWanted(t *testing.T) {
	g := newRig(t, func(g *rig) { g.plan.FTP.Listing = false })
	g.write(t, "root/sub/x", "x")
	c := g.login(t, otherAddr)
	for _, command := range []string{"LIST", "NLST /sub", "LIST -la /artifacts", "STAT /", "STAT /sub"} {
		if _, answer := c.fetch(t, command); !strings.Contains(answer, "listing: true") || !strings.HasPrefix(answer, "450") {
			t.Errorf("%s: %q", command, answer)
		}
	}
	if got := c.do(t, "MLSD /"); !strings.HasPrefix(got, "500") {
		t.Errorf("MLSD: %q", got)
	}
	c.want(t, "250", "CWD /sub") // clients go to the file step by step
	if body, _ := c.fetch(t, "RETR x"); body != "x" {
		t.Errorf("got %q", body)
	}
}

// What firmware and loaders boot from is here, too, for the node alone with its token.
func TestScripts(t *testing.T) {
	g := newRig(t, nil)
	const script = "/boot/52-54-00-00-00-02.ipxe"
	g.host.Nodes.Acked(g.node.MACs[0], g.node.IP)
	c := g.login(t, otherAddr)
	c.want(t, "502", "SIZE "+script) // to look at it decides nothing
	if body, _ := c.fetch(t, "RETR "+script); !strings.HasPrefix(body, "#!ipxe") || strings.Contains(body, "token=") {
		t.Errorf("another machine gets %q", body)
	}
	c = g.login(t, nodeAddr)
	if body, answer := c.fetch(t, "RETR "+script); !strings.HasPrefix(body, "#!ipxe") || !strings.Contains(body, "token=") || !strings.HasPrefix(answer, "226") {
		t.Errorf("the node gets %q, %q", body, answer)
	}
	if body, _ := c.fetch(t, "RETR /pxelinux.cfg/01-52-54-00-00-00-02"); !strings.Contains(body, "LABEL install") {
		t.Errorf("PXELINUX gets %q", body)
	}
	if body, _ := c.fetch(t, "RETR /pxelinux.cfg/default"); !strings.Contains(body, "LABEL install") {
		t.Errorf("the holder of its address gets %q", body)
	}
	if _, answer := g.login(t, otherAddr).fetch(t, "RETR /pxelinux.cfg/01-52-54-00-00-00-99"); !strings.HasPrefix(answer, "550") || !strings.Contains(answer, "no node has MAC") {
		t.Errorf("an unknown machine gets %q", answer)
	}
	g.happened(t, func(e *timeline.Event) bool {
		return e.Kind == timeline.BootRefused && e.MAC.String() == "52:54:00:00:00:99"
	})
	if list, _ := c.fetch(t, "NLST /boot"); strings.Contains(list, "ipxe\r\n") {
		t.Errorf("scripts are listed: %q", list)
	}
	g.happened(t, func(e *timeline.Event) bool { return e.Kind == timeline.BootScript && e.Node == g.node.FQDN })
}

func TestLoaders(t *testing.T) {
	g := newRig(t, nil)
	c := g.login(t, nodeAddr)
	for l, file := range boot.FindLoaders() {
		want, err := os.ReadFile(file)
		if err != nil {
			continue // not for this user
		}
		if body, answer := c.fetch(t, "RETR /boot/"+string(l)); body != string(want) {
			t.Errorf("%s: %d bytes, %q, want %d", l, len(body), answer, len(want))
		}
	}
	if _, answer := c.fetch(t, "RETR /undionly.kpxe"); !strings.HasPrefix(answer, "550") {
		t.Errorf("loaders are in /boot only: %q", answer)
	}
}

// Shim and GRUB of the kernel's vendor are inside an ISO: they are sent, not the ISO.
func TestVendorLoaders(t *testing.T) {
	shim := strings.Repeat("shim", 10_000)
	iso := liveiso.Build(t, liveiso.Options{EFI: map[string][]byte{"EFI/BOOT/BOOTX64.EFI": []byte(shim)}})
	g := newRig(t, func(g *rig) {
		for _, l := range []plan.Loader{plan.Shim64, plan.GRUB64} {
			g.plan.FTP.Files = append(g.plan.FTP.Files, plan.File{Path: "/artifacts/rhcos/loader/" + string(l), File: iso, Inside: l})
		}
	})
	c := g.login(t, nodeAddr)
	c.want(t, "200", "TYPE I")
	if body, answer := c.fetch(t, "RETR /artifacts/rhcos/loader/shimx64.efi"); body != shim {
		t.Errorf("%d bytes of %d: %s", len(body), len(shim), answer)
	}
	if answer := c.want(t, "213", "SIZE /artifacts/rhcos/loader/shimx64.efi"); !strings.Contains(answer, "40000") {
		t.Errorf("SIZE says %q", answer)
	}
	if list, _ := c.fetch(t, "NLST /artifacts/rhcos/loader"); !strings.Contains(list, "shimx64.efi") || strings.Contains(list, "grubx64.efi") {
		t.Errorf("listed: %q", list)
	}
	if answer := c.want(t, "550", "SIZE /artifacts/rhcos/loader/grubx64.efi"); strings.Contains(answer, iso) {
		t.Errorf("one that is not there: %s", answer)
	}
}

func TestIgnitionIsNotThere(t *testing.T) {
	g := newRig(t, func(g *rig) {
		g.plan.HTTP.Ignition = []plan.Ignition{{Path: "/ignition/ocp4.example.com/worker.ign", File: filepath.Join(g.dir, "worker.ign"), Role: plan.Worker, Nodes: g.plan.Nodes}}
		g.write(t, "worker.ign", `{"ignition":{"version":"3.2.0"}}`)
	})
	c := g.login(t, nodeAddr)
	if _, answer := c.fetch(t, "RETR /ignition/ocp4.example.com/worker.ign"); !strings.HasPrefix(answer, "550") {
		t.Errorf("%q", answer)
	}
	g.happened(t, func(e *timeline.Event) bool { return e.Kind == timeline.FTPMiss && e.Node == g.node.FQDN })
}

func TestMissingArtifactIsServedOnceItIsThere(t *testing.T) {
	g := newRig(t, nil)
	os.Remove(filepath.Join(g.dir, "vmlinuz"))
	c := g.login(t, nodeAddr)
	if _, answer := c.fetch(t, "RETR "+kernelPath); !strings.HasPrefix(answer, "550") || strings.Contains(answer, g.dir) {
		t.Errorf("%q", answer)
	}
	if list, _ := c.fetch(t, "NLST /artifacts/rhcos"); list != "artifacts/rhcos/rootfs\r\n" {
		t.Errorf("a missing file is listed: %q", list)
	}
	want := g.put(t, "vmlinuz", 5)
	if body, _ := c.fetch(t, "RETR "+kernelPath); body != want {
		t.Errorf("got %q", body)
	}
}

// recorder notes what a copy reads from.
type recorder struct {
	io.Writer
	from io.Reader
}

func (r *recorder) ReadFrom(from io.Reader) (int64, error) {
	r.from = from
	return io.Copy(r.Writer, from)
}

// The kernel sends what a connection can read from a descriptor; a wrapper around it would cost a copy of every byte.
func TestFilesLeaveBySendfile(t *testing.T) {
	f, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := &recorder{Writer: io.Discard}
	if _, err := io.Copy(r, &download{content: f}); err != nil {
		t.Fatal(err)
	}
	if _, ok := r.from.(syscall.Conn); !ok {
		t.Errorf("the connection reads from a %T", r.from)
	}
}
