package tftp

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"helperd/plan"
	"helperd/services"
	"helperd/services/tftp/packet"
	"helperd/timeline"
)

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
		{"../secret", packet.CodeNotFound},
		{`..\secret`, packet.CodeNotFound},
		{"/../../../../../../etc/passwd", packet.CodeNotFound},
		{"sub/../../secret", packet.CodeNotFound},
		{"%2e%2e/secret", packet.CodeNotFound},
		{secret, packet.CodeNotFound},
		{"absolute", packet.CodeAccess},
		{"relative", packet.CodeAccess},
		{"folder/secret", packet.CodeAccess},
		{"loop", packet.CodeAccess},
		{".hidden", packet.CodeNotFound},
		{"sub/.hidden/f", packet.CodeNotFound},
		{"sub", packet.CodeNotFound},
		{"sub/", packet.CodeNotFound},
		{"sub/f/x", packet.CodeNotFound},
		{"", packet.CodeIllegal},
		{"/", packet.CodeNotFound},
		{"fifo", packet.CodeNotFound},
		{strings.Repeat("a", 300), packet.CodeNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.ask, func(t *testing.T) {
			w := g.dial(t)
			w.ask(packet.OpRead, tt.ask, "octet")
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
		w.ask(packet.OpRead, probe, "octet")
		w.refusal(packet.CodeNotFound)
	}
	if events := g.events.Since(0); len(events) > 0 {
		t.Errorf("probes of firmware made events: %+v", events)
	}
	for file, why := range map[string]string{
		"/nope":                   "there is no such file",
		"/artifacts/rhcos/kernel": "put it there",
		"/artifacts/far/kernel":   "is not on the helper yet",
	} {
		w := g.dial(t)
		w.ask(packet.OpRead, file, "octet")
		w.refusal(packet.CodeNotFound)
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

// A name that a client makes up does not drive the terminal of who reads the events.
func TestEventsArePrintable(t *testing.T) {
	g := newRig(t, nil)
	w := g.dial(t)
	w.ask(packet.OpRead, "a\x1b[2Jb\u009b31m"+string([]byte{0xff}), "octet")
	w.refusal(packet.CodeNotFound)
	e := g.seen(t, timeline.TFTPMiss, "/a?[2Jb?31m?")
	if strings.ContainsAny(e.Detail, "\x1b\u009b") || !utf8.ValidString(e.Detail) {
		t.Errorf("the event says %q", e.Detail)
	}
}
