// Package fdstore speaks to systemd's file descriptor store (sd_notify(3),
// FDSTORE=1): what is put there outlives the process, also one that is killed, and
// comes back at the next start (sd_listen_fds(3)).
package fdstore

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// sendTime is how long systemd may leave a message unread.
const sendTime = time.Second

// A Store is systemd's. The zero value is that of a process that systemd did not start: it keeps nothing.
type Store struct {
	path string
}

// FromEnv gives the store of this process's unit.
func FromEnv() Store { return Store{os.Getenv("NOTIFY_SOCKET")} }

// Present reports whether there is a systemd to keep something.
func (s Store) Present() bool { return s.path != "" }

// Keep puts descriptors into the store, all under one name: ASCII without
// control characters and colons, at most 255 bytes. Those that are there already stay.
func (s Store) Keep(name string, fds []int) error {
	// FDPOLL=0: an error that is pending on a socket is no reason to drop it.
	return s.send("FDSTORE=1\nFDPOLL=0\nFDNAME="+name, unix.UnixRights(fds...))
}

// Forget takes all descriptors of a name out of the store.
func (s Store) Forget(name string) error {
	return s.send("FDSTOREREMOVE=1\nFDNAME="+name, nil)
}

func (s Store) send(message string, rights []byte) error {
	if !s.Present() {
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket to tell systemd: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	patience := unix.NsecToTimeval(sendTime.Nanoseconds())
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience)
	if err := unix.Sendmsg(fd, []byte(message), rights, &unix.SockaddrUnix{Name: s.path}, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("tell systemd %q: %w", message, err)
	}
	return nil
}

// A File is one or more descriptors with the name that they were stored by.
type File struct {
	Name string `json:"name"`
	FDs  []int  `json:"fds"`
}

// firstFD is where the descriptors that systemd passes begin.
const firstFD = 3

// Inherited gives what came with the start of this process, once: it removes the
// variables from the environment, and no child process inherits the descriptors.
func Inherited() []File {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"} {
		_ = os.Unsetenv(v)
	}
	n, err := strconv.Atoi(count)
	if err != nil || pid != strconv.Itoa(os.Getpid()) {
		return nil
	}
	var files []File
	at := map[string]int{}
	for i := range n {
		name, fd := "", firstFD+i
		if i < len(names) {
			name = names[i]
		}
		unix.CloseOnExec(fd)
		k, ok := at[name]
		if !ok {
			k = len(files)
			at[name] = k
			files = append(files, File{Name: name})
		}
		files[k].FDs = append(files[k].FDs, fd)
	}
	return files
}
