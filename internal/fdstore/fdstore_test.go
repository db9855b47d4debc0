package fdstore

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestKeepAndForget(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	s := FromEnv()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := s.Keep("name", []int{int(r.Fd()), int(w.Fd())}); err != nil {
		t.Fatal(err)
	}
	if err := s.Forget("name"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		message string
		fds     int
	}{{"FDSTORE=1\nFDPOLL=0\nFDNAME=name", 2}, {"FDSTOREREMOVE=1\nFDNAME=name", 0}} {
		message, rights := make([]byte, 256), make([]byte, 256)
		n, oob, _, _, err := systemd.ReadMsgUnix(message, rights)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(message[:n]); got != want.message {
			t.Errorf("got %q, want %q", got, want.message)
		}
		var fds []int
		if oob > 0 {
			parts, err := unix.ParseSocketControlMessage(rights[:oob])
			if err != nil {
				t.Fatal(err)
			}
			if fds, err = unix.ParseUnixRights(&parts[0]); err != nil {
				t.Fatal(err)
			}
		}
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		if len(fds) != want.fds {
			t.Errorf("%d descriptors, want %d", len(fds), want.fds)
		}
	}
}

func TestWithoutSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if s := FromEnv(); s.Present() || s.Keep("x", nil) != nil || s.Forget("x") != nil {
		t.Error("a store without systemd")
	}
	t.Setenv("NOTIFY_SOCKET", "/nowhere/notify")
	if err := FromEnv().Keep("x", nil); err == nil {
		t.Error("no error without a socket")
	}
}

// The descriptors are not there: only their numbers are read.
func TestInherited(t *testing.T) {
	for _, test := range []struct {
		name, pid, fds, names string
		want                  []File
	}{
		{"none", "", "", "", nil},
		{"of another process", "1", "2", "a:b", nil},
		{"no number", strconv.Itoa(os.Getpid()), "x", "", nil},
		{"names", strconv.Itoa(os.Getpid()), "4", "a:b:a", []File{{"a", []int{3, 5}}, {"b", []int{4}}, {"", []int{6}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("LISTEN_PID", test.pid)
			t.Setenv("LISTEN_FDS", test.fds)
			t.Setenv("LISTEN_FDNAMES", test.names)
			if diff := cmp.Diff(test.want, Inherited()); diff != "" {
				t.Error(diff)
			}
			if _, ok := os.LookupEnv("LISTEN_FDS"); ok {
				t.Error("a child process would take them for its own")
			}
		})
	}
}
