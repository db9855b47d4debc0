package runtimeapi

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// maxPath is what fits into the kernel's address of a unix socket.
	maxPath = 107
	// newSuffix is the name of a socket until it takes its place.
	newSuffix = ".new"
	key       = "lb.stats_socket"
)

// A listener is a unix socket at a path. The file is ours as long as it is the one that we made.
type listener struct {
	*net.UnixListener
	path string
	made fs.FileInfo
}

// listen makes a socket at path for owner and group. It is bound under another name and
// takes its place when its mode is right: clients never find one that they may not use.
func listen(path string) (*listener, error) {
	if len(path)+len(newSuffix) > maxPath {
		return nil, fmt.Errorf("%s: %s is longer than the %d bytes that a unix socket may have; name a shorter path", key, path, maxPath-len(newSuffix))
	}
	if err := vacant(path); err != nil {
		return nil, err
	}
	temporary := path + newSuffix
	if there, err := socketAt(temporary); err != nil {
		return nil, err
	} else if there { // of a start that was cut short
		if err := os.Remove(temporary); err != nil {
			return nil, fmt.Errorf("%s: %w; move it away, or name another path", key, err)
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("%s: %w; name a path that helperd may write to, such as /run/helperd/lb.sock", key, err)
	}
	l.SetUnlinkOnClose(false)
	made, err := place(temporary, path)
	if err != nil {
		_ = l.Close()
		_ = os.Remove(temporary)
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return &listener{l, path, made}, nil
}

func place(temporary, path string) (fs.FileInfo, error) {
	if err := os.Chmod(temporary, 0o660); err != nil {
		return nil, err
	}
	made, err := os.Lstat(temporary)
	if err != nil {
		return nil, err
	}
	return made, os.Rename(temporary, path)
}

// vacant reports why no socket can be made at path.
func vacant(path string) error {
	folder := filepath.Dir(path)
	if st, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: the folder %s is not there; make it, or name a path in a folder that is, such as /run/helperd/lb.sock", key, folder)
	} else if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	} else if !st.IsDir() {
		return fmt.Errorf("%s: %s is no folder; name another path, such as /run/helperd/lb.sock", key, folder)
	}
	if there, err := socketAt(path); err != nil || !there {
		return err
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("%s: another process answers on %s, such as an haproxy that still runs; stop that one, or name another path", key, path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%s: whether somebody uses %s is not clear: %w; name another path", key, path, err)
	}
	return nil
}

// socketAt reports whether a socket is at path. Anything else there is an error, and not ours to touch.
func socketAt(path string) (bool, error) {
	switch st, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("%s: %w", key, err)
	case st.Mode().Type() != fs.ModeSocket:
		return false, fmt.Errorf("%s: %s is there and is no socket; move it away, or name another path", key, path)
	}
	return true, nil
}

// intact reports whether clients of the path still come here.
func (l *listener) intact() bool {
	st, err := os.Lstat(l.path)
	return err == nil && os.SameFile(st, l.made)
}

// close ends the listener, and takes its file away unless it is another's by now.
func (l *listener) close() {
	if l.intact() {
		_ = os.Remove(l.path)
	}
	_ = l.Close()
}

// interrupt ends an accept that waits; resume lets the next one wait.
func (l *listener) interrupt() { _ = l.SetDeadline(time.Unix(1, 0)) }
func (l *listener) resume()    { _ = l.SetDeadline(time.Time{}) }
