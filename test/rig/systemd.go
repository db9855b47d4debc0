package rig

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asMain runs the rest of its arguments as the process that systemd would give descriptors to.
const asMain = `export LISTEN_PID=$$; exec "$@"`

// Systemd plays the part of systemd that a unit of Type=notify-reload speaks
// with: it hears what the daemon says, and keeps its descriptors from one process to the next.
type Systemd struct {
	socket *net.UnixConn
	path   string

	mu       sync.Mutex
	messages []string
	names    []string // of files
	files    []*os.File
}

func newSystemd(t testing.TB, dir string) *Systemd {
	t.Helper()
	s := &Systemd{path: filepath.Join(dir, "notify")}
	var err error
	s.socket, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path, Net: "unixgram"})
	must(t, err)
	must(t, os.Chmod(s.path, 0o777))
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.hear(t)
	}()
	t.Cleanup(func() {
		_ = s.socket.Close()
		<-done
		s.forget(func(string) bool { return true })
	})
	return s
}

func (s *Systemd) hear(t testing.TB) {
	buf, rights := make([]byte, 8192), make([]byte, unix.CmsgSpace(4*253))
	for {
		n, oob, _, _, err := s.socket.ReadMsgUnix(buf, rights)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			t.Errorf("notify socket: %v", err)
			return
		}
		s.take(t, string(buf[:n]), rights[:oob])
	}
}

// take does what sd_notify(3) says of a message.
func (s *Systemd) take(t testing.TB, message string, rights []byte) {
	var fds []int
	if len(rights) > 0 {
		parts, err := unix.ParseSocketControlMessage(rights)
		if err == nil {
			fds, err = unix.ParseUnixRights(&parts[0])
		}
		if err != nil {
			t.Errorf("descriptors of %q: %v", message, err)
			return
		}
	}
	lines := strings.Split(message, "\n")
	name := "stored"
	for _, l := range lines {
		if v, ok := strings.CutPrefix(l, "FDNAME="); ok {
			name = v
		}
	}
	if slices.Contains(lines, "FDSTOREREMOVE=1") {
		s.forget(func(have string) bool { return have == name })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, message)
	for _, fd := range fds {
		if !slices.Contains(lines, "FDSTORE=1") || slices.ContainsFunc(s.files, func(f *os.File) bool { return sameFile(int(f.Fd()), fd) }) {
			_ = unix.Close(fd)
			continue
		}
		unix.CloseOnExec(fd)
		s.names, s.files = append(s.names, name), append(s.files, os.NewFile(uintptr(fd), name))
	}
}

func sameFile(a, b int) bool {
	var x, y unix.Stat_t
	return unix.Fstat(a, &x) == nil && unix.Fstat(b, &y) == nil && x.Dev == y.Dev && x.Ino == y.Ino
}

func (s *Systemd) forget(which func(name string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.files) - 1; i >= 0; i-- {
		if which(s.names[i]) {
			_ = s.files[i].Close()
			s.names, s.files = slices.Delete(s.names, i, i+1), slices.Delete(s.files, i, i+1)
		}
	}
}

// Messages are all that the daemon has said, oldest first.
func (s *Systemd) Messages() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Stored are the names of the descriptors that are kept now.
func (s *Systemd) Stored() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.names)
}

// start gives the environment and the descriptors of a new process.
func (s *Systemd) start() (env []string, files []*os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	env = []string{"NOTIFY_SOCKET=" + s.path}
	if len(s.files) > 0 {
		env = append(env, fmt.Sprintf("LISTEN_FDS=%d", len(s.files)), "LISTEN_FDNAMES="+strings.Join(s.names, ":"))
	}
	return env, slices.Clone(s.files)
}

// Kill ends the daemon as a crash does.
func (r *Rig) Kill(t testing.TB) {
	t.Helper()
	d := r.daemon
	r.daemon = nil
	must(t, d.cmd.Process.Signal(syscall.SIGKILL))
	select {
	case <-d.exit:
	case <-time.After(5 * time.Second):
		t.Fatal("helperd did not end within 5 s of SIGKILL")
	}
}
