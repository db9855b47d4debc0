package tftp

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"helperd/internal/freeport"
	"helperd/internal/netns"
	"helperd/services/tftp/packet"
)

// Cases of the standards that in.tftpd (tftpd-hpa), an implementation by other
// hands, passes by the same client: that proves the cases. Both servers have
// the file f of 5000 bytes, the file whole of 2 * 512, and the file empty.
var peerCases = []struct {
	name string
	run  func(t *testing.T, g *rig, f []byte)
}{
	{"RFC 1350: a file in lock step", func(t *testing.T, g *rig, f []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "f", "octet")
		if got := w.fetch(512, 1, nil); !bytes.Equal(got, f) {
			t.Errorf("%d bytes, or they differ", len(got))
		}
		w.silence(50 * time.Millisecond)
	}},
	{"RFC 1350: a full last block is followed by an empty one", func(t *testing.T, g *rig, _ []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "whole", "octet")
		for n, size := range []int{512, 512, 0} {
			if got := len(w.data(uint16(n + 1))); got != size {
				t.Errorf("block %d has %d bytes, want %d", n+1, got, size)
			}
			w.ack(uint16(n + 1))
		}
	}},
	{"RFC 1350: an empty file is one empty block", func(t *testing.T, g *rig, _ []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "empty", "octet")
		if got := w.data(1); len(got) != 0 {
			t.Errorf("%d bytes", len(got))
		}
		w.ack(1)
	}},
	{"RFC 1350: the answer has a port of its own", func(t *testing.T, g *rig, _ []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "f", "octet")
		w.data(1)
		if w.tid.Port() == g.server.Port() || w.tid.Addr() != g.server.Addr() {
			t.Errorf("asked %v, answered by %v", g.server, w.tid)
		}
		w.raw(w.tid, []byte{0, packet.OpError, 0, 0, 0})
	}},
	{"RFC 1350: modes in any case", func(t *testing.T, g *rig, _ []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "f", "OcTeT")
		w.data(1)
		w.raw(w.tid, []byte{0, packet.OpError, 0, 0, 0})
	}},
	{"RFC 1350: a lost block is sent again", func(t *testing.T, g *rig, _ []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "f", "octet")
		first := w.data(1)
		if again := w.data(1); !bytes.Equal(first, again) {
			t.Error("the block has changed")
		}
		w.raw(w.tid, []byte{0, packet.OpError, 0, 0, 0})
	}},
	{"RFC 1350: an ERROR ends a transfer without an answer", func(t *testing.T, g *rig, _ []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "f", "octet")
		w.data(1)
		w.raw(w.tid, []byte("\x00\x05\x00\x03full\x00"))
		w.silence(1300 * time.Millisecond)
	}},
	{"RFC 1350: a file that is not there", func(t *testing.T, g *rig, _ []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "nope", "octet")
		w.refusal(packet.CodeNotFound)
	}},
	{"RFC 1350: a read of netascii converts line ends", func(t *testing.T, g *rig, _ []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "text", "netascii")
		if got := w.data(1); string(got) != "one\r\ntwo\r\x00\r\n" {
			t.Errorf("got %q", got)
		}
		w.ack(1)
	}},
	{"RFC 1123: a repeated ACK is not answered", func(t *testing.T, g *rig, _ []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "f", "octet")
		w.data(1)
		w.ack(1)
		w.data(2)
		w.ack(1)
		w.silence(100 * time.Millisecond)
		w.ack(2)
		w.data(3)
		w.silence(100 * time.Millisecond)
		w.raw(w.tid, []byte{0, packet.OpError, 0, 0, 0})
	}},
	{"RFC 1350: an ACK of a block that was not sent is not answered", func(t *testing.T, g *rig, _ []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "f", "octet")
		w.data(1)
		w.ack(7)
		w.silence(100 * time.Millisecond)
		w.ack(1)
		w.data(2)
		w.raw(w.tid, []byte{0, packet.OpError, 0, 0, 0})
	}},
	{"RFC 2347: unknown options are passed over", func(t *testing.T, g *rig, _ []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "f", "octet", "colour", "blue")
		w.data(1)
		w.raw(w.tid, []byte{0, packet.OpError, 0, 0, 0})
	}},
	{"RFC 2347: known options are granted beside unknown ones", func(t *testing.T, g *rig, _ []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "f", "octet", "colour", "blue", "blksize", "1024")
		if diff := cmp.Diff([]string{"blksize", "1024"}, w.oack()); diff != "" {
			t.Error(diff)
		}
		w.raw(w.tid, []byte{0, packet.OpError, 0, 8, 0})
	}},
	{"RFC 2347: no DATA before ACK 0", func(t *testing.T, g *rig, f []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "f", "octet", "blksize", "1024")
		w.oack()
		w.silence(100 * time.Millisecond)
		w.ack(0)
		if got := w.fetch(1024, 1, nil); !bytes.Equal(got, f) {
			t.Errorf("%d bytes, or they differ", len(got))
		}
	}},
	{"RFC 2347: a lost OACK is sent again", func(t *testing.T, g *rig, _ []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "f", "octet", "blksize", "1024")
		first := w.oack()
		if again := w.oack(); !slices.Equal(first, again) {
			t.Errorf("%q, then %q", first, again)
		}
		w.raw(w.tid, []byte{0, packet.OpError, 0, 8, 0})
	}},
	{"RFC 2347: names in any case", func(t *testing.T, g *rig, _ []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "f", "octet", "BLKSIZE", "1024")
		if got := w.oack(); got[1] != "1024" {
			t.Errorf("OACK %q", got)
		}
		w.raw(w.tid, []byte{0, packet.OpError, 0, 8, 0})
	}},
	{"RFC 2348: the smallest block", func(t *testing.T, g *rig, f []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "f", "octet", "blksize", "8")
		if got := w.oack(); got[1] != "8" {
			t.Errorf("OACK %q", got)
		}
		w.ack(0)
		if got := w.fetch(8, 1, nil); !bytes.Equal(got, f) {
			t.Errorf("%d bytes, or they differ", len(got))
		}
	}},
	{"RFC 2349: tsize is the file's", func(t *testing.T, g *rig, _ []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "f", "octet", "tsize", "0")
		if diff := cmp.Diff([]string{"tsize", "5000"}, w.oack()); diff != "" {
			t.Error(diff)
		}
		w.raw(w.tid, []byte{0, packet.OpError, 0, 8, 0})
	}},
	{"RFC 2349: timeout is granted as asked", func(t *testing.T, g *rig, _ []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "f", "octet", "timeout", "2")
		if diff := cmp.Diff([]string{"timeout", "2"}, w.oack()); diff != "" {
			t.Error(diff)
		}
		begun := time.Now()
		w.oack()
		if d := time.Since(begun); d < 1800*time.Millisecond {
			t.Errorf("sent again after %v, want 2 s", d)
		}
		w.raw(w.tid, []byte{0, packet.OpError, 0, 8, 0})
	}},
	{"edk2: the size, an ERROR, and again from the same port", func(t *testing.T, g *rig, f []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "f", "octet", "tsize", "0", "blksize", "1468")
		w.oack()
		w.raw(w.tid, []byte("\x00\x05\x00\x08User aborted the transfer\x00"))
		w.ask(packet.OpRead, "f", "octet", "blksize", "1468")
		w.oack()
		w.ack(0)
		if got := w.fetch(1468, 1, nil); !bytes.Equal(got, f) {
			t.Errorf("%d bytes, or they differ", len(got))
		}
	}},
	{"a stranger's packets to the port of a transfer", func(t *testing.T, g *rig, _ []byte) {
		w, stranger := g.dial(t), g.dial(t)
		w.ask(packet.OpRead, "f", "octet")
		w.data(1)
		stranger.raw(w.tid, []byte{0, packet.OpACK, 0, 1})
		w.silence(100 * time.Millisecond)
		w.ack(1)
		w.data(2)
		w.raw(w.tid, []byte{0, packet.OpError, 0, 0, 0})
	}},
	{"dots do not lead out", func(t *testing.T, g *rig, _ []byte) {
		w := g.dial(t)
		w.ask(packet.OpRead, "../../../../etc/hostname", "octet")
		if p := w.next(soon); p == nil || p[1] != packet.OpError {
			t.Errorf("got %.40q, want an ERROR", p)
		}
	}},
}

func TestPeer(t *testing.T) {
	files := map[string][]byte{"whole": make([]byte, 1024), "empty": nil, "text": []byte("one\ntwo\r\n"), "f": make([]byte, 5000)}
	rand.NewChaCha8([32]byte{}).Read(files["f"])
	run := func(t *testing.T, g *rig) {
		for _, tt := range peerCases {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				tt.run(t, g, files["f"])
			})
		}
	}
	t.Run("helperd", func(t *testing.T) {
		g := newRig(t, nil)
		for name, b := range files {
			g.write(t, name, b)
		}
		run(t, g)
	})
	t.Run("in.tftpd", func(t *testing.T) {
		netns.Require(t) // it wants root
		netns.Tools(t, "in.tftpd")
		dir, err := os.MkdirTemp("", "helperd-tftp-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, b := range files {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		addr := freeport.On(t, "127.0.0.1")
		cmd := exec.Command("in.tftpd", "-L", "-u", "root", "-s", "-a", addr.String(), "-m", "/dev/null", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
		g := &rig{server: addr}
		if err := awaitAnswer(addr); err != nil {
			t.Fatal(err)
		}
		run(t, g)
	})
}

// awaitAnswer waits until a server answers at all.
func awaitAnswer(server netip.AddrPort) error {
	var err error
	for range 100 {
		var c *net.UDPConn
		if c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(server)); err != nil {
			return err
		}
		c.Write([]byte("\x00\x01nope\x00octet\x00"))
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		_, _, err = c.ReadFromUDPAddrPort(make([]byte, 100)) // from another port: not for a connected socket
		c.Close()
		if os.IsTimeout(err) { // nobody said that the port is closed
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}
