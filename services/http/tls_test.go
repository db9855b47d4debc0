package http

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helperd/internal/freeport"
	"helperd/internal/netns"
	"helperd/services"
	"helperd/timeline"
)

// secured gives the rig's plan an HTTPS port.
func secured(t *testing.T) (func(*rig), netip.AddrPort) {
	t.Helper()
	server := freeport.On(t, "127.0.0.2")
	return func(g *rig) {
		g.plan.HTTP.TLS.Listen = []netip.AddrPort{server}
		g.plan.HTTP.TLS.Names = []string{"helper", "helper.ocp4.example.com"}
		g.plan.HTTP.TLS.Addresses = []netip.Addr{server.Addr()}
	}, server
}

// trusting is a client with an address of its own that trusts the helper's authority.
func (g *rig) trusting(t *testing.T, addr string) *nethttp.Client {
	t.Helper()
	pool := x509.NewCertPool()
	if a := g.do(t, "GET", poolAddr, authorityPath); a.StatusCode != 200 || !pool.AppendCertsFromPEM([]byte(a.body)) {
		t.Fatalf("%s: %s", a.Status, a.body)
	}
	client := from(addr)
	client.Transport.(*nethttp.Transport).TLSClientConfig = &tls.Config{RootCAs: pool}
	return client
}

func TestHTTPS(t *testing.T) {
	edit, server := secured(t)
	g := newRig(t, edit)
	want := string(g.put(t, "rootfs.img", 8<<20))
	g.do(t, "GET", workerAddr, "/boot/52-54-00-00-00-02.ipxe")
	resp, err := g.trusting(t, workerAddr).Get("https://" + server.String() + rootfsPath)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != want || resp.Proto != "HTTP/1.1" || resp.TLS.Version != tls.VersionTLS13 {
		t.Errorf("%d bytes by %s, TLS %x: %v", len(body), resp.Proto, resp.TLS.Version, err)
	}
	if e := g.seen(t, timeline.HTTPGet, rootfsPath); e.Node != g.worker.FQDN || e.Bytes != int64(len(want)) {
		t.Errorf("event %+v", e)
	}
	if r := g.line(t, rootfsPath); !r.TLS || r.Bytes != int64(len(want)) || !r.Complete {
		t.Errorf("%+v", r)
	}
	if !g.host.Nodes.State(g.worker).RootfsDone {
		t.Error("the rootfs does not count")
	}
	// The same gate.
	resp, err = g.trusting(t, poolAddr).Get("https://" + server.String() + ignPath)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != 403 {
		t.Errorf("ignition: %s", resp.Status)
	}
	if err := g.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if s := g.Status(); len(s.Listeners) != 2 || s.State != services.Up {
		t.Errorf("status %+v", s)
	}
	// Old versions are refused, and so is plain HTTP at this port.
	if _, err := tls.Dial("tcp", server.String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	c, err := net.Dial("tcp", server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET /ten.txt HTTP/1.1\r\nHost: x\r\n\r\n")
	if text, _ := io.ReadAll(c); strings.Contains(string(text), " 200 ") {
		t.Errorf("plain HTTP: %s", text)
	}
}

// Who downloads by HTTPS is seen on his way, and pauses like by HTTP.
func TestProgressOverTLS(t *testing.T) {
	edit, server := secured(t)
	g := newRig(t, edit)
	g.put(t, "rootfs.img", 32<<20)
	resp, err := g.trusting(t, workerAddr).Get("https://" + server.String() + rootfsPath)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf, half := make([]byte, 1<<20), false
	for {
		if _, err = io.ReadFull(resp.Body, buf); err != nil {
			break
		}
		time.Sleep(60 * time.Millisecond)
		for _, e := range g.events.Since(0) {
			half = half || e.Kind == timeline.HTTPGet && e.File == rootfsPath && e.Bytes > 0 && e.Bytes < e.Total
		}
	}
	if err != io.EOF || !half {
		t.Errorf("%v; on its way: %t", err, half)
	}
}

// Switching HTTPS off and on keeps the certificate's authority; two ports may change places.
func TestHTTPSReload(t *testing.T) {
	edit, server := secured(t)
	g := newRig(t, edit)
	client := g.trusting(t, poolAddr)
	status := func(url string) string {
		resp, err := client.Get(url)
		if err != nil {
			return "none"
		}
		resp.Body.Close()
		return resp.Status
	}
	swapped := *g.plan
	swapped.HTTP.Listen, swapped.HTTP.TLS.Listen = g.plan.HTTP.TLS.Listen, g.plan.HTTP.Listen
	g.apply(t, &swapped)
	if a, b := status("https://"+g.server.String()+kernelPath), status("http://"+server.String()+kernelPath); a != "200 OK" || b != "200 OK" {
		t.Errorf("swapped: %s and %s", a, b)
	}
	off := *g.plan
	off.HTTP.TLS.Listen = nil
	g.apply(t, &off)
	if a := g.do(t, "GET", poolAddr, authorityPath); a.StatusCode != 404 {
		t.Errorf("the authority while HTTPS is off: %s", a.Status)
	}
	eventually(t, "nothing listens there", func() bool { return status("https://"+server.String()+kernelPath) == "none" })
	g.apply(t, g.plan)
	if a := status("https://" + server.String() + kernelPath); a != "200 OK" {
		t.Errorf("on again: %s", a)
	}
}

// A broken authority takes HTTPS away, says what to do, and nothing else.
func TestBrokenAuthority(t *testing.T) {
	edit, _ := secured(t)
	g := newRig(t, func(g *rig) {
		edit(g)
		g.write(t, "ca.pem", "nonsense")
	})
	if s := g.Status(); s.State != services.Degraded || !strings.Contains(s.Problem, "no HTTPS: ") || !strings.Contains(s.Problem, "move it away") {
		t.Errorf("status %+v", s)
	}
	if a := g.do(t, "GET", workerAddr, kernelPath); a.StatusCode != 200 {
		t.Error(a.Status)
	}
	if err := os.Remove(filepath.Join(g.dir, "ca.pem")); err != nil {
		t.Fatal(err)
	}
	g.apply(t, g.plan)
	if s := g.Status(); s.State != services.Up {
		t.Errorf("after the remedy: %+v", s)
	}
}

// A handshake has the time of a header, and a connection without one counts like any other.
func TestSlowHandshake(t *testing.T) {
	edit, server := secured(t)
	g := newRig(t, func(g *rig) {
		edit(g)
		g.header = time.Second
	})
	c, err := net.Dial("tcp", server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte{22, 3, 1, 1, 0}) // the begin of a hello
	eventually(t, "it is counted", func() bool { return g.clients.Open() == 1 })
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("the connection lives: %v", err)
	}
	eventually(t, "it is counted no more", func() bool { return g.clients.Open() == 0 })
}

// Over TLS, too, a client that takes nothing is cut, and a file that shrinks is no whole file.
func TestBrokenOverTLS(t *testing.T) {
	edit, server := secured(t)
	g := newRig(t, func(g *rig) {
		edit(g)
		g.stall = time.Second
	})
	g.put(t, "rootfs.img", 64<<20)
	open := func() (*tls.Conn, *nethttp.Response) {
		c, err := tls.Dial("tcp", server.String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", rootfsPath)
		resp, err := nethttp.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		return c, resp
	}
	open()
	if e := g.seen(t, timeline.HTTPFailed, rootfsPath); !strings.Contains(e.Detail, "less than") || e.Bytes == e.Total {
		t.Errorf("event %+v", e)
	}
	_, resp := open()
	if err := os.Truncate(filepath.Join(g.dir, "rootfs.img"), 1<<20); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Errorf("the client took %d bytes for the whole", n)
	}
}

func TestCurlTrustsTheAuthority(t *testing.T) {
	netns.Tools(t, "curl")
	edit, server := secured(t)
	g := newRig(t, edit)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, []byte(g.do(t, "GET", poolAddr, authorityPath).body), 0o644); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("helper.ocp4.example.com:%d", server.Port())
	for _, args := range [][]string{
		{"https://" + server.String() + kernelPath},
		{"--resolve", name + ":" + server.Addr().String(), "https://" + name + kernelPath},
		{"-r", "0-9", "https://" + server.String() + kernelPath},
	} {
		if out, err := exec.CommandContext(t.Context(), "curl", append([]string{"-sSf", "-o", "/dev/null", "--cacert", ca}, args...)...).CombinedOutput(); err != nil {
			t.Errorf("curl %q: %v: %s", args, err, out)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "curl", "-sSf", "https://"+server.String()+kernelPath).CombinedOutput(); err == nil {
		t.Errorf("curl trusts without the authority: %s", out)
	}
}
