package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Enter runs this program once more with args, in a network namespace of its
// own: of root where the caller is root, else in a user namespace where the
// caller is root. It returns what the program returns, as *exec.ExitError when
// it fails, or why the system does not allow namespaces and what to do.
func Enter(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if os.Geteuid() == 0 {
		err := enter(ctx, args, stdout, stderr, unix.CLONE_NEWNET)
		if !errors.Is(err, unix.EPERM) {
			return err
		}
		// Root of a container often lacks CAP_SYS_ADMIN; a user namespace brings it.
	}
	err := enter(ctx, args, stdout, stderr, unix.CLONE_NEWNET|unix.CLONE_NEWUSER)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("make a user and network namespace: %w; %s", err, remedy(os.ReadFile))
	}
	return err
}

func enter(ctx context.Context, args []string, stdout, stderr io.Writer, flags uintptr) error {
	c := exec.CommandContext(ctx, "/proc/self/exe", args...)
	c.Stdin, c.Stdout, c.Stderr = nil, stdout, stderr
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 15 * time.Second
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	if flags&unix.CLONE_NEWUSER != 0 {
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	// The child dies with the thread that started it, not with the process (prctl(2), PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := c.Run()
	if errors.Is(err, context.Canceled) {
		return nil // it was asked to end, and ended well
	}
	return err
}

// remedy says which switch forbids user namespaces.
func remedy(read func(string) ([]byte, error)) string {
	switches := []struct{ file, name, forbids, allow string }{
		{"/proc/sys/user/max_user_namespaces", "user.max_user_namespaces", "0", "15000"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "kernel.unprivileged_userns_clone", "0", "1"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "kernel.apparmor_restrict_unprivileged_userns", "1", "0"},
	}
	for _, s := range switches {
		if b, err := read(s.file); err == nil && strings.TrimSpace(string(b)) == s.forbids {
			return fmt.Sprintf("this system forbids them to users: run the demonstration as root, or allow them: sysctl -w %s=%s", s.name, s.allow)
		}
	}
	return "this system, or the container it runs in, forbids them: run the demonstration as root, or in a container with --privileged"
}
