// Package chain is CoreDNS's plugin chain without its listeners: cache and
// forward, which answer what is not ours.
//
// A Chain is one started CoreDNS instance. It is replaced, never restarted
// (caddy's Restart closes client connections): the next is started, queries
// go to it, and the old one stops when its last query is answered.
//
// CoreDNS keeps its directives, plugins and instances in variables of its own
// packages. They are registered once per process, and starts are serialised
// here. The health checks and cache refreshes of the plugins run in goroutines
// that CoreDNS starts itself.
//
// It leaves out every other plugin, above all loop, which ends the process
// when it finds a loop, and errors, which logs per query: failures are counted
// instead, see Chain.Failing.
package chain
