package dhcp

import (
	"fmt"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// losses are the requests that came to a port while its receive buffer was full.
type losses struct {
	mu   sync.Mutex
	seen uint32 // of the kernel's count
	last time.Time
	room int // size of the buffer in bytes
}

// lossesTold is how long people are told of lost requests.
const lossesTold = 10 * time.Minute

// countLost adds up what the kernel dropped since the last call.
func (s *Service) countLost(now time.Time) {
	g := s.generation.Load()
	if g == nil {
		return
	}
	for p := range g.links {
		if fds := p.sock.FDs(); len(fds) > 0 {
			s.lost.Add(uint64(p.losses.count(fds[0], now)))
		}
	}
}

func (l *losses) count(fd int, now time.Time) (more uint32) {
	// SO_MEMINFO, linux/sock_diag.h: the buffer's size is the second, drops are the ninth number.
	var info [9]uint32
	size := uint32(unsafe.Sizeof(info))
	if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0); errno != 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	more, l.seen, l.room = info[8]-l.seen, info[8], int(info[1])
	if more > 0 {
		l.last = now
	}
	return more
}

// problem says that requests were lost a short time ago.
func (l *losses) problem(device string, now time.Time) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last.IsZero() || now.Sub(l.last) > lossesTold {
		return ""
	}
	return fmt.Sprintf("requests on %s were lost, the last at %s: they came faster than they could be read, and the receive buffer of %d KiB was full; find what floods that link, or give the buffer room by `sysctl net.core.rmem_max=%d` and a restart",
		device, l.last.UTC().Format(time.TimeOnly), l.room>>10, receiveBuffer)
}
