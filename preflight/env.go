package preflight

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"helperd/boot"
	"helperd/internal/socket"
	"helperd/plan"
)

// Env is the machine as the checks see it. System gives the real one; a test
// replaces single functions.
type Env struct {
	User User // whom the daemon runs as

	Now          func() time.Time
	Stat         func(path string) (fs.FileInfo, error)
	Access       func(path string, mode uint32) error // whether User may do unix.R_OK or X_OK to path
	ReadFile     func(path string) ([]byte, error)
	Free         func(path string) (int64, error)  // bytes free in the file system of a folder, which need not be there
	Label        func(path string) (string, error) // SELinux label of a file
	Interfaces   func() ([]Interface, error)
	Holder       func(socket.Key) string // who holds a port; empty: nobody
	Capabilities func() (uint64, error)  // effective set of this process, one bit a capability
	Descriptors  func() (uint64, error)  // hard limit of this process
	Synchronised func() (bool, error)    // the kernel's opinion of its clock
	// Loaders gives the paths of the boot loaders, those in dirs first.
	Loaders func(dirs ...string) map[plan.Loader]string

	// Command runs a program and gives its output; errors.Is(err, exec.ErrNotFound) when there is none.
	Command func(ctx context.Context, name string, args ...string) (string, error)
	// Discover asks for DHCP servers on an interface and gives those that answered.
	Discover func(ctx context.Context, device string) ([]netip.Addr, error)
}

// User is whom the daemon runs as.
type User struct {
	Name   string
	UID    uint32
	Groups []uint32
}

// Interface of the machine.
type Interface struct {
	Name  string
	Up    bool
	Addrs []netip.Addr
}

// System is the machine that the program runs on. The daemon is taken to run
// as the user called name; empty: as helperd when there is such a user, else
// as the caller.
func System(name string) (*Env, error) {
	u, err := daemonUser(name)
	if err != nil {
		return nil, err
	}
	return &Env{
		User: u, Now: time.Now, Stat: os.Stat, Access: u.access, ReadFile: os.ReadFile, Free: free, Label: label, Interfaces: systemInterfaces, Holder: socket.Holder,
		Capabilities: capabilities, Descriptors: descriptorLimit, Synchronised: synchronised, Command: command, Discover: discover,
		Loaders: boot.FindLoaders,
	}, nil
}

func daemonUser(name string) (User, error) {
	found, err := user.Lookup(cmp.Or(name, "helperd"))
	var unknown user.UnknownUserError
	if name == "" && errors.As(err, &unknown) {
		found, err = user.Current()
	}
	if err != nil {
		return User{}, err
	}
	u := User{Name: found.Username}
	uid, err := strconv.ParseUint(found.Uid, 10, 32)
	if err != nil {
		return User{}, fmt.Errorf("user %s: %w", u.Name, err)
	}
	u.UID = uint32(uid)
	groups, err := found.GroupIds()
	if err != nil {
		return User{}, fmt.Errorf("groups of %s: %w", u.Name, err)
	}
	for _, g := range groups {
		if gid, err := strconv.ParseUint(g, 10, 32); err == nil {
			u.Groups = append(u.Groups, uint32(gid))
		}
	}
	return u, nil
}

func label(path string) (string, error) {
	b := make([]byte, 256)
	n, err := unix.Getxattr(path, "security.selinux", b)
	if err != nil {
		return "", err
	}
	return string(b[:max(0, n-1)]), nil // without the zero byte at the end
}

func free(path string) (int64, error) {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	for errors.Is(err, unix.ENOENT) && path != "/" {
		path = filepath.Dir(path)
		err = unix.Statfs(path, &st)
	}
	return int64(st.Bavail) * st.Bsize, err
}

func systemInterfaces() ([]Interface, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var out []Interface
	for _, ifi := range list {
		addrs, err := ifi.Addrs()
		if err != nil {
			return nil, fmt.Errorf("addresses of %s: %w", ifi.Name, err)
		}
		i := Interface{Name: ifi.Name, Up: ifi.Flags&net.FlagUp != 0}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				i.Addrs = append(i.Addrs, p.Addr().Unmap())
			}
		}
		out = append(out, i)
	}
	return out, nil
}

func capabilities() (uint64, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, err
	}
	return uint64(data[1].Effective)<<32 | uint64(data[0].Effective), nil
}

func descriptorLimit() (uint64, error) {
	var l unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
	return l.Max, err
}

func synchronised() (bool, error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, err
}

func command(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).Output()
	return string(out), err
}

// randomMAC gives a locally administered address, so that no switch or server
// takes the question for one of the machine's own interface.
func randomMAC() (net.HardwareAddr, error) {
	mac := make(net.HardwareAddr, 6)
	if _, err := rand.Read(mac); err != nil {
		return nil, err
	}
	mac[0] = mac[0]&^1 | 2
	return mac, nil
}
