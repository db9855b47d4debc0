package dhcp

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lookEvery is the time between two looks at the interfaces when the kernel tells of no change.
	lookEvery = time.Second
	// settle is how long after the first change they are looked at: changes come in groups.
	settle = 20 * time.Millisecond
)

// watchLinks notes that the kernel told of an interface or an IPv4 address that
// came, went or changed (rtnetlink(7)), until ctx ends. What they are now is
// looked up then; nothing is lost when a message is.
func (s *Service) watchLinks(ctx context.Context) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("socket for interface changes: %w", err)
	}
	f := os.NewFile(uintptr(fd), "dhcp interface changes")
	defer f.Close()
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR}); err != nil {
		return fmt.Errorf("ask for interface changes: %w", err)
	}
	stop := s.deadlineAtEnd(ctx, f)
	defer stop()
	b := make([]byte, 8<<10)
	for {
		_, err := f.Read(b)
		if ctx.Err() != nil {
			return nil
		}
		select {
		case s.moved <- struct{}{}:
		default:
		}
		if err != nil {
			return fmt.Errorf("interface changes: %w", err) // ENOBUFS: there were too many, and that is news enough
		}
	}
}
