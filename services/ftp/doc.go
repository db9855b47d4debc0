// Package ftp is the FTP server (RFC 959, 2428, 3659): the files that the web
// server has, for what cannot speak HTTP. It is anonymous, read-only and passive.
//
// The protocol is that of github.com/fclairamb/ftpserverlib. Each connection
// has a server of that library of its own, so that this package accepts the
// connections, counts and guards them, and knows whose data connection it is.
// Commands that a read-only server has no use for do not reach the library.
//
// The library starts two goroutines for a connection that nobody can guard: one
// that reads commands, one for a transfer. It recovers panics of commands
// itself, and what it calls here reports its own; a panic between two commands,
// in the few lines of it that split them into words, would end the daemon. It binds
// the port of a data connection on all addresses; connections from others than
// the client, or to another address than the client's, are closed unread.
//
// It leaves out TLS, active mode (whoever asks for it can aim the server at a
// third machine), writing, ignition files, and the sizes of boot scripts, which
// are made when they are fetched.
package ftp
