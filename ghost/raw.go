package ghost

import (
	"encoding/binary"
	"net"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	etherLen = 14
	ipLen    = 20
	udpLen   = 8
	headers  = etherLen + ipLen + udpLen
	// serverPort and clientPort are those of RFC 2131 section 4.1.
	serverPort, clientPort = 67, 68
)

// rawConn is how a machine without an address talks DHCP: whole frames, from
// its own MAC. It hears what is for that MAC alone, whoever it is sent to.
type rawConn struct {
	conn *packet.Conn
	mac  net.HardwareAddr
	buf  []byte
}

// openRaw must run inside of the link's namespace.
func openRaw(mac net.HardwareAddr) (*rawConn, error) {
	ifi, err := net.InterfaceByName(linkName)
	if err != nil {
		return nil, err
	}
	filter, err := bpf.Assemble(answersFor(mac))
	if err != nil {
		return nil, err
	}
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_IP, &packet.Config{Filter: filter})
	if err != nil {
		return nil, err
	}
	return &rawConn{conn: conn, mac: mac, buf: make([]byte, 4096)}, nil
}

// answersFor passes IPv4 with UDP to the client port whose chaddr is mac.
func answersFor(mac net.HardwareAddr) []bpf.Instruction {
	const chaddr = udpLen + 28
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: etherLen + 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_UDP, SkipFalse: 10},
		bpf.LoadAbsolute{Off: etherLen + 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 8}, // a later fragment
		bpf.LoadMemShift{Off: etherLen},
		bpf.LoadIndirect{Off: etherLen + 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: clientPort, SkipFalse: 5},
		bpf.LoadIndirect{Off: etherLen + chaddr, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32(mac), SkipFalse: 3},
		bpf.LoadIndirect{Off: etherLen + chaddr + 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(binary.BigEndian.Uint16(mac[4:])), SkipFalse: 1},
		bpf.RetConstant{Val: 0x40000},
		bpf.RetConstant{Val: 0},
	}
}

// SetReadDeadline is for receive.
func (c *rawConn) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) }

// Close ends the conversation.
func (c *rawConn) Close() error { return c.conn.Close() }

// read gives the next message; the bytes are good until the next call.
func (c *rawConn) read() ([]byte, error) {
	for {
		n, _, err := c.conn.ReadFrom(c.buf)
		if err != nil {
			return nil, err
		}
		if m := udpPayload(c.buf[:n]); m != nil {
			return m, nil
		}
	}
}

// udpPayload is what a frame that passed the filter carries; nil when its lengths do not hold.
func udpPayload(frame []byte) []byte {
	if len(frame) < headers {
		return nil
	}
	udp := frame[etherLen+int(frame[etherLen]&0xf)*4:]
	if len(udp) < udpLen {
		return nil
	}
	n := int(binary.BigEndian.Uint16(udp[4:]))
	if n < udpLen || n > len(udp) {
		return nil
	}
	return udp[udpLen:n]
}

// broadcast sends a message to every server of the link.
func (c *rawConn) broadcast(message []byte) error {
	f := make([]byte, headers, headers+len(message))
	everybody := net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	copy(f, everybody)
	copy(f[6:], c.mac)
	binary.BigEndian.PutUint16(f[12:], unix.ETH_P_IP)

	ip := f[etherLen:]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], uint16(ipLen+udpLen+len(message)))
	copy(ip[16:], net.IPv4bcast.To4()) // from 0.0.0.0
	binary.BigEndian.PutUint16(ip[10:], ^sum(ip[:ipLen], 0))

	udp := ip[ipLen:]
	binary.BigEndian.PutUint16(udp, clientPort)
	binary.BigEndian.PutUint16(udp[2:], serverPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(udpLen+len(message)))
	f = append(f, message...)
	// The pseudo header of RFC 768: addresses, protocol, length.
	pseudo := 0xffff + 0xffff + unix.IPPROTO_UDP + uint32(udpLen+len(message))
	binary.BigEndian.PutUint16(udp[6:], ^sum(f[etherLen+ipLen:], pseudo))
	_, err := c.conn.WriteTo(f, &packet.Addr{HardwareAddr: everybody})
	return err
}

// sum is the one's complement sum of RFC 1071.
func sum(b []byte, s uint32) uint16 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}
