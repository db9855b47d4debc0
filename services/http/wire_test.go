package http

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"helperd/internal/freeport"
	"helperd/internal/netns"
)

// A wireCase is one request as bytes and what a strict server answers.
type wireCase struct {
	name    string
	request string // lines end by \n, sent as \r\n; \N is a bare line feed, \R a bare carriage return
	status  int
	body    string // "*": any
	header  string // one that must be there, as "Name: value", or must not, as "!Name"
	nginx   int    // the status that nginx gives for the same; 0: it is not asked
}

const (
	ten      = "0123456789"
	hosted   = " HTTP/1.1\nHost: x\n"
	getTen   = "GET /ten.txt" + hosted
	getLarge = "GET /large" + hosted
)

var (
	modified = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	before   = modified.Add(-time.Second).Format(nethttp.TimeFormat)
	behind   = modified.Add(time.Second).Format(nethttp.TimeFormat)
)

// many is a header of n ranges of one byte.
func many(n int) string {
	var parts []string
	for i := range n {
		parts = append(parts, fmt.Sprintf("%d-%d", 4*i, 4*i))
	}
	return "Range: bytes=" + strings.Join(parts, ",") + "\n"
}

// wireCases: $TAG and $DATE are the validators of /ten.txt.
var wireCases = []wireCase{
	// Targets.
	{"a file", getTen, 200, ten, "Content-Length: 10", 200},
	{"HEAD", "HEAD /ten.txt" + hosted, 200, "", "Content-Length: 10", 200},
	{"absolute form", "GET http://x/ten.txt" + hosted, 200, ten, "", 200},
	{"absolute form of another host", "GET http://evil.example.com/ten.txt" + hosted, 200, ten, "", 200},
	{"absolute form without a path", "GET http://x" + hosted, 200, "*", "Content-Type: text/html; charset=utf-8", 200},
	{"authority form", "GET x:80" + hosted, 400, "*", "", 400},
	{"asterisk form", "GET *" + hosted, 400, "*", "", 400},
	{"no slash", "GET ten.txt" + hosted, 400, "*", "", 400},
	{"no target", "GET " + hosted, 400, "*", "", 400},
	{"a query", "GET /ten.txt?a=b&c" + hosted, 200, ten, "", 200},
	{"a parameter", "GET /ten.txt;a=b" + hosted, 404, "*", "", 404},
	{"a fragment", "GET /ten.txt#x" + hosted, 404, "*", "", 0}, // nginx cuts it off; no client sends one
	{"a space", "GET /a b.txt" + hosted, 400, "*", "", 400},
	{"a control character", "GET /ten\x01.txt" + hosted, 400, "*", "", 400},
	{"a NUL", "GET /ten.txt\x00" + hosted, 400, "*", "", 400},
	{"no escape", "GET /ten.txt%zz" + hosted, 400, "*", "", 400},
	{"half an escape", "GET /ten.txt%2" + hosted, 400, "*", "", 400},
	{"many slashes", "GET //sub///f.txt" + hosted, 200, "f", "", 200},
	{"an escaped slash", "GET /sub%2ff.txt" + hosted, 200, "f", "", 200},
	{"an escaped letter", "GET /t%65n.txt" + hosted, 200, ten, "", 200},
	{"UTF-8", "GET /%C3%A4.txt" + hosted, 200, "a", "", 200},
	{"UTF-8, not escaped", "GET /ä.txt" + hosted, 200, "a", "", 200},
	{"a file as a folder", "GET /ten.txt/" + hosted, 404, "*", "", 404},
	{"below a file", "GET /ten.txt/x" + hosted, 404, "*", "", 404},
	{"a folder without its slash", "GET /sub" + hosted, 301, "*", "Location: /sub/", 301},
	{"a name that is too long", "GET /" + strings.Repeat("a", 300) + hosted, 404, "*", "", 404},

	// Ways out.
	{"dots", "GET /../secret" + hosted, 404, "*", "", 400},
	{"dots that stay inside", "GET /sub/../ten.txt" + hosted, 404, "*", "", 0}, // no client that we know sends them
	{"one dot", "GET /./ten.txt" + hosted, 404, "*", "", 0},
	{"escaped dots", "GET /%2e%2e/secret" + hosted, 404, "*", "", 400},
	{"dots and an escaped slash", "GET /..%2fsecret" + hosted, 404, "*", "", 400},
	{"all escaped", "GET /%2E%2E%2Fsecret" + hosted, 404, "*", "", 400},
	{"dots and a backslash", "GET /..%5csecret" + hosted, 404, "*", "", 404},
	{"a raw backslash", "GET /..\\secret" + hosted, 404, "*", "", 404},
	{"escaped twice", "GET /%252e%252e/secret" + hosted, 404, "*", "", 404},
	{"overlong dots", "GET /%c0%ae%c0%ae/secret" + hosted, 404, "*", "", 404},
	{"overlong slash", "GET /..%c0%afsecret" + hosted, 404, "*", "", 404},
	{"an escaped NUL", "GET /ten.txt%00.html" + hosted, 404, "*", "", 400},
	{"dots in an absolute form", "GET http://x/../secret" + hosted, 404, "*", "", 400},
	{"a dot file", "GET /.hidden" + hosted, 404, "*", "", 0},
	{"an escaped dot file", "GET /%2ehidden" + hosted, 404, "*", "", 0},
	{"a file in a dot folder", "GET /.git/config" + hosted, 404, "*", "", 0},
	{"a link out", "GET /out" + hosted, 404, "*", "", 0},
	{"a folder link out", "GET /outside/secret" + hosted, 404, "*", "", 0},
	{"an absolute link back in", "GET /absolute" + hosted, 404, "*", "", 0},
	{"a link within", "GET /within" + hosted, 200, "f", "", 200},
	{"a FIFO", "GET /fifo" + hosted, 404, "*", "", 0}, // nginx hangs or says 404, by version
	{"a device", "GET /null" + hosted, 404, "*", "", 0},
	{"a socket", "GET /socket" + hosted, 404, "*", "", 0},

	// Request lines and headers.
	{"no Host", "GET /ten.txt HTTP/1.1\n", 400, "*", "", 400},
	{"two Hosts", getTen + "Host: y\n", 400, "*", "", 400},
	{"a Host with a space", "GET /ten.txt HTTP/1.1\nHost: a b\n", 400, "*", "", 400},
	{"a Host with a slash", "GET /ten.txt HTTP/1.1\nHost: a/b\n", 400, "*", "", 400},
	{"a forged Host", "GET /ten.txt HTTP/1.1\nHost: evil.example.com\nX-Forwarded-For: 10.0.0.1\n", 200, ten, "", 200},
	{"HTTP/1.0", "GET /ten.txt HTTP/1.0\n", 200, ten, "", 200},
	{"HTTP/2.0", "GET /ten.txt HTTP/2.0\nHost: x\n", 505, "*", "", 505},
	{"HTTP/9", "GET /ten.txt HTTP/9\nHost: x\n", 400, "*", "", 505},
	{"no version", "GET /ten.txt\n", 400, "*", "", 0},
	{"a small http", "GET /ten.txt http/1.1\nHost: x\n", 400, "*", "", 400},
	{"no HTTP at all", "hello\n", 400, "*", "", 400},
	{"the preface of HTTP/2", "PRI * HTTP/2.0\n\nSM\n", 405, "*", "", 0},
	{"a folded header", getTen + "X: a\n b\n", 200, ten, "", 0}, // RFC 9112 section 5.2: refuse, or read as a space
	{"bare line feeds", "GET /ten.txt HTTP/1.1\\NHost: x\\N", 200, ten, "", 200},
	{"a bare carriage return", getTen + "X: a\\Rb\n", 400, "*", "", 0},
	{"a NUL in a header", getTen + "X: a\x00b\n", 400, "*", "", 400},
	{"a header without a colon", getTen + "hello\n", 400, "*", "", 0},
	{"a space before the colon", getTen + "X : y\n", 400, "*", "", 0},
	{"a header without a name", getTen + ": y\n", 400, "*", "", 0},
	{"a large header", getTen + "X: " + strings.Repeat("a", 1<<20) + "\n", 431, "*", "", 400},
	{"many headers", getTen + strings.Repeat("X: a\n", 20_000), 431, "*", "", 0},
	{"a large target", "GET /" + strings.Repeat("a", 1<<20) + hosted, 431, "*", "", 414},
	{"an expectation", getTen + "Expect: 200-ok\n", 417, "*", "", 0},
	{"an upgrade", getTen + "Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABk\n", 200, ten, "", 200},

	// Bodies.
	{"a body", getTen + "Content-Length: 5\n\nhello", 400, "*", "Connection: close", 0},
	{"a body that never comes", getTen + "Content-Length: 5000\n", 400, "*", "Connection: close", 0},
	{"an empty body", getTen + "Content-Length: 0\n", 200, ten, "", 200},
	{"chunks", getTen + "Transfer-Encoding: chunked\n\n0\n\n", 400, "*", "Connection: close", 0},
	{"length and chunks", getTen + "Content-Length: 5\nTransfer-Encoding: chunked\n\n0\n\n", 400, "*", "Connection: close", 400},
	{"two lengths", getTen + "Content-Length: 5\nContent-Length: 6\n\nhello", 400, "*", "", 400},
	{"a list of lengths", getTen + "Content-Length: 5, 6\n\nhello", 400, "*", "", 400},
	{"a negative length", getTen + "Content-Length: -5\n", 400, "*", "", 400},
	{"a length with a sign", getTen + "Content-Length: +5\n\nhello", 400, "*", "", 400},
	{"another coding", getTen + "Transfer-Encoding: gzip, chunked\n\n0\n\n", 501, "*", "", 501},
	{"nearly chunked", getTen + "Transfer-Encoding: xchunked\n\n0\n\n", 501, "*", "", 501},

	// Methods.
	{"POST", "POST /ten.txt" + hosted, 405, "*", "Allow: GET, HEAD", 405},
	{"PUT", "PUT /new.txt" + hosted + "Content-Length: 1\n\nx", 405, "*", "Allow: GET, HEAD", 405},
	{"DELETE", "DELETE /ten.txt" + hosted, 405, "*", "Allow: GET, HEAD", 405},
	{"TRACE", "TRACE /ten.txt" + hosted, 405, "*", "Allow: GET, HEAD", 405},
	{"CONNECT", "CONNECT 10.0.0.1:22" + hosted, 405, "*", "Allow: GET, HEAD", 0},
	{"OPTIONS", "OPTIONS *" + hosted, 405, "*", "Allow: GET, HEAD", 0},
	{"an unknown method", "GETS /ten.txt" + hosted, 405, "*", "Allow: GET, HEAD", 405},
	{"a small method", "get /ten.txt" + hosted, 405, "*", "", 0},
	{"no method", " /ten.txt" + hosted, 400, "*", "", 400},

	// Validators.
	{"If-None-Match", getTen + "If-None-Match: $TAG\n", 304, "", "Etag: $TAG", 304},
	{"If-None-Match, HEAD", "HEAD /ten.txt" + hosted + "If-None-Match: $TAG\n", 304, "", "!Content-Type", 304},
	{"If-None-Match, weak", getTen + "If-None-Match: W/$TAG\n", 304, "", "", 304},
	{"If-None-Match, in a list", getTen + "If-None-Match: \"a\", $TAG\n", 304, "", "", 304},
	{"If-None-Match, any", getTen + "If-None-Match: *\n", 304, "", "", 304},
	{"If-None-Match, another", getTen + "If-None-Match: \"a\"\n", 200, ten, "", 200},
	{"If-None-Match, no tag", getTen + "If-None-Match: a\n", 200, ten, "", 200},
	{"If-None-Match before If-Modified-Since", getTen + "If-None-Match: \"a\"\nIf-Modified-Since: $DATE\n", 200, ten, "", 200},
	{"If-None-Match of what is not there", "GET /nope" + hosted + "If-None-Match: *\n", 404, "*", "!Etag", 404},
	{"If-Modified-Since", getTen + "If-Modified-Since: $DATE\n", 304, "", "", 304},
	{"If-Modified-Since, before", getTen + "If-Modified-Since: " + before + "\n", 200, ten, "", 200},
	{"If-Modified-Since, no date", getTen + "If-Modified-Since: yesterday\n", 200, ten, "", 200},
	{"If-Match", getTen + "If-Match: $TAG\n", 200, ten, "", 200},
	{"If-Match, any", getTen + "If-Match: *\n", 200, ten, "", 200},
	{"If-Match, another", getTen + "If-Match: \"a\"\n", 412, "*", "", 412},
	{"If-Match, weak", getTen + "If-Match: W/$TAG\n", 412, "*", "", 412},
	{"If-Unmodified-Since", getTen + "If-Unmodified-Since: $DATE\n", 200, ten, "", 200},
	{"If-Unmodified-Since, before", getTen + "If-Unmodified-Since: " + before + "\n", 412, "*", "", 412},
	{"If-Unmodified-Since, no date", getTen + "If-Unmodified-Since: x\n", 200, ten, "", 0},

	// Ranges.
	{"first bytes", getTen + "Range: bytes=0-3\n", 206, "0123", "Content-Range: bytes 0-3/10", 206},
	{"one byte", getTen + "Range: bytes=5-5\n", 206, "5", "Content-Length: 1", 206},
	{"the rest", getTen + "Range: bytes=7-\n", 206, "789", "Content-Range: bytes 7-9/10", 206},
	{"all", getTen + "Range: bytes=0-\n", 206, ten, "", 206},
	{"last bytes", getTen + "Range: bytes=-3\n", 206, "789", "Content-Range: bytes 7-9/10", 206},
	{"more last bytes than there are", getTen + "Range: bytes=-30\n", 206, ten, "Content-Range: bytes 0-9/10", 206},
	{"the last no bytes", getTen + "Range: bytes=-0\n", 416, "*", "Content-Range: bytes */10", 416},
	{"beyond the end", getTen + "Range: bytes=8-20\n", 206, "89", "Content-Range: bytes 8-9/10", 206},
	{"behind the end", getTen + "Range: bytes=10-\n", 416, "*", "Content-Range: bytes */10", 416},
	{"a huge end", getTen + "Range: bytes=8-99999999999999999999999\n", 206, "89", "", 0}, // nginx: 416
	{"a huge start", getTen + "Range: bytes=99999999999999999999999-\n", 416, "*", "", 416},
	{"a huge suffix", getTen + "Range: bytes=-99999999999999999999999\n", 206, ten, "", 0},
	{"the largest number", getTen + "Range: bytes=9223372036854775807-9223372036854775807\n", 416, "*", "", 416},
	{"backwards", getTen + "Range: bytes=5-2\n", 200, ten, "", 0}, // RFC 9110 section 14.2: ignore or reject
	{"no numbers", getTen + "Range: bytes=a-b\n", 200, ten, "", 0},
	{"hexadecimal", getTen + "Range: bytes=0x1-0x2\n", 200, ten, "", 0},
	{"signs", getTen + "Range: bytes=+1-+2\n", 200, ten, "", 0},
	{"two signs", getTen + "Range: bytes=--2\n", 200, ten, "", 0},
	{"no range", getTen + "Range: bytes=\n", 200, ten, "", 0},
	{"a dash", getTen + "Range: bytes=-\n", 200, ten, "", 0},
	{"another unit", getTen + "Range: lines=0-3\n", 200, ten, "", 0},
	{"no unit", getTen + "Range: 0-3\n", 200, ten, "", 0},
	{"the unit in capitals", getTen + "Range: BYTES=0-3\n", 206, "0123", "", 206},
	{"spaces", getTen + "Range: bytes= 0-3 \n", 206, "0123", "", 206},
	{"empty elements", getTen + "Range: bytes=,0-3,,\n", 206, "0123", "", 0},
	{"Range twice", getTen + "Range: bytes=0-3\nRange: bytes=5-6\n", 200, ten, "", 0},
	{"HEAD and Range", "HEAD /ten.txt" + hosted + "Range: bytes=0-3\n", 200, "", "Content-Length: 10", 0}, // for GET alone
	{"two ranges", getTen + "Range: bytes=0-1,5-6\n", 206, "*", "!Content-Range", 206},
	{"two, one behind the end", getTen + "Range: bytes=0-1,50-60\n", 206, "01", "Content-Range: bytes 0-1/10", 206},
	{"two, both behind the end", getTen + "Range: bytes=50-60,70-\n", 416, "*", "", 416},
	{"ranges that overlap to more than the file", getTen + "Range: bytes=0-9,0-9\n", 200, ten, "", 200},
	{"sixteen ranges", getLarge + many(maxRanges), 206, "*", "", 206},
	{"seventeen ranges", getLarge + many(maxRanges+1), 416, "*", "Content-Range: bytes */1000", 0},
	{"thousands of ranges", getLarge + many(1500), 416, "*", "", 0},
	{"a range of a listing", "GET /" + hosted + "Range: bytes=0-14\n", 206, "<!DOCTYPE html>", "", 0},
	{"many ranges of a listing", "GET /" + hosted + many(1500), 416, "*", "", 0},
	{"a range of an empty file", "GET /empty" + hosted + "Range: bytes=0-\n", 200, "", "Content-Length: 0", 0},
	{"the last bytes of an empty file", "GET /empty" + hosted + "Range: bytes=-5\n", 200, "", "", 0},
	{"If-Range", getTen + "Range: bytes=0-3\nIf-Range: $TAG\n", 206, "0123", "", 206},
	{"If-Range, weak", getTen + "Range: bytes=0-3\nIf-Range: W/$TAG\n", 200, ten, "", 200},
	{"If-Range, another", getTen + "Range: bytes=0-3\nIf-Range: \"a\"\n", 200, ten, "", 200},
	{"If-Range, date", getTen + "Range: bytes=0-3\nIf-Range: $DATE\n", 206, "0123", "", 206},
	{"If-Range, date before", getTen + "Range: bytes=0-3\nIf-Range: " + before + "\n", 200, ten, "", 200},
	{"If-Range, date behind", getTen + "Range: bytes=0-3\nIf-Range: " + behind + "\n", 200, ten, "", 200},
	{"If-Range without Range", getTen + "If-Range: \"a\"\n", 200, ten, "", 200},
	{"If-Range, another, and behind the end", getTen + "Range: bytes=50-\nIf-Range: \"a\"\n", 200, ten, "", 200},
	{"Range and If-None-Match", getTen + "Range: bytes=0-3\nIf-None-Match: $TAG\n", 304, "", "", 304},
	{"Range and If-Match", getTen + "Range: bytes=0-3\nIf-Match: \"a\"\n", 412, "*", "", 412},
}

// wireRoot fills the folder that is shown.
func wireRoot(t *testing.T, g *rig) string {
	t.Helper()
	g.write(t, "secret", "secret")
	for name, content := range map[string]string{
		"ten.txt": ten, "empty": "", "large": strings.Repeat(ten, 100), "sub/f.txt": "f", "ä.txt": "a", ".hidden": "secret", ".git/config": "secret",
	} {
		g.write(t, "root/"+name, content)
	}
	root := filepath.Join(g.dir, "root")
	for link, to := range map[string]string{"out": "../secret", "outside": "..", "within": "sub/f.txt", "absolute": filepath.Join(root, "ten.txt")} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mknod(filepath.Join(root, "null"), syscall.S_IFCHR|0o644, 1<<8|3); err != nil {
		t.Logf("no device is tested: %v", err) // it takes root
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(root, "socket"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if err := os.Chtimes(filepath.Join(root, "ten.txt"), modified, modified); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestWire(t *testing.T) {
	g := newRig(t, nil)
	wireRoot(t, g)
	run := func(t *testing.T) {
		tag := g.do(t, "HEAD", poolAddr, "/ten.txt").Header.Get("Etag")
		for _, c := range wireCases {
			t.Run(c.name, func(t *testing.T) {
				a := exchangeWire(t, g.server, c, tag)
				if a.StatusCode != c.status {
					t.Fatalf("%s, want %d: %.200q", a.Status, c.status, a.body)
				}
				if c.body != "*" && a.body != c.body {
					t.Errorf("body %.80q, want %q", a.body, c.body)
				}
				if strings.Contains(a.body, "secret") || strings.Contains(a.body, g.dir) {
					t.Errorf("the answer tells what it must not: %.200q", a.body)
				}
				name, want, ok := strings.Cut(strings.ReplaceAll(c.header, "$TAG", tag), ": ")
				not := strings.HasPrefix(name, "!")
				if got, there := a.Header[nethttp.CanonicalHeaderKey(strings.TrimPrefix(name, "!"))]; not && there || ok && (len(got) != 1 || got[0] != want) {
					if name != "Connection" || !a.Close { // the reader takes that header away
						t.Errorf("header %q, want %q", got, c.header)
					}
				}
			})
		}
	}
	t.Run("from disk", run)
	eventually(t, "the file is cached", func() bool {
		g.do(t, "GET", poolAddr, "/ten.txt")
		return g.state.Load().cache.find("/ten.txt") != nil
	})
	t.Run("from memory", run)
}

// What this server is measured by: nginx says the same where a static server
// has no choice.
func TestWireOfNginx(t *testing.T) {
	netns.Tools(t, "nginx")
	g := newRig(t, nil)
	server := startNginx(t, wireRoot(t, g))
	st, err := os.Stat(filepath.Join(g.dir, "root", "ten.txt"))
	if err != nil {
		t.Fatal(err)
	}
	tag := fmt.Sprintf(`"%x-%x"`, st.ModTime().Unix(), st.Size())
	for _, c := range wireCases {
		if c.nginx == 0 {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			if a := exchangeWire(t, server, c, tag); a.StatusCode != c.nginx {
				t.Errorf("%s, want %d", a.Status, c.nginx)
			}
		})
	}
}

// exchangeWire sends the request of c and reads the answer, whose connection ends in time.
func exchangeWire(t *testing.T, server netip.AddrPort, c wireCase, tag string) answer {
	t.Helper()
	text := strings.NewReplacer("$TAG", tag, "$DATE", modified.Format(nethttp.TimeFormat)).Replace(c.request)
	text = strings.NewReplacer("\n", "\r\n", `\N`, "\n", `\R`, "\r").Replace(text)
	if !strings.Contains(text, "\r\n\r\n") {
		text += "\r\n"
	}
	method, _, _ := strings.Cut(text, " ")
	var err error
	for range 3 { // who sends much more than is read may lose the answer to the reset behind it
		var a answer
		if a, err = tryWire(server, method, text); err == nil {
			return a
		}
	}
	t.Fatal(err)
	return answer{}
}

func tryWire(server netip.AddrPort, method, text string) (answer, error) {
	conn, err := net.Dial("tcp", server.String())
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	sent := make(chan struct{})
	go func() { // a server may answer, and stop reading, before it has all
		defer close(sent)
		io.WriteString(conn, text)
	}()
	defer func() {
		conn.Close()
		<-sent
	}()
	resp, err := nethttp.ReadResponse(bufio.NewReader(conn), &nethttp.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(resp.Body)
	return answer{resp, string(body)}, err
}

func startNginx(t *testing.T, root string) netip.AddrPort {
	t.Helper()
	dir, server := t.TempDir(), freeport.On(t, "127.0.0.2")
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log;
events { worker_connections 64; }
http { access_log off; sendfile on;
  client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  server { listen %[2]s; root %[3]s; autoindex on; } }
`, dir, server, root)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nginx", "-c", conf, "-e", filepath.Join(dir, "error.log"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	eventually(t, "nginx listens: "+out.String(), func() bool {
		c, err := net.Dial("tcp", server.String())
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return server
}
