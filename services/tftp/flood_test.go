package tftp

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/netns"
	"helperd/services/tftp/packet"
)

// Requests that nobody answers, from one address by 3,000 ports and from 20,000
// forged addresses, while others boot: a node and a stranger are served as if
// nothing were, and the server's sockets and memory stay bounded.
func TestFlood(t *testing.T) {
	netns.Require(t)
	server, client := netns.New(t), netns.New(t)
	netns.Link(t, server, client, "192.0.2.1/24", "192.0.2.2/24")
	client.IP(t, "address", "add", "192.0.2.3/24", "dev", "eth0")
	server.IP(t, "route", "add", "default", "via", "192.0.2.2") // where answers to the forged vanish
	dir := t.TempDir()
	want := strings.Repeat("0123456789abcdef", 30_000)
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
	pid := serveIn(t, server, serveEnv+"=192.0.2.1:69", rootEnv+"="+dir, nodeEnv+"=192.0.2.2")

	boot := func(from string) time.Duration {
		t.Helper()
		var w *wire
		client.Do(t, func() {
			g := &rig{server: netip.MustParseAddrPort("192.0.2.1:69")}
			w = g.dialFrom(t, from)
		})
		begun := time.Now()
		var p []byte
		for try := 0; p == nil; try++ { // a request may be lost in the flood, as on any LAN
			if try == 10 {
				t.Fatalf("%s gets no answer", from)
			}
			w.ask(packet.OpRead, "f", "octet", "blksize", "1468")
			p = w.next(time.Second)
		}
		if p[1] != packet.OpOACK {
			t.Fatalf("%s got %.40q, want an OACK", from, p)
		}
		w.ack(0)
		if got := w.fetch(1468, 1, nil); string(got) != want {
			t.Errorf("%s: %d bytes, want %d", from, len(got), len(want))
		}
		return time.Since(begun)
	}
	boot("192.0.2.2") // the cache is filled
	calm := max(boot("192.0.2.2"), boot("192.0.2.3"))
	sockets, memory := usage(t, pid)

	fd := -1
	client.Do(t, func() {
		var err error
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW); err != nil {
			t.Fatal(err)
		}
	})
	defer unix.Close(fd)
	forge := func(from netip.Addr, port uint16) {
		t.Helper()
		if err := unix.Sendto(fd, forgedRequest(from, port), 0, &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 1}}); err != nil {
			t.Fatal(err)
		}
	}
	crowded := func(what string) {
		t.Helper()
		for _, from := range []string{"192.0.2.2", "192.0.2.3"} {
			if took := boot(from); took > 10*calm+5*time.Second {
				t.Errorf("%s: %s needed %v, and %v before", what, from, took, calm)
			} else {
				t.Logf("%s: %s needed %v, and %v before", what, from, took, calm)
			}
		}
	}
	one := netip.MustParseAddr("198.51.100.7")
	for i := range 3000 {
		forge(one, uint16(2000+i))
	}
	crowded("3,000 requests of one address")
	if now, _ := usage(t, pid); now > sockets+2*maxPerClient+10 { // a socket and a file each
		t.Errorf("%d descriptors, %d before: one address holds more than its share", now, sockets)
	}
	for i := range 20_000 {
		forge(netip.AddrFrom4([4]byte{10, 66, byte(i / 250), byte(1 + i%250)}), 2000)
	}
	crowded("20,000 forged addresses")
	nowSockets, nowMemory := usage(t, pid)
	t.Logf("%d descriptors and %d MB, before %d and %d MB", nowSockets, nowMemory>>10, sockets, memory>>10)
	if nowSockets > sockets+2*(maxTransfers+maxEnding) {
		t.Errorf("%d descriptors, %d before", nowSockets, sockets)
	}
	if nowMemory > memory+64<<10 {
		t.Errorf("%d KB of memory, %d before", nowMemory, memory)
	}
}

// forgedRequest is an IPv4 packet with an RRQ that from:port did not send.
func forgedRequest(from netip.Addr, port uint16) []byte {
	const headers = 20 + 8
	payload := "\x00\x01f\x00octet\x00"
	p := make([]byte, headers, headers+len(payload))
	p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_UDP // the kernel fills in length and checksum
	copy(p[12:], from.AsSlice())
	copy(p[16:], []byte{192, 0, 2, 1})
	binary.BigEndian.PutUint16(p[20:], port)
	binary.BigEndian.PutUint16(p[22:], 69)
	binary.BigEndian.PutUint16(p[24:], uint16(8+len(payload))) // no checksum: 0
	return append(p, payload...)
}

// usage is what a process holds: descriptors, and resident memory in KB.
func usage(t *testing.T, pid int) (descriptors, memory int) {
	t.Helper()
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	fds, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); f[0] == "VmRSS:" {
			memory, _ = strconv.Atoi(f[1])
		}
	}
	return len(fds), memory
}
