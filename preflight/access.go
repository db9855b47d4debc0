package preflight

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errOtherUser: only root can look with another user's eyes.
var errOtherUser = errors.New("not allowed to look as another user")

// access asks the kernel whether u may do mode (unix.R_OK, X_OK) to path, with
// access control lists and all. As root it takes u's file system identity for
// the question, on one thread only; that also puts the overriding capabilities
// out of force (capabilities(7), "Effect of user ID changes").
func (u User) access(path string, mode uint32) error {
	ask := func() error { return unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS) }
	switch {
	case uint32(unix.Geteuid()) == u.UID:
		return ask()
	case unix.Geteuid() != 0 || len(u.Groups) == 0:
		return errOtherUser
	}
	own, err := unix.Getgroups()
	if err != nil {
		return err
	}
	home := make([]uint32, len(own))
	for i, g := range own {
		home[i] = uint32(g)
	}
	gid := unix.Getegid()
	runtime.LockOSThread()
	if err := setThreadGroups(u.Groups); err != nil {
		runtime.UnlockOSThread()
		return errOtherUser
	}
	_ = unix.Setfsgid(int(u.Groups[0]))
	_ = unix.Setfsuid(int(u.UID))
	// The calls give the identity before them and no error: ask with one that changes nothing.
	now, _ := unix.SetfsuidRetUid(-1)
	err = ask()
	_ = unix.Setfsuid(0)
	_ = unix.Setfsgid(gid)
	if back, _ := unix.SetfsuidRetUid(-1); setThreadGroups(home) == nil && back == 0 {
		runtime.UnlockOSThread() // else the thread ends with its goroutine
	}
	if uint32(now) != u.UID {
		return errOtherUser
	}
	return err
}

// setThreadGroups is setgroups(2) for the calling thread alone; the wrapper in
// package unix changes every thread of the process.
func setThreadGroups(groups []uint32) error {
	if len(groups) == 0 {
		groups = []uint32{0}[:0:1]
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(unsafe.SliceData(groups))), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
