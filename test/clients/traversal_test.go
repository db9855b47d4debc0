package clients_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"helperd/internal/netns"
	"helperd/test/rig"
)

const (
	// secretSize in bytes is a number that nothing else has.
	secretSize = 48611
	secretMark = "OUTSIDE-THE-FOLDER"
	hiddenMark = "HIDDEN-IN-THE-FOLDER"
)

// world is a helper whose web, TFTP and FTP servers show one folder, which is
// full of ways out.
type world struct {
	*rig.Rig
	client *rig.Machine
	root   string
	marks  []string // of what nobody may see
}

func newWorld(t *testing.T) *world {
	t.Helper()
	netns.Require(t)
	w := &world{Rig: rig.New(t, rig.Options{})}
	w.root = filepath.Join(w.Dir, "srv/own")
	outside := filepath.Join(w.Dir, "srv/outside")
	secret := secretMark + strings.Repeat("x", secretSize-len(secretMark))
	for name, content := range map[string]string{
		"../outside/secret.txt": secret, "inner.txt": "inner", "sub/deep.txt": "deep", "two words.txt": "words", "süß.txt": "sweet", `back\slash.txt`: "slash",
		"new\nline.txt": "line", ".hidden": hiddenMark, "sub/.hidden": hiddenMark, ".git/config": hiddenMark, "locked/in.txt": hiddenMark, "locked.txt": hiddenMark,
		"canary/canary.txt": secret, // in a folder of its own, whose listing alone shows its size
	} {
		path := filepath.Join(w.root, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(content), 0o644))
	}
	for name, to := range map[string]string{
		"passwd": "/etc/passwd", "relative": "../outside/secret.txt", "absolute": outside + "/secret.txt", "folder": "../outside", "absfolder": outside,
		"chain1": "chain2", "chain2": "sub/chain3", "sub/chain3": "../../outside/secret.txt", "dots": "sub/../../outside/secret.txt", "up": "..", "top": "/",
		"innerlink": "sub/deep.txt", "innerfolder": "sub", "loop": "loop2", "loop2": "loop", "dangling": "../outside/nothing.txt", "environ": "/proc/self/environ",
		"database": "../../state/helperd.db", "self": "/proc/self/cwd",
	} {
		must(t, os.Symlink(to, filepath.Join(w.root, name)))
	}
	must(t, os.Link(filepath.Join(w.root, "inner.txt"), filepath.Join(w.root, "hard.txt")))
	must(t, unix.Mkfifo(filepath.Join(w.root, "fifo"), 0o644))
	must(t, os.Chmod(filepath.Join(w.root, "locked"), 0o700))
	must(t, os.Chmod(filepath.Join(w.root, "locked.txt"), 0o600))
	w.Rewrite(t, func(text string) string {
		return text + fmt.Sprintf("\nhttp: {root: %s, listing: true}\ntftp: {root: %s}\nftp: {root: %s, listing: true}\n", w.root, w.root, w.root)
	})
	w.Start(t)
	w.client = w.Machine(t, "worker-0")
	passwd, err := os.Stat("/etc/passwd")
	must(t, err)
	// Its folder is that of no program but this test's: no answer may name it.
	w.marks = []string{secretMark, hiddenMark, "root:x:0:0", "HELPERD_TEST_HOOKS=", fmt.Sprint(secretSize), fmt.Sprint(passwd.Size()), "secret.txt\r\n", w.Dir, "srv/own"}
	return w
}

// leak gives the mark that is in an answer, and was not in the question.
func (w *world) leak(answer, question string) string {
	for _, m := range w.marks {
		if strings.Contains(answer, m) && !strings.Contains(question, strings.TrimSpace(m)) {
			return m
		}
	}
	return ""
}

// forbidden are names that must give nothing, whatever the protocol makes of them.
func forbidden(w *world) []string {
	names := []string{
		// Links.
		"passwd", "relative", "absolute", "chain1", "chain2", "sub/chain3", "dots", "loop", "dangling", "environ", "database",
		"folder", "folder/", "folder/secret.txt", "absfolder/secret.txt", "up", "up/", "up/outside/secret.txt", "up/own/up/outside/secret.txt",
		"top/etc/passwd", "self/environ", "innerfolder/../up/outside/secret.txt", "sub/../folder/secret.txt",
		// What is hidden, closed, or no file.
		".hidden", "/.hidden", "./.hidden", "sub/.hidden", "sub/../.hidden", ".git/config", ".git", ".git/", "%2ehidden", "%2Egit/config", "locked.txt", "locked/in.txt", "fifo",
		// Absolute names and forms of URLs.
		"/etc/passwd", "//etc/passwd", "///etc///passwd", "/./etc/passwd", "/.//etc/passwd", `\etc\passwd`, `C:\etc\passwd`, "file:///etc/passwd",
		"file://localhost/etc/passwd", "http://127.0.0.1/etc/passwd", "%2fetc%2fpasswd", "%2Fetc%2Fpasswd", w.Dir + "/srv/outside/secret.txt", w.Config, "/proc/self/environ",
		// What shells and servers expand.
		"~", "~root", "~/../outside/secret.txt", "~root/.profile", "*", "*/secret.txt", "?asswd", "[p]asswd", "{folder,x}/secret.txt", "$HOME", "`id`", "$(id)", "|id", ";id", "-la /etc",
		// NUL, trailing dots, and what looks like them.
		"inner.txt\x00../../outside/secret.txt", "../outside/secret.txt\x00", "folder\x00/secret.txt", "relative.", "relative..", "folder./secret.txt", "folder /secret.txt",
		"relative::$DATA", "inner.txt/../../outside/secret.txt", "inner.txt/", "hard.txt/..",
		strings.Repeat("../", 2000) + "etc/passwd", strings.Repeat("a", 5000), strings.Repeat("sub/../", 300) + "../outside/secret.txt", strings.Repeat("/", 1000) + "etc/passwd",
	}
	// Ways to write the two dots and the slash that lead out.
	for _, out := range []string{
		"../", "/../", "./../", "sub/../../", "sub//..//../", "..//", ".././", "..;/", "..;x/", "..%00/", "..%0d/", "..%20/", ".. /", "..../", "...//", "....//", "..././",
		"%2e%2e/", "%2e%2e%2f", "..%2f", "..%2F", "%2e./", ".%2e/", "%2E%2E/", "%252e%252e/", "%252e%252e%252f", "..%252f", "%25252e%25252e/",
		"%c0%ae%c0%ae/", "%c0%ae%c0%ae%c0%af", "..%c0%af", "..%c1%9c", "%e0%80%ae%e0%80%ae/", "..%e0%80%af", "%f0%80%80%ae%f0%80%80%ae/", "\xc0\xae\xc0\xae/", "..\xc0\xaf",
		"..\\", "..%5c", "..%5C", "%2e%2e%5c", "..%255c", `sub\..\..\`, `..\/`, `/..\`, "..\u2215", "..\uff0f", "\uff0e\uff0e/", "\u2025/", "..%u2215", "%uff0e%uff0e/", "..\x00/",
		"../../../../../../../../", "/%2e%2e/%2e%2e/%2e%2e/", "sub/%2e%2e/%2e%2e/",
	} {
		names = append(names, out+"outside/secret.txt", out+"etc/passwd", out+"outside/")
	}
	return names
}

// TestTraversal asks every server for every way out. That it would see a leak
// is shown before: the same questions about a file inside get its content and its size.
func TestTraversal(t *testing.T) {
	w := newWorld(t)
	for _, a := range askers {
		t.Run(a.name, func(t *testing.T) {
			for name, content := range map[string]string{"inner.txt": "inner", "/sub/deep.txt": "deep", "innerlink": "deep", "innerfolder/deep.txt": "deep", "two words.txt": "words", "hard.txt": "inner"} {
				if got := a.ask(t, w.client, name); !strings.Contains(got, content) && a.name != "HTTP HEAD" {
					t.Errorf("%s is not served: %.300q", name, got)
				}
			}
			if got := a.ask(t, w.client, "canary/canary.txt"); w.leak(got, "") == "" {
				t.Fatalf("a leak would not be seen: %.300q", got)
			}
			for _, name := range forbidden(w) {
				got := a.ask(t, w.client, name)
				if mark := w.leak(got, name); mark != "" {
					at := strings.Index(got, mark)
					t.Errorf("%.120q shows %q: …%.200q", name, mark, got[max(0, at-100):])
				}
				if strings.HasPrefix(a.name, "HTTP") && strings.HasPrefix(got, "HTTP/1.1 2") && !strings.HasPrefix(name, "?") { // a query asks for the folder
					t.Errorf("%.120q gives %.100q", name, got)
				}
			}
			if got := a.ask(t, w.client, "inner.txt"); got == "" {
				t.Error("the server does not answer any more")
			}
		})
	}
}

// TestTraversalTellsNothing: whether something is there outside must not show.
func TestTraversalTellsNothing(t *testing.T) {
	w := newWorld(t)
	// What differs with the time, and the name itself.
	vary := regexp.MustCompile(`Date: [^\r]*|\(\|\|\|\d+\|\)|secret|nothing|relative|dangling|hidden|absent|passwd|passwx`)
	for _, a := range askers {
		t.Run(a.name, func(t *testing.T) {
			for there, not := range map[string]string{
				"relative": "dangling", "../outside/secret.txt": "../outside/nothing.txt", "folder/secret.txt": "folder/nothing.txt", "up/outside/secret.txt": "up/outside/nothing.txt",
				"/etc/passwd": "/etc/passwx", "%2e%2e/outside/secret.txt": "%2e%2e/outside/nothing.txt", ".hidden": ".absent", "sub/.hidden": "sub/.absent",
				`..\outside\secret.txt`: `..\outside\nothing.txt`, "absfolder/secret.txt": "absfolder/nothing.txt", "folder/secret.txt/x": "folder/nothing.txt/x",
			} {
				one, other := a.ask(t, w.client, there), a.ask(t, w.client, not)
				if x, y := vary.ReplaceAllString(one, "~"), vary.ReplaceAllString(other, "~"); x != y {
					t.Errorf("%q is there: %.300q\n%q is not:  %.300q", there, x, not, y)
				}
			}
			if one, other := a.ask(t, w.client, "inner.txt"), a.ask(t, w.client, "outer.txt"); one == other {
				t.Errorf("this test would not see a difference: %.300q", one)
			}
		})
	}
}

// TestTraversalByFTPSteps: a session has a folder, and goes out step by step.
func TestTraversalByFTPSteps(t *testing.T) {
	w := newWorld(t)
	steps := [][]string{
		{"CWD sub", "CWD ..", "CWD ..", "CWD ..", "RETR outside/secret.txt"},
		{"CWD sub", "CDUP", "CDUP", "CDUP", "RETR outside/secret.txt", "NLST"},
		{"CWD sub", "RETR ../../outside/secret.txt", "NLST ../../outside"},
		{"CWD folder", "RETR secret.txt", "SIZE secret.txt", "NLST"},
		{"CWD up", "CWD outside", "RETR secret.txt", "NLST"},
		{"CWD innerfolder", "CWD ..", "RETR outside/secret.txt", "CWD ../..", "RETR etc/passwd"},
		{"CWD top", "CWD etc", "RETR passwd"},
		{"CWD .git", "RETR config", "NLST"},
		{"CWD ~", "CWD -", "CWD /etc", "RETR passwd"},
		{"RNFR ../outside/secret.txt", "RNTO stolen.txt", "RETR stolen.txt"},
		{"SITE SYMLINK /etc/passwd here", "RETR here"},
		{"REST 48610", "RETR relative", "REST 48610", "RETR ../outside/secret.txt"},
		{"XCWD ..", "XPWD", "STAT ..", "MLST ..", "MLSD .."},
		{"HASH ../outside/secret.txt", "XSHA256 passwd", "XMD5 /etc/passwd", "XCRC relative"},
	}
	for _, run := range steps {
		f := openFTP(t, w.client)
		for _, command := range run {
			switch verb, _, _ := strings.Cut(command, " "); verb {
			case "RETR", "NLST", "MLSD":
				f.fetch(t, command)
			default:
				f.do(t, command)
			}
		}
		if mark := w.leak(f.all.String(), strings.Join(run, "\n")); mark != "" {
			t.Errorf("%q shows %q: %.500q", run, mark, f.all.String())
		}
		f.Close()
	}
	f := openFTP(t, w.client)
	defer f.Close()
	f.do(t, "CWD sub")
	f.do(t, "CWD ..")
	if f.fetch(t, "RETR canary/canary.txt"); w.leak(f.all.String(), "") == "" {
		t.Errorf("a leak would not be seen: %.300q", f.all.String())
	}
}
