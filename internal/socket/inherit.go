package socket

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"helperd/internal/fdstore"
)

// A Store keeps copies of the table's sockets for the next process, such as systemd's fdstore.Store.
type Store interface {
	Keep(name string, fds []int) error
	Forget(name string) error
}

// Keep makes the table put every socket that it binds from now on into s, and take out what
// it gives up. Close then leaves them open there, with all that is queued in them.
func (t *Table) Keep(s Store) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.store = s
}

// Inherit takes over sockets of the process before. Each waits for the Acquire of
// its key and is then used as it is, whatever the number of shards. What is not
// what its name says is closed.
func (t *Table) Inherit(files []fdstore.File) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range files {
		k, ok := parseName(f.Name)
		for _, fd := range f.FDs {
			err := fmt.Errorf("the name is not one of this version")
			if ok {
				err = verify(k, fd)
			}
			if err == nil && slices.ContainsFunc(t.inherited[k], func(have int) bool { return sameSocket(have, fd) }) {
				_ = unix.Close(fd) // it came by execve and from systemd
				continue
			}
			if err != nil {
				t.log.Warn("inherited descriptor is not used", "name", f.Name, "err", err)
				_ = unix.Close(fd)
				continue
			}
			_ = unix.SetNonblock(fd, true)
			t.inherited[k] = append(t.inherited[k], fd)
		}
		if !ok || len(t.inherited[k]) == 0 {
			t.forget(f.Name)
		}
	}
}

// Settle closes what was inherited and nobody asked for. It comes after the first configuration is served.
func (t *Table) Settle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, fds := range t.inherited {
		t.log.Info("inherited socket is not in the configuration any more", "socket", k.String())
		t.forget(k.storeName())
		for _, fd := range fds {
			closeSocket(fd)
		}
	}
	clear(t.inherited)
}

// Handover gives all bound sockets, for a program that takes this process's place.
func (t *Table) Handover() []fdstore.File {
	t.mu.Lock()
	defer t.mu.Unlock()
	var files []fdstore.File
	for k, s := range t.sockets {
		if len(s.fds) > 0 {
			files = append(files, fdstore.File{Name: k.storeName(), FDs: s.fds})
		}
	}
	return files
}

// bind gives the inherited sockets of k, or opens new ones. The caller holds mu.
func (t *Table) bind(k Key, o Options) ([]int, error) {
	fds := t.inherited[k]
	if fds == nil {
		return open(k, o)
	}
	delete(t.inherited, k)
	for _, fd := range fds {
		setLater(fd, o)
	}
	return fds, nil
}

// keep puts new sockets into the store. The caller holds mu.
func (t *Table) keep(k Key, fds []int) {
	if t.store == nil {
		return
	}
	if err := t.store.Keep(k.storeName(), fds); err != nil {
		t.log.Warn("socket is not kept over a restart", "socket", k.String(), "err", err)
	}
}

// forget takes sockets out of the store. The caller holds mu.
func (t *Table) forget(name string) {
	if t.store == nil {
		return
	}
	if err := t.store.Forget(name); err != nil {
		t.log.Warn("socket is not taken out of the store", "name", name, "err", err)
	}
}

// verify says why fd is not a socket as open makes it for k.
func verify(k Key, fd int) error {
	kind, proto := unix.SOCK_DGRAM, unix.IPPROTO_UDP
	if k.Network == "tcp" {
		kind, proto = unix.SOCK_STREAM, unix.IPPROTO_TCP
	}
	for _, want := range []struct {
		option, value int
		what          string
	}{{unix.SO_TYPE, kind, "type"}, {unix.SO_PROTOCOL, proto, "protocol"}} {
		got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, want.option)
		if err != nil {
			return err
		}
		if got != want.value {
			return fmt.Errorf("its %s is %d, not %d", want.what, got, want.value)
		}
	}
	if k.Network == "tcp" {
		if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listens == 0 {
			return fmt.Errorf("it does not listen")
		}
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	_, want := sockaddr(k.Addr)
	if got, want := addrPort(sa), addrPort(want); got != want {
		return fmt.Errorf("it is bound to %s", got)
	}
	device, err := unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
	if err != nil && k.Device != "" { // its interface is gone
		return err
	}
	if device != k.Device {
		return fmt.Errorf("it is bound to the interface %q", device)
	}
	return nil
}

// addrPort gives the zone as an index: names may change.
func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		a := netip.AddrFrom16(sa.Addr)
		if sa.ZoneId != 0 {
			a = a.WithZone(fmt.Sprint(sa.ZoneId))
		}
		return netip.AddrPortFrom(a, uint16(sa.Port))
	}
	return netip.AddrPort{}
}

func sameSocket(a, b int) bool {
	var x, y unix.Stat_t
	return unix.Fstat(a, &x) == nil && unix.Fstat(b, &y) == nil && x.Dev == y.Dev && x.Ino == y.Ino
}
