package tftp

import (
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// controlLen holds an IP_PKTINFO or IPV6_PKTINFO message, in bytes.
const controlLen = 64

// wantDestination makes the kernel say which of our addresses a client asked:
// on a wildcard socket the answer must come from that one, or firmware drops it.
func wantDestination(conn *net.UDPConn, wildcard netip.Addr) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		if wildcard.Is4() {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		} else {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		}
	})
	if err == nil {
		err = os.NewSyscallError("setsockopt", failed)
	}
	return err
}

// destination reads the asked address from a control message; zone is that of
// the client, which link-local addresses share. Without one the kernel chooses.
func destination(control []byte, zone string) netip.Addr {
	msgs, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return netip.IPv4Unspecified()
	}
	for _, m := range msgs {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			return netip.AddrFrom4([4]byte(m.Data[8:12])) // ipi_addr
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			a := netip.AddrFrom16([16]byte(m.Data[:16]))
			if a.IsLinkLocalUnicast() {
				a = a.WithZone(zone)
			}
			return a
		}
	}
	return netip.IPv4Unspecified()
}
