// Package check probes the servers of the balancer: TCP connect, or an HTTP
// request in the clear or over TLS. Every probe is a connection of its own.
//
// It tells a server that is not ready (it answers, and not as it should: no new
// connections, open ones live on) from one that is dead (TCP is refused or
// times out: its connections are closed). Agent checks and response bodies are
// not looked at.
package check
