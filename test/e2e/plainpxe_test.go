package e2e_test

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Every BIOS network ROM that comes with qemu is iPXE, and says so. A cable
// that takes these words out of its DHCP packets makes it a plain PXE ROM to
// the helper: it gets a loader by TFTP. What the loader sends is not touched,
// so that undionly.kpxe is known for iPXE.

// DHCP options by which iPXE is known (RFC 3004; iPXE's own).
const (
	userClass = 77
	ipxeWords = 175
)

// cable is the path of one end of the machine's cable.
func (m *vm) cable(end string) string { return filepath.Join(m.dir, "cable-"+end) }

// plug joins the machine's card with its tap until the returned function is called.
func (m *vm) plug(t *testing.T) (unplug func()) {
	t.Helper()
	for _, end := range []string{"card", "lan"} {
		_ = os.Remove(m.cable(end)) // of the power-on before
	}
	card, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.cable("lan"), Net: "unixgram"})
	must(t, err)
	var lan *os.File
	m.rig.Router.Do(t, func() { lan, err = openTap(m.tap) })
	must(t, err)
	var ends sync.WaitGroup
	ends.Go(func() {
		frame := make([]byte, 1<<16)
		for loader := false; ; {
			n, err := card.Read(frame)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if !loader {
				loader = plain(frame[:n])
			}
			_, _ = lan.Write(frame[:n])
		}
	})
	ends.Go(func() {
		frame := make([]byte, 1<<16)
		to := &net.UnixAddr{Name: m.cable("card"), Net: "unixgram"}
		for {
			n, err := lan.Read(frame)
			if errors.Is(err, os.ErrClosed) {
				return
			}
			_, _ = card.WriteToUnix(frame[:n], to) // fails while the machine is off, as on a cable
		}
	})
	return func() {
		_ = card.Close()
		_ = lan.Close()
		ends.Wait()
	}
}

func openTap(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// plain takes iPXE's words out of a DHCP packet, in place, and reports whether
// the frame asks for a file by TFTP: what follows is the loader's.
func plain(frame []byte) (loader bool) {
	const ethernet = 14
	if len(frame) < ethernet+20+8 || binary.BigEndian.Uint16(frame[12:]) != 0x0800 || frame[ethernet+9] != unix.IPPROTO_UDP {
		return false
	}
	udp := frame[ethernet+int(frame[ethernet]&15)*4:]
	if len(udp) < 8 {
		return false
	}
	switch binary.BigEndian.Uint16(udp[2:]) {
	case 69:
		return true
	case 67:
		udp[6], udp[7] = 0, 0 // no checksum (RFC 768)
		if len(udp) > 8+240 {
			forget(udp[8+240:])
		}
	}
	return false
}

// forget makes pads of the options.
func forget(options []byte) {
	for i := 0; i+1 < len(options) && options[i] != 255; {
		if options[i] == 0 {
			i++
			continue
		}
		end := min(i+2+int(options[i+1]), len(options))
		if options[i] == userClass || options[i] == ipxeWords {
			clear(options[i:end])
		}
		i = end
	}
}
