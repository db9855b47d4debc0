// Package balance chooses a server: weighted round robin, least connections, or
// by the client's address. It is pure: no clock, no sockets, no locks.
package balance
