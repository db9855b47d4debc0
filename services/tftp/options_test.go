package tftp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"helperd/plan"
	"helperd/services/tftp/packet"
	"helperd/timeline"
)

func TestOptions(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 3000)
	tests := []struct {
		name string
		ask  []string
		want []string // nil: DATA at once
	}{
		{"none", nil, nil},
		{"unknown ones are passed over", []string{"multicast", "", "blksize2", "1024"}, nil},
		{"OVMF", []string{"tsize", "0", "blksize", "1468", "windowsize", "4"}, []string{"tsize", "3000", "blksize", "1468", "windowsize", "4"}},
		{"in the order asked", []string{"windowsize", "4", "tsize", "0", "timeout", "3", "blksize", "1024"}, []string{"windowsize", "4", "tsize", "3000", "timeout", "3", "blksize", "1024"}},
		{"names in any case", []string{"BlkSize", "1024", "TSIZE", "0"}, []string{"BlkSize", "1024", "TSIZE", "3000"}},
		{"smallest block", []string{"blksize", "8"}, []string{"blksize", "8"}},
		{"block below the smallest", []string{"blksize", "7"}, nil},
		{"block above the MTU", []string{"blksize", "65464"}, []string{"blksize", "1468"}},
		{"block above the largest", []string{"blksize", "65465"}, []string{"blksize", "1468"}},
		{"no number", []string{"blksize", "1k", "tsize", "-1", "windowsize", "+4"}, nil},
		{"window above the cap", []string{"windowsize", "65535"}, []string{"windowsize", "64"}},
		{"window zero", []string{"windowsize", "0"}, nil},
		{"window before a block", []string{"windowsize", "64", "blksize", "1468"}, []string{"windowsize", "64", "blksize", "1468"}},
		{"timeout out of range", []string{"timeout", "0", "timeout", "256"}, nil},
		{"twice", []string{"blksize", "512", "blksize", "1024"}, []string{"blksize", "512"}},
		{"half understood", []string{"x", "y", "tsize", "0"}, []string{"tsize", "3000"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := g.dial(t)
			w.ask(packet.OpRead, append([]string{"f", "octet"}, tt.ask...)...)
			if tt.want == nil {
				if n := len(w.data(1)); n != 512 {
					t.Errorf("first block has %d bytes, want 512", n)
				}
			} else if diff := cmp.Diff(tt.want, w.oack()); diff != "" {
				t.Error(diff)
			}
			w.raw(w.tid, []byte{0, packet.OpError, 0, 0, 0})
		})
	}
}

// Every refusal is told at once: firmware that gets no answer asks again for
// half a minute and more, and shows nothing of it.
func TestRefusals(t *testing.T) {
	g := newRig(t, func(p *plan.Plan) {
		p.TFTP.Files = []plan.File{
			{Path: "/artifacts/rhcos/kernel", File: "/nonexistent/kernel"},
			{Path: "/artifacts/far/kernel", URL: "http://mirror.example.com/kernel"},
		}
	})
	g.put(t, "f", 100)
	g.put(t, ".hidden", 100)
	g.put(t, "folder/f", 100)
	if err := os.Symlink("/etc/passwd", filepath.Join(g.plan.TFTP.Root, "leads-out")); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("n", 300)
	tests := []struct {
		name   string
		packet string
		code   uint16
	}{
		{"no such file", "\x00\x01nope\x00octet\x00", packet.CodeNotFound},
		{"no such folder", "\x00\x01nope/f\x00octet\x00", packet.CodeNotFound},
		{"the root", "\x00\x01/\x00octet\x00", packet.CodeNotFound},
		{"a folder", "\x00\x01folder\x00octet\x00", packet.CodeNotFound},
		{"a hidden file", "\x00\x01.hidden\x00octet\x00", packet.CodeNotFound},
		{"a name that is too long", "\x00\x01" + long + "\x00octet\x00", packet.CodeNotFound},
		{"out of the root", "\x00\x01../../etc/passwd\x00octet\x00", packet.CodeNotFound},
		{"out of the root by a link", "\x00\x01leads-out\x00octet\x00", packet.CodeAccess},
		{"an artifact that is missing", "\x00\x01artifacts/rhcos/kernel\x00octet\x00", packet.CodeNotFound},
		{"an artifact that is not fetched", "\x00\x01artifacts/far/kernel\x00octet\x00", packet.CodeNotFound},
		{"the boot file of no node", "\x00\x01pxelinux.cfg/01-52-54-00-00-00-99\x00octet\x00", packet.CodeNotFound},
		{"with options", "\x00\x01nope\x00octet\x00tsize\x000\x00blksize\x001468\x00", packet.CodeNotFound},
		{"as text", "\x00\x01nope\x00netascii\x00", packet.CodeNotFound},
		{"write", "\x00\x02f\x00octet\x00", packet.CodeAccess},
		{"write of a new file", "\x00\x02new\x00octet\x00blksize\x001468\x00", packet.CodeAccess},
		{"write of nothing", "\x00\x02", packet.CodeIllegal},
		{"mail", "\x00\x01f\x00mail\x00", packet.CodeIllegal},
		{"an unknown mode", "\x00\x01f\x00image\x00", packet.CodeIllegal},
		{"no mode", "\x00\x01f\x00", packet.CodeIllegal},
		{"mode without end", "\x00\x01f\x00octet", packet.CodeIllegal},
		{"no name", "\x00\x01\x00octet\x00", packet.CodeIllegal},
		{"nothing", "\x00\x01", packet.CodeIllegal},
		{"option without value", "\x00\x01f\x00octet\x00tsize\x00", packet.CodeIllegal},
		{"option without end", "\x00\x01f\x00octet\x00tsize\x000", packet.CodeIllegal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := g.dial(t)
			begun := time.Now()
			w.raw(g.server, []byte(tt.packet))
			text := w.refusal(tt.code)
			if d := time.Since(begun); d > time.Second { // well below a millisecond, on a machine at rest
				t.Errorf("told after %v", d)
			}
			if strings.Contains(text, g.dir) || strings.Contains(text, "/nonexistent") {
				t.Errorf("%q shows a path of the server", text)
			}
			w.silence(20 * time.Millisecond) // and once
		})
	}
	for _, stray := range []string{"", "\x00", "\x00\x03\x00\x01x", "\x00\x04\x00\x01", "\x00\x05\x00\x00x\x00", "\x00\x06", "\x09\x09zzzz"} {
		w := g.dial(t)
		w.raw(g.server, []byte(stray))
		w.silence(50 * time.Millisecond)
	}
}

func TestPaddedRequest(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 100)
	w := g.dial(t)
	w.raw(g.server, []byte("\x00\x01f\x00octet\x00tsize\x000\x00\x00\x00\x00\x00"))
	if diff := cmp.Diff([]string{"tsize", "100"}, w.oack()); diff != "" {
		t.Error(diff)
	}
}

// UEFI firmware reads the size from the OACK and stops; that is no failure.
func TestSizeProbe(t *testing.T) {
	g := newRig(t, nil)
	g.put(t, "f", 5000)
	w := g.dial(t)
	w.ask(packet.OpRead, "f", "octet", "tsize", "0", "blksize", "1468", "windowsize", "4")
	w.oack()
	w.raw(w.tid, []byte("\x00\x05\x00\x08User aborted the transfer\x00"))
	w.ask(packet.OpRead, "f", "octet", "blksize", "1468", "windowsize", "4")
	w.oack()
	w.ack(0)
	w.fetch(1468, 4, nil)
	g.seen(t, timeline.TFTPGet, "/f")
	for _, e := range g.events.Since(0) {
		if e.Kind == timeline.TFTPFailed {
			t.Errorf("event %+v", e)
		}
	}
}
