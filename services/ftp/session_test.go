package ftp

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"helperd/internal/freeport"
	"helperd/plan"
	"helperd/services"
	"helperd/timeline"
)

func TestReadOnly(t *testing.T) {
	g := newRig(t, nil)
	c := g.login(t, nodeAddr)
	for _, command := range []string{
		"STOR x", "STOU", "APPE hello.txt", "DELE hello.txt", "RMD sub", "XRMD sub", "MKD sub", "XMKD sub", "RNFR hello.txt", "RNTO x", "SITE CHMOD 777 hello.txt",
		"SITE CHMOD", "MFMT 20200101000000 hello.txt", "ALLO 5", "COMB a b", "HASH hello.txt", "XSHA256 hello.txt", "AVBL",
		"PORT 127,0,0,1,0,25", "EPRT |1|127.0.0.1|25|", "LPRT 4,4,127,0,0,1,2,0,25", "AUTH TLS", "PROT P", "PBSZ 0", "REIN", "CONF", "BOGUS", "stor x",
	} {
		c.want(t, "502", command)
	}
	if entries, _ := os.ReadDir(g.dir + "/root"); len(entries) != 1 {
		t.Errorf("the folder has %v", entries)
	}
	if body, _ := c.fetch(t, "RETR hello.txt"); body != "hello\n" {
		t.Errorf("the file is %q", body)
	}
}

func TestOnlyAnonymous(t *testing.T) {
	g := newRig(t, nil)
	c := g.dial(t, nodeAddr)
	c.reply(t)
	c.want(t, "530", "RETR hello.txt")
	c.want(t, "530", "SIZE hello.txt")
	c.want(t, "530", "STOR x")
	c.want(t, "331", "USER root")
	if got := c.want(t, "530", "PASS x"); !strings.Contains(got, "anonymous") {
		t.Errorf("%q does not say how", got)
	}
	c = g.dial(t, nodeAddr)
	c.reply(t)
	c.want(t, "331", "USER FTP")
	c.want(t, "230", "PASS x")
}

func TestOnlyMachineNetworks(t *testing.T) {
	g := newRig(t, func(g *rig) {
		g.plan.FTP.Machines = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		g.server = freeport.On(t, helperAddr)
		g.plan.FTP.Listen = []netip.AddrPort{g.server}
	})
	if st := g.state.Load(); st.machine(netip.MustParseAddr("203.0.113.1")) || !st.machine(netip.MustParseAddr("192.0.2.7")) || !st.machine(g.node.IP) {
		t.Error("the machines are others")
	}
}

func TestPassivePorts(t *testing.T) {
	g := newRig(t, nil)
	c := g.login(t, nodeAddr)
	at := c.passive(t)
	if r := g.plan.FTP.PassivePorts; at.IP.String() != helperAddr || at.Port < int(r.First) || at.Port > int(r.Last) {
		t.Errorf("PASV says %s, want %s and a port of %v", at, helperAddr, r)
	}
	got := c.want(t, "229", "EPSV")
	var port int
	if _, err := fmt.Sscanf(got[strings.IndexByte(got, '('):], "(|||%d|)", &port); err != nil {
		t.Errorf("%q: %v", got, err)
	}
	if c, err := net.DialTCP("tcp4", nil, at); err == nil && port != at.Port {
		c.Close()
		t.Error("the port of the PASV before is still open")
	}
	// What a stranger connects to is not his, and the client gets its file nonetheless.
	at = c.passive(t)
	thief, err := net.DialTCP("tcp4", &net.TCPAddr{IP: net.ParseIP(otherAddr)}, at)
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	d, err := net.DialTCP("tcp4", &net.TCPAddr{IP: net.ParseIP(nodeAddr)}, at)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c.want(t, "150", "RETR hello.txt")
	if b, _ := io.ReadAll(thief); len(b) != 0 {
		t.Errorf("the stranger got %q", b)
	}
	if b, _ := io.ReadAll(d); string(b) != "hello\n" {
		t.Errorf("the client got %q", b)
	}
	c.reply(t)
}

// A client that never comes to its port must not keep it from others.
func TestPassivePortsAreShared(t *testing.T) {
	g := newRig(t, func(g *rig) { g.claim = time.Second })
	var cs []*client
	for range maxPending {
		c := g.login(t, otherAddr)
		c.passive(t)
		cs = append(cs, c)
	}
	c := g.login(t, otherAddr)
	if got := c.do(t, "PASV"); !strings.HasPrefix(got, "421") {
		t.Errorf("the %dth port that waits: %q", maxPending+1, got)
	}
	if body, _ := g.login(t, nodeAddr).fetch(t, "RETR hello.txt"); body != "hello\n" {
		t.Error("another client gets no port")
	}
	eventually(t, "the ports are given up", func() bool { return g.pending.Open() == 0 })
	if body, _ := c.fetch(t, "RETR hello.txt"); body != "hello\n" {
		t.Error("no port after the others were given up")
	}
	for range 3 * maxPending { // and none leaks
		cs[0].passive(t)
	}
	cs[0].Close()
	eventually(t, "the ports of a session end with it", func() bool { return g.pending.Open() == 0 })
}

func TestClientThatOpensNoDataConnection(t *testing.T) {
	g := newRig(t, func(g *rig) { g.claim = time.Second })
	c := g.login(t, nodeAddr)
	if got := c.do(t, "RETR hello.txt"); !strings.HasPrefix(got, "550") {
		t.Errorf("RETR without PASV: %q", got)
	}
	c.passive(t)
	if got := c.do(t, "RETR hello.txt"); !strings.HasPrefix(got, "425") {
		t.Errorf("RETR without a data connection: %q", got)
	}
	g.happened(t, func(e *timeline.Event) bool {
		return e.Kind == timeline.FTPFailed && strings.Contains(e.Detail, "passive ports")
	})
	if body, _ := c.fetch(t, "RETR hello.txt"); body != "hello\n" {
		t.Error("the session did not survive it")
	}
}

func TestSessionsPerClient(t *testing.T) {
	g := newRig(t, nil)
	var cs []*client
	for range maxPerClient {
		cs = append(cs, g.login(t, otherAddr))
	}
	c := g.dial(t, otherAddr)
	if got, _ := c.tryReply(); !strings.HasPrefix(got, "421 ") {
		t.Errorf("the %dth session: %q", maxPerClient+1, got)
	}
	g.login(t, nodeAddr)
	cs[0].want(t, "221", "QUIT")
	eventually(t, "a session ended", func() bool { return g.clients.Open() == maxPerClient })
	g.login(t, otherAddr)
}

// A flood of sessions takes so much and no more, and gives it back.
func TestSessionsInTotal(t *testing.T) {
	g := newRig(t, nil)
	before := runtime.NumGoroutine()
	var cs []*client
	for i := range maxSessions {
		cs = append(cs, g.login(t, fmt.Sprintf("127.0.0.%d", 100+i/maxPerClient)))
	}
	if got, _ := g.dial(t, nodeAddr).tryReply(); !strings.HasPrefix(got, "421 ") {
		t.Errorf("session %d: %q", maxSessions+1, got)
	}
	if most := before + 3*maxSessions; runtime.NumGoroutine() > most {
		t.Errorf("%d goroutines for %d sessions", runtime.NumGoroutine()-before, maxSessions)
	}
	for _, c := range cs {
		c.Close()
	}
	eventually(t, "all is given back", func() bool { return g.clients.Open() == 0 && runtime.NumGoroutine() <= before+5 })
}

func TestSilentClients(t *testing.T) {
	g := newRig(t, func(g *rig) { g.Service.login, g.idle = time.Second, 2*time.Second })
	for name, c := range map[string]*client{"never logs in": g.dial(t, otherAddr), "says nothing": g.login(t, otherAddr)} {
		if got, err := io.ReadAll(c.in); err != nil || !strings.Contains(string(got), "421 ") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// A long download says nothing on the control connection, which is no reason to cut it.
func TestLongDownload(t *testing.T) {
	g := newRig(t, func(g *rig) { g.idle = time.Second })
	want := g.put(t, "rootfs.img", 16<<20)
	c := g.login(t, nodeAddr)
	d := c.data(t)
	d.SetReadBuffer(64 << 10)
	c.want(t, "150", "RETR "+rootfsPath)
	var got strings.Builder
	for begun := time.Now(); time.Since(begun) < 2500*time.Millisecond; time.Sleep(100 * time.Millisecond) {
		if _, err := io.CopyN(&got, d, 64<<10); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.Copy(&got, d); err != nil {
		t.Fatal(err)
	}
	if got.String() != want {
		t.Errorf("%d of %d bytes came", got.Len(), len(want))
	}
	if answer := c.reply(t); !strings.HasPrefix(answer, "226") {
		t.Errorf("%q", answer)
	}
	g.happened(t, func(e *timeline.Event) bool {
		return e.Kind == timeline.FTPGet && e.Bytes == 16<<20 && e.Total == 16<<20
	})
}

func TestStalledClientIsCut(t *testing.T) {
	g := newRig(t, func(g *rig) { g.stall = 300 * time.Millisecond })
	g.put(t, "rootfs.img", 32<<20)
	c := g.login(t, nodeAddr)
	d := c.data(t)
	d.SetReadBuffer(4 << 10)
	c.want(t, "150", "RETR "+rootfsPath)
	g.happened(t, func(e *timeline.Event) bool {
		return e.Kind == timeline.FTPFailed && strings.Contains(e.Detail, "took nothing")
	})
	c.reply(t)
	c.want(t, "200", "NOOP")
}

func TestBrokenDownload(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "rootfs.img", 32<<20)
	c := g.login(t, nodeAddr)
	d := c.data(t)
	d.SetLinger(0)
	c.want(t, "150", "RETR "+rootfsPath)
	d.Close()
	e := g.happened(t, func(e *timeline.Event) bool { return e.Kind == timeline.FTPFailed })
	if e.Total != 32<<20 || e.Bytes >= e.Total || e.File != rootfsPath || e.Node != g.node.FQDN {
		t.Errorf("event %+v", e)
	}
	c.reply(t)
	c.data(t)
	c.want(t, "150", "RETR "+rootfsPath)
	io.WriteString(c, "\xff\xf4\xff\xf2ABOR\r\n") // as Telnet's interrupt
	if got := c.reply(t) + c.reply(t); !strings.Contains(got, "226 ") {
		t.Errorf("ABOR: %q", got)
	}
	c.want(t, "200", "NOOP")
}

func TestReload(t *testing.T) {
	g := newRig(t, nil)
	want := g.put(t, "rootfs.img", 32<<20)
	c := g.login(t, nodeAddr)
	d := c.data(t)
	c.want(t, "150", "RETR "+rootfsPath)
	next := *g.plan
	next.FTP.Files = []plan.File{{Path: "/artifacts/new/kernel", File: g.dir + "/vmlinuz"}}
	next.FTP.PassivePorts = plan.PortRange{First: g.plan.FTP.PassivePorts.First + 100, Last: g.plan.FTP.PassivePorts.Last + 100}
	g.apply(t, &next)
	if b, err := io.ReadAll(d); err != nil || string(b) != want {
		t.Errorf("the download has %d of %d bytes after a reload: %v", len(b), len(want), err)
	}
	if answer := c.reply(t); !strings.HasPrefix(answer, "226") {
		t.Errorf("%q", answer)
	}
	c.want(t, "550", "SIZE "+kernelPath)
	c.want(t, "213", "SIZE /artifacts/new/kernel")
	if at := g.login(t, nodeAddr).passive(t); at.Port < int(next.FTP.PassivePorts.First) {
		t.Errorf("a new session gets port %d", at.Port)
	}
	off := next
	off.FTP = plan.FTP{}
	g.apply(t, &off)
	c.want(t, "550", "SIZE hello.txt")
	if s := g.Status(); s.State != services.Disabled {
		t.Errorf("status %+v", s)
	}
	g.apply(t, g.plan)
	if body, _ := g.login(t, nodeAddr).fetch(t, "RETR hello.txt"); body != "hello\n" {
		t.Error("not served after it was switched on again")
	}
}

func TestHeldPort(t *testing.T) {
	var holder net.Listener
	g := newRig(t, func(g *rig) {
		var err error
		if holder, err = net.Listen("tcp4", g.server.String()); err != nil {
			t.Fatal(err)
		}
	})
	if s := g.Status(); s.State != services.Degraded || !strings.Contains(s.Problem, fmt.Sprintf("(pid %d)", os.Getpid())) {
		t.Errorf("status %+v", s)
	}
	if err := g.Check(t.Context()); err != nil {
		t.Error(err)
	}
	holder.Close()
	eventually(t, "the port is taken", func() bool { return g.Status().State == services.Up })
	g.login(t, nodeAddr)
	if err := g.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCheckSeesADeadServer(t *testing.T) {
	g := newRig(t, nil)
	if err := g.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if g.Check(ctx) == nil {
		t.Error("a server that does not accept passes")
	}
}

func TestPanicEndsOneSession(t *testing.T) {
	g := newRig(t, nil)
	other := g.login(t, nodeAddr)
	g.fuse.Arm()
	c := g.dial(t, otherAddr)
	if got, err := io.ReadAll(c.in); err != nil || len(got) > 0 {
		t.Errorf("got %q, %v", got, err)
	}
	if name := <-g.panics; name != "ftp session" {
		t.Errorf("panic in %s", name)
	}
	other.want(t, "200", "NOOP")
	g.login(t, otherAddr)
	// The library recovers panics of commands; they are reported nonetheless.
	g.state.Store(&state{})
	other.want(t, "550", "MDTM hello.txt")
	if name := <-g.panics; name != "ftp command" {
		t.Errorf("panic in %s", name)
	}
	io.WriteString(other, "SIZE hello.txt\r\n")
	if got, err := io.ReadAll(other.in); err != nil || len(got) > 0 {
		t.Errorf("after a panic while it reads: %q, %v", got, err)
	}
	if name := <-g.panics; name != "ftp command" {
		t.Errorf("panic in %s", name)
	}
	g.apply(t, g.plan)
}

func TestStop(t *testing.T) {
	g := newRig(t, nil)
	want := g.put(t, "rootfs.img", 16<<20)
	idle := g.login(t, otherAddr)
	c := g.login(t, nodeAddr)
	d := c.data(t)
	c.want(t, "150", "RETR "+rootfsPath)
	done := make(chan struct{})
	go func() {
		g.stop()
		close(done)
	}()
	if _, err := idle.tryReply(); err == nil {
		t.Error("an idle session goes on")
	}
	if b, err := io.ReadAll(d); err != nil || string(b) != want {
		t.Errorf("the download has %d of %d bytes: %v", len(b), len(want), err)
	}
	<-done
}

func TestIPv6(t *testing.T) {
	g := newRig(t, func(g *rig) {
		l, err := net.Listen("tcp6", "[::1]:0")
		if err != nil {
			t.Fatal(err)
		}
		g.server = l.Addr().(*net.TCPAddr).AddrPort()
		l.Close()
		g.plan.FTP.Listen = append(g.plan.FTP.Listen, g.server)
	})
	conn, err := net.Dial("tcp6", g.server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := newClient(conn.(*net.TCPConn))
	c.reply(t)
	c.want(t, "331", "USER ftp")
	c.want(t, "230", "PASS x")
	c.want(t, "502", "PASV")
	got := c.want(t, "229", "EPSV 2")
	var port uint16
	if _, err := fmt.Sscanf(got[strings.IndexByte(got, '('):], "(|||%d|)", &port); err != nil {
		t.Fatal(err)
	}
	d, err := net.Dial("tcp6", netip.AddrPortFrom(g.server.Addr(), port).String())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c.want(t, "150", "RETR hello.txt")
	if b, _ := io.ReadAll(d); string(b) != "hello\n" {
		t.Errorf("got %q", b)
	}
}

func FuzzCommands(f *testing.F) {
	for _, s := range []string{"USER anonymous\r\n", "STOR x\r\n", "\xff\xf4\xff\xf2ABOR\r\n", "retr a b\n", "\r\n", "PROT P\r\n", "PASV\n", "RETR a\rSTOR b\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if i := strings.IndexByte(string(line), '\n'); i < 0 || i != len(line)-1 {
			return // lines come one at a time
		}
		out := string(pass(line, len(line)%2 == 0))
		verb, _, _ := strings.Cut(strings.TrimRight(out, "\r\n"), " ")
		if out != refusal && !known[strings.ToUpper(verb)] {
			t.Errorf("%q passes as %q", line, out)
		}
		if strings.Count(out, "\n") != 1 || !strings.HasSuffix(out, "\n") {
			t.Errorf("%q becomes %q, which is not one line", line, out)
		}
	})
}
