package socket

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/fdstore"
	"helperd/internal/freeport"
)

// shelf is a Store that duplicates what it gets, as systemd does.
type shelf map[string][]int

func (s shelf) Keep(name string, fds []int) error {
	if s[name] == nil {
		for _, fd := range fds {
			dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				return err
			}
			s[name] = append(s[name], dup)
		}
	}
	return nil
}

func (s shelf) Forget(name string) error {
	for _, fd := range s[name] {
		_ = unix.Close(fd)
	}
	delete(s, name)
	return nil
}

// files gives all that is stored to the next process.
func (s shelf) files() (out []fdstore.File) {
	for name, fds := range s {
		f := fdstore.File{Name: name}
		for _, fd := range fds {
			dup, _ := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
			f.FDs = append(f.FDs, dup)
		}
		out = append(out, f)
	}
	return out
}

func TestNamesOfSockets(t *testing.T) {
	for _, k := range []Key{
		{Network: "tcp", Addr: netip.MustParseAddrPort("192.168.67.2:6443")},
		{Network: "udp", Addr: netip.MustParseAddrPort("0.0.0.0:67"), Device: "eth0"},
		{Network: "udp", Addr: netip.MustParseAddrPort("[fe80::1%br_0]:53"), Device: "br/0 ü"},
		{Network: "tcp", Addr: netip.MustParseAddrPort("[fd00::2]:443")},
	} {
		name := k.storeName()
		for _, c := range name {
			if c <= ' ' || c == ':' || c > '~' {
				t.Errorf("%q has a character that systemd does not take", name)
			}
		}
		if got, ok := parseName(name); !ok || got != k {
			t.Errorf("%q is read as %v, %t, want %v", name, got, ok, k)
		}
	}
	for _, name := range []string{"", "stored", "tcp", "tcp/x/", "icmp/10.0.0.1%3A1/", "tcp/10.0.0.1%3A1/%zz", "tcp/10.0.0.1%3A1//"} {
		if k, ok := parseName(name); ok {
			t.Errorf("%q is read as %v", name, k)
		}
	}
}

// A listener and a UDP socket with all that waits in them outlive the table, whatever number of shards is asked for then.
func TestSocketsOutliveTheTable(t *testing.T) {
	store := shelf{}
	first := newTable(t)
	first.Keep(store)
	port := freeport.On(t, "127.0.0.1")
	tcp, udp := Key{Network: "tcp", Addr: port}, Key{Network: "udp", Addr: port}
	for _, k := range []Key{tcp, udp} {
		if _, err := first.Acquire(k, Options{Shards: 2}); err != nil {
			t.Fatal(err)
		}
	}
	var clients []net.Conn
	for i := range 8 { // spread over the shards
		c, err := net.Dial("tcp", port.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, i)
		d, err := net.Dial("udp", port.String())
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		fmt.Fprint(d, i)
		clients = append(clients, c)
	}
	first.Close()
	if c, err := net.DialTimeout("tcp", port.String(), time.Second); err != nil {
		t.Errorf("connect between two processes: %v", err)
	} else {
		_ = c.Close()
	}

	second := newTable(t)
	second.Keep(store)
	second.Inherit(append(store.files(), store.files()...)) // by execve and from systemd
	l, err := second.Acquire(tcp, Options{Shards: 3})
	if err != nil {
		t.Fatal(err)
	}
	u, err := second.Acquire(udp, Options{Buffer: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	second.Settle()
	if len(l.FDs()) != 2 || len(u.FDs()) != 2 {
		t.Fatalf("%d and %d shards, want the 2 that were inherited", len(l.FDs()), len(u.FDs()))
	}
	got := 0
	listeners, err := l.Listeners()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range listeners {
		defer l.Close()
		for {
			_ = l.SetDeadline(time.Now().Add(200 * time.Millisecond))
			c, err := l.AcceptTCP()
			if err != nil {
				break
			}
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			b := make([]byte, 1)
			if _, err := io.ReadFull(c, b); err == nil {
				got++
			}
			_ = c.Close()
		}
	}
	conns, err := u.PacketConns()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range conns {
		defer c.Close()
		for {
			_ = c.SetDeadline(time.Now().Add(200 * time.Millisecond))
			if _, _, err := c.ReadFrom(make([]byte, 8)); err != nil {
				break
			}
			got++
		}
	}
	if got != 2*len(clients) {
		t.Errorf("%d of %d connections and datagrams arrived", got, 2*len(clients))
	}
}

// What the configuration does not ask for any more is refused again, and leaves the store.
func TestWhatIsNotAskedForIsClosed(t *testing.T) {
	store := shelf{}
	first := newTable(t)
	first.Keep(store)
	gone, released := Key{Network: "tcp", Addr: freeport.On(t, "127.0.0.1")}, Key{Network: "tcp", Addr: freeport.On(t, "127.0.0.1")}
	for _, k := range []Key{gone, released} {
		if _, err := first.Acquire(k, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	first.Close()
	second := newTable(t)
	second.Keep(store)
	second.Inherit(store.files())
	s, err := second.Acquire(released, Options{})
	if err != nil {
		t.Fatal(err)
	}
	second.Settle()
	s.Release()
	for _, k := range []Key{gone, released} {
		if c, err := net.DialTimeout("tcp", k.Addr.String(), time.Second); err == nil {
			_ = c.Close()
			t.Errorf("%s still listens", k)
		}
	}
	if len(store) != 0 {
		t.Errorf("the store still has %v", store)
	}
}

// Descriptors that are not what their name says are closed, and the address is bound anew.
func TestFalseDescriptorsAreNotUsed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port, other := netip.MustParseAddrPort(l.Addr().String()), freeport.On(t, "127.0.0.1")
	socket := func(kind int, listen bool, addr netip.AddrPort) int {
		fd, err := unix.Socket(unix.AF_INET, kind, 0)
		if err != nil {
			t.Fatal(err)
		}
		if addr.IsValid() {
			if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}); err != nil {
				t.Fatal(err)
			}
		}
		if listen {
			if err := unix.Listen(fd, 1); err != nil {
				t.Fatal(err)
			}
		}
		return fd
	}
	pair := make([]int, 2)
	if err := unix.Pipe(pair); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[1])
	name := Key{Network: "tcp", Addr: other}.storeName()
	files := []fdstore.File{
		{Name: name, FDs: []int{pair[0]}},
		{Name: name, FDs: []int{socket(unix.SOCK_DGRAM, false, netip.AddrPort{})}},
		{Name: name, FDs: []int{socket(unix.SOCK_STREAM, false, netip.AddrPort{})}},
		{Name: name, FDs: []int{socket(unix.SOCK_STREAM, true, freeport.On(t, "127.0.0.1"))}},
		{Name: "something else", FDs: []int{socket(unix.SOCK_STREAM, true, netip.AddrPort{})}},
		{Name: Key{Network: "udp", Addr: port, Device: "lo"}.storeName(), FDs: []int{socket(unix.SOCK_DGRAM, false, port)}},
	}
	tb := newTable(t)
	tb.Inherit(files)
	if len(slices.Concat(tb.inherited[Key{Network: "tcp", Addr: other}], tb.inherited[Key{Network: "udp", Addr: port, Device: "lo"}])) != 0 {
		t.Errorf("inherited %v", tb.inherited)
	}
	for _, f := range files {
		if _, err := unix.FcntlInt(uintptr(f.FDs[0]), unix.F_GETFD, 0); err == nil {
			t.Errorf("descriptor %d of %q is still open", f.FDs[0], f.Name)
		}
	}
	if _, err := tb.Acquire(Key{Network: "tcp", Addr: other}, Options{}); err != nil {
		t.Error(err)
	}
}
