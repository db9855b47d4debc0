package tftp

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pin "github.com/pin/tftp/v3"

	"helperd/internal/netns"
	"helperd/plan"
	"helperd/services"
	"helperd/timeline"
)

// get fetches a file in lock step.
func (g *rig) get(t *testing.T, file string) []byte {
	t.Helper()
	w := g.dial(t)
	w.ask(opRead, file, "octet")
	return w.fetch(512, 1, nil)
}

func TestPaths(t *testing.T) {
	g := newRig(t, nil)
	g.write(t, "sub/f", []byte("inside"))
	g.write(t, ".hidden", []byte("hidden"))
	g.write(t, "sub/.hidden/f", []byte("hidden"))
	root := g.plan.TFTP.Root
	secret := filepath.Join(g.dir, "secret")
	if err := os.WriteFile(secret, []byte("outside"), 0o644); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		"absolute": secret, "relative": "../secret", "folder": "..", "within": "sub/f", "loop": "loop",
	} {
		if err := os.Symlink(to, filepath.Join(root, from)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		ask  string
		code uint16 // 0: the file inside
	}{
		{"sub/f", 0},
		{"/sub/f", 0},
		{"//sub///f", 0},
		{`sub\f`, 0},
		{`\sub\f`, 0},
		{"./sub/./f", 0},
		{"x/../sub/f", 0},
		{"../../sub/f", 0}, // dots end at the root of the server
		{"within", 0},
		{"../secret", codeNotFound},
		{`..\secret`, codeNotFound},
		{"/../../../../../../etc/passwd", codeNotFound},
		{"sub/../../secret", codeNotFound},
		{"%2e%2e/secret", codeNotFound},
		{secret, codeNotFound},
		{"absolute", codeAccess},
		{"relative", codeAccess},
		{"folder/secret", codeAccess},
		{"loop", codeAccess},
		{".hidden", codeNotFound},
		{"sub/.hidden/f", codeNotFound},
		{"sub", codeNotFound},
		{"sub/", codeNotFound},
		{"sub/f/x", codeNotFound},
		{"", codeIllegal},
		{"/", codeNotFound},
		{"fifo", codeNotFound},
		{strings.Repeat("a", 300), codeNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.ask, func(t *testing.T) {
			w := g.dial(t)
			w.ask(opRead, tt.ask, "octet")
			if tt.code != 0 {
				if text := w.refusal(tt.code); strings.Contains(text, g.dir) {
					t.Errorf("%q shows a path of the server", text)
				}
				return
			}
			if got := w.data(1); string(got) != "inside" {
				t.Errorf("got %q", got)
			}
			w.ack(1)
		})
	}
}

func TestMisses(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "kernel")
	g := newRig(t, func(p *plan.Plan) {
		p.TFTP.Files = []plan.File{
			{Path: "/artifacts/rhcos/kernel", File: missing},
			{Path: "/artifacts/far/kernel", URL: "http://mirror.example.com/kernel"},
		}
	})
	for _, probe := range []string{
		"revocations_sku.efi", "EFI/BOOT/revocations_sbat.efi", "shim_certificate_0.efi", "/boot/grub/x86_64-efi/command.lst", "fs.lst",
		"pxelinux.cfg/564d1c2e-9f4e-6c3a-8f5c-1b2c3d4e5f60", "pxelinux.cfg/C0A84",
	} {
		w := g.dial(t)
		w.ask(opRead, probe, "octet")
		w.refusal(codeNotFound)
	}
	if events := g.events.Since(0); len(events) > 0 {
		t.Errorf("probes of firmware made events: %+v", events)
	}
	for file, why := range map[string]string{
		"/nope":                   "there is no such file",
		"/artifacts/rhcos/kernel": "put it there",
		"/artifacts/far/kernel":   "only the file's url is known",
	} {
		w := g.dial(t)
		w.ask(opRead, file, "octet")
		w.refusal(codeNotFound)
		if e := g.seen(t, timeline.TFTPMiss, file); why != "there is no such file" && !strings.Contains(e.Detail, why) {
			t.Errorf("%s: event says %q, want %q", file, e.Detail, why)
		}
	}
	status := g.Status()
	if status.State != services.Degraded || !strings.Contains(status.Problem, missing) {
		t.Errorf("status %+v does not name %s", status, missing)
	}
	if err := os.WriteFile(missing, []byte("vmlinuz"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := g.get(t, "artifacts/rhcos/kernel"); string(got) != "vmlinuz" {
		t.Errorf("after the file appeared: %q", got)
	}
	if status := g.Status(); strings.Contains(status.Problem, missing) {
		t.Errorf("status still says %q", status.Problem)
	}
}

func TestNetascii(t *testing.T) {
	g := newRig(t, nil)
	g.write(t, "f", []byte("one\ntwo\r\nthree\rend"))
	big := bytes.Repeat([]byte("line\n"), 300_000)
	g.write(t, "big", big) // beyond one block, one window and one buffer
	w := g.dial(t)
	w.ask(opRead, "f", "NetASCII", "tsize", "0", "blksize", "8")
	if diff := cmp.Diff([]string{"blksize", "8"}, w.oack()); diff != "" {
		t.Errorf("the size of a converted file is not known: %s", diff)
	}
	w.ack(0)
	if got, want := string(w.fetch(8, 1, nil)), "one\r\ntwo\r\x00\r\nthree\r\x00end"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	w = g.dial(t)
	w.ask(opRead, "big", "netascii", "blksize", "1024", "windowsize", "16")
	w.oack()
	w.ack(0)
	got := w.fetch(1024, 16, func(n int) bool { return n == 40 || n == 333 })
	if want := bytes.ReplaceAll(big, []byte("\n"), []byte("\r\n")); !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want %d; or they differ", len(got), len(want))
	}
	if e := g.seen(t, timeline.TFTPGet, "/big"); e.Bytes != e.Total || e.Total != int64(len(got)) {
		t.Errorf("event %+v", e)
	}
}

// A file above the cache's size is read as it goes; one that shrinks meanwhile ends with an ERROR.
func TestLargeFile(t *testing.T) {
	g := newRig(t, nil)
	want := g.put(t, "big", cacheLargest+12_345)
	w := g.dial(t)
	w.ask(opRead, "big", "octet", "blksize", "1468", "windowsize", "64")
	w.oack()
	w.ack(0)
	if got := w.fetch(1468, 64, func(n int) bool { return n == 200 }); !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want %d; or they differ", len(got), len(want))
	}
	w = g.dial(t)
	w.ask(opRead, "big", "octet")
	w.data(1)
	if err := os.Truncate(filepath.Join(g.plan.TFTP.Root, "big"), 100_000); err != nil {
		t.Fatal(err)
	}
	for n := uint16(1); ; n++ {
		w.ack(n)
		p := w.next(soon)
		if p[1] == opError {
			break
		}
		if n > 300 {
			t.Fatal("no ERROR at the new end of the file")
		}
	}
	if e := g.seen(t, timeline.TFTPFailed, "/big"); !strings.Contains(e.Detail, "changed") {
		t.Errorf("event %+v", e)
	}
}

func TestCache(t *testing.T) {
	g := newRig(t, nil)
	g.write(t, "f", []byte("old"))
	if got := g.get(t, "f"); string(got) != "old" {
		t.Fatalf("got %q", got)
	}
	g.write(t, "f", []byte("new"))
	if got := g.get(t, "f"); string(got) != "new" {
		t.Errorf("got %q after the file was replaced", got)
	}
	c := newCache(1000)
	open := func(name string, size int) []byte {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, bytes.Repeat([]byte("x"), size), 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		b, ok, err := c.get(f, st)
		if err != nil || ok != (size <= 1000) {
			t.Errorf("%s: cached %v, %v", name, ok, err)
		}
		return b
	}
	for _, size := range []int{400, 500, 600, 1001, 1000, 0} {
		if b := open("f", size); size <= 1000 && len(b) != size {
			t.Errorf("got %d bytes, want %d", len(b), size)
		}
		if c.used > c.budget {
			t.Errorf("%d bytes are cached, over the budget", c.used)
		}
	}
}

func TestPinClient(t *testing.T) {
	g := newRig(t, nil)
	want := g.put(t, "f", 1_000_001)
	for _, block := range []int{512, 1468, 8192} {
		c, err := pin.NewClient(g.server.String())
		if err != nil {
			t.Fatal(err)
		}
		c.SetBlockSize(block)
		c.RequestTSize(true)
		from, err := c.Receive("f", "octet")
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := from.(pin.IncomingTransfer).Size(); !ok || n != int64(len(want)) {
			t.Errorf("tsize %d, %v", n, ok)
		}
		var got bytes.Buffer
		if _, err := from.WriteTo(&got); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("blksize %d: %d bytes, %v", block, got.Len(), err)
		}
	}
	c, err := pin.NewClient(g.server.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Send("f", "octet"); err == nil {
		t.Error("a write was allowed")
	}
}

func TestRealClients(t *testing.T) {
	g := newRig(t, nil)
	want := g.put(t, "dir/f", 300_007)
	out := filepath.Join(t.TempDir(), "out")
	host, port := g.server.Addr().String(), g.server.Port()
	for name, args := range map[string][]string{
		"tftp": {host, strconv.Itoa(int(port)), "-m", "binary", "-c", "get", "dir/f", out},
		"curl": {"-sS", "-o", out, "--tftp-blksize", "1400", "tftp://" + g.server.String() + "//dir/f"},
	} {
		t.Run(name, func(t *testing.T) {
			netns.Tools(t, name)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if text, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

// Transfers that run while the configuration changes lose nothing, and the
// address that is gone afterwards still ends what it began.
func TestReloadDuringTransfers(t *testing.T) {
	g := newRig(t, nil)
	want := g.put(t, "f", 400_000)
	moved := *g.plan
	other := freePort(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := pin.NewClient(g.server.String())
				if err != nil {
					t.Error(err)
					return
				}
				c.SetRetries(1) // a lost request fails
				from, err := c.Receive("f", "octet")
				if err != nil {
					t.Error(err)
					return
				}
				var got bytes.Buffer
				if _, err := from.WriteTo(&got); err != nil || !bytes.Equal(got.Bytes(), want) {
					t.Errorf("%d bytes, %v", got.Len(), err)
					return
				}
			}
		})
	}
	for i := range 20 {
		p := *g.plan
		if i%2 == 1 {
			p.TFTP.Listen = append(p.TFTP.Listen[:1:1], other)
		}
		g.apply(t, &p)
		time.Sleep(20 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	w := g.dial(t)
	w.ask(opRead, "f", "octet", "blksize", "1468", "windowsize", "4")
	w.oack()
	moved.TFTP.Listen = append(moved.TFTP.Listen[:0:0], other)
	g.apply(t, &moved)
	w.ack(0)
	if got := w.fetch(1468, 4, nil); !bytes.Equal(got, want) {
		t.Errorf("after the address moved: %d bytes", len(got))
	}
	w.server = other
	w.ask(opRead, "f", "octet")
	w.data(1)
	if err := g.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPanicEndsOneRequest(t *testing.T) {
	g := newRig(t, nil)
	want := g.put(t, "f", 200_000)
	running := g.dial(t)
	running.ask(opRead, "f", "octet")
	running.data(1)
	g.fuse.Arm()
	w := g.dial(t)
	w.ask(opRead, "f", "octet")
	select {
	case <-g.panics:
	case <-time.After(time.Second):
		t.Fatal("no panic was reported")
	}
	w.ask(opRead, "f", "octet") // the client repeats its request
	if got := w.fetch(512, 1, nil); !bytes.Equal(got, want) {
		t.Errorf("after the panic: %d bytes", len(got))
	}
	running.ack(1)
	running.data(2)
	if err := g.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCheckAndStatus(t *testing.T) {
	g := newRig(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := g.Check(ctx); err != nil {
		t.Error(err)
	}
	if s := g.Status(); s.State != services.Up || len(s.Listeners) != 1 || !s.Listeners[0].Bound {
		t.Errorf("status %+v", s)
	}
	if events := g.events.Since(0); len(events) > 0 {
		t.Errorf("the check left a trace: %+v", events)
	}
	p := *g.plan
	p.TFTP.Enabled = false
	g.apply(t, &p)
	if err := g.Check(ctx); err != nil {
		t.Errorf("disabled: %v", err)
	}
	if s := g.Status(); s.State != services.Disabled {
		t.Errorf("status %+v", s)
	}
}

func TestPrepareTakesAndGivesBack(t *testing.T) {
	g := newRig(t, nil)
	p := *g.plan
	other := freePort(t)
	p.TFTP.Listen = append(p.TFTP.Listen[:1:1], other)
	c, err := g.Prepare(t.Context(), &p)
	if err != nil {
		t.Fatal(err)
	}
	c.Discard()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := ask(ctx, other); err == nil {
		t.Error("the discarded address answers")
	}
	if err := g.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// A stop takes no new request and lets what runs come to its end.
func TestDrain(t *testing.T) {
	g := newRig(t, nil)
	want := g.put(t, "f", 100_000)
	w, late := g.dial(t), g.dial(t)
	w.ask(opRead, "f", "octet", "windowsize", "4")
	w.oack()
	g.stop()
	time.Sleep(50 * time.Millisecond)
	late.ask(opRead, "f", "octet")
	late.silence(50 * time.Millisecond)
	w.ack(0)
	if got := w.fetch(512, 4, nil); !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
}

// A port that somebody else holds is named, and taken when it is free.
func TestPortHeld(t *testing.T) {
	var other *net.UDPConn
	g := newRig(t, func(p *plan.Plan) {
		var err error
		if other, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(p.TFTP.Listen[0])); err != nil {
			t.Fatal(err)
		}
	})
	g.put(t, "f", 100)
	if s := g.Status(); s.State != services.Degraded || !strings.Contains(s.Problem, "is held by") {
		t.Errorf("status %+v", s)
	}
	if err := g.Check(t.Context()); err != nil {
		t.Errorf("while the port is held: %v", err)
	}
	other.Close()
	for range 300 {
		if g.Status().State == services.Up {
			g.get(t, "f")
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("status %+v", g.Status())
}
