package ftp

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"helperd/internal/netns"
)

// run runs a program that people use and gives what it wrote.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	netns.Tools(t, name)
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestCurl(t *testing.T) {
	g := newRig(t, nil)
	kernel := g.put(t, "vmlinuz", 100_000)
	url := "ftp://" + g.server.String()
	if got := run(t, "curl", "-sS", url+kernelPath); got != kernel {
		t.Errorf("%d bytes, want %d", len(got), len(kernel))
	}
	if got := run(t, "curl", "-sS", "--disable-epsv", "-r", "10-19", url+kernelPath); got != kernel[10:20] {
		t.Errorf("a range gives %q", got)
	}
	if got := run(t, "curl", "-sS", url+"/artifacts/rhcos/"); strings.Count(got, "\n") != 2 {
		t.Errorf("a listing gives %q", got)
	}
	if got := run(t, "curl", "-sS", url+"/pxelinux.cfg/01-52-54-00-00-00-02"); !strings.Contains(got, "LABEL install") {
		t.Errorf("a boot script gives %q", got)
	}
	for _, args := range [][]string{{"-T", os.Args[0], url + "/upload"}, {"-P", "-", url + "/hello.txt"}, {"--ssl-reqd", url + "/hello.txt"}} {
		if out, err := exec.Command("curl", append([]string{"-sS", "-m", "10"}, args...)...).CombinedOutput(); err == nil {
			t.Errorf("curl %v succeeds: %.100q", args, out)
		}
	}
}

func TestLftpMirrors(t *testing.T) {
	g := newRig(t, nil)
	want := map[string]string{"hello.txt": "hello\n", "artifacts/rhcos/kernel": g.put(t, "vmlinuz", 100_000), "artifacts/rhcos/rootfs": g.put(t, "rootfs.img", 3<<20)}
	for i := range 30 {
		name := fmt.Sprintf("many/%d/file %d", i%3, i)
		want[name] = g.put(t, "root/"+name, 1000*i)
	}
	to := t.TempDir()
	run(t, "lftp", "-c", fmt.Sprintf("set net:timeout 10; set net:max-retries 3; set net:reconnect-interval-base 1; open ftp://%s; mirror --parallel=6 --use-pget-n=3 --exclude ^boot/ / %s", g.server, to))
	for name, content := range want {
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(got) != content {
			t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(content))
		}
	}
}

func TestPythonFTPLib(t *testing.T) {
	g := newRig(t, nil)
	got := run(t, "python3", "-c", `
import ftplib, io, sys
f = ftplib.FTP()
f.connect(sys.argv[1], int(sys.argv[2]), timeout=10)
f.login()
f.voidcmd("TYPE I")
print(f.size("/hello.txt"), sorted(f.nlst("/")), sorted(n for n, _ in f.mlsd("/artifacts")))
b = io.BytesIO()
f.retrbinary("RETR hello.txt", b.write)
print(b.getvalue())
for refused in (lambda: f.storbinary("STOR x", io.BytesIO(b"x")), lambda: f.delete("hello.txt"), lambda: f.mkd("d"), lambda: f.sendport("127.0.0.1", 25)):
    try:
        print("accepted", refused())
    except ftplib.error_perm as e:
        print(str(e)[:3])
f.quit()
`, g.server.Addr().String(), fmt.Sprint(g.server.Port()))
	if want := "6 ['artifacts', 'boot', 'grub', 'hello.txt', 'pxelinux.cfg'] ['rhcos']\nb'hello\\n'\n502\n502\n502\n502\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
