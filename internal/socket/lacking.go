package socket

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// lacking are the errors of a machine that cannot ask: it has no such address
// (which may come later), or no descriptor, memory or port left.
var lacking = []unix.Errno{unix.EADDRNOTAVAIL, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EADDRINUSE}

// Lacking reports whether err, of a client that asks a server on this machine,
// says nothing of the server: the machine lacks what it takes to ask.
func Lacking(err error) bool {
	return slices.ContainsFunc(lacking, func(e unix.Errno) bool { return errors.Is(err, e) })
}
