package socket

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// Holder names the process that holds the port of k, such as "named (pid
// 812)", or its user when the process is not ours to look into. It reads
// /proc; empty means that nobody was found.
func Holder(k Key) string { return holder(k) }

func holder(k Key) string {
	for _, row := range boundSockets(k.Network) {
		if row.port != k.Addr.Port() || !collides(row.addr, k.Addr.Addr()) {
			continue
		}
		if name := processOf(row.inode); name != "" {
			return name
		}
		return "a process of user " + userName(row.uid)
	}
	return ""
}

// userName is the name of a user, or the number of one that has none.
func userName(uid string) string {
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return uid
}

// collides reports whether two bound addresses cannot share a port.
func collides(a, b netip.Addr) bool {
	a, b = a.Unmap(), b.Unmap()
	return a == b || a.IsUnspecified() || b.IsUnspecified()
}

type boundSocket struct {
	addr       netip.Addr
	port       uint16
	uid, inode string
}

// boundSockets reads the bound UDP sockets, or the listening TCP sockets, of this network namespace.
func boundSockets(network string) []boundSocket {
	var rows []boundSocket
	for _, suffix := range []string{"", "6"} {
		b, err := os.ReadFile("/proc/net/" + network + suffix)
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(b), "\n")[1:] {
			f := strings.Fields(line)
			if len(f) < 10 || network == "tcp" && f[3] != "0A" { // 0A: LISTEN
				continue
			}
			addr, port, ok := procAddr(f[1])
			if ok {
				rows = append(rows, boundSocket{addr, port, f[7], f[9]})
			}
		}
	}
	return rows
}

// procAddr reads 0100007F:0035: 32-bit words in host order, the port in hex.
func procAddr(s string) (netip.Addr, uint16, bool) {
	host, p, ok := strings.Cut(s, ":")
	port, err := strconv.ParseUint(p, 16, 16)
	raw, err2 := hex.DecodeString(host)
	if !ok || err != nil || err2 != nil || len(raw)%4 != 0 {
		return netip.Addr{}, 0, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	addr, ok := netip.AddrFromSlice(raw)
	return addr.Unmap(), uint16(port), ok
}

func processOf(inode string) string {
	want := "socket:[" + inode + "]"
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == want {
			pid := strings.Split(link, "/")[2]
			comm, _ := os.ReadFile("/proc/" + pid + "/comm")
			return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(comm)), pid)
		}
	}
	return ""
}
