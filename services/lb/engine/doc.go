// Package engine moves the bytes of the balancer: a few workers, each a
// locked thread with its own epoll set, and non-blocking raw system calls.
//
// A tunnel is two sockets in a slab of its worker, and costs less than half a
// KB while it is idle. Short messages are copied through one buffer of the
// worker; a direction that fills it twice in a row moves its bytes by splice(2)
// through a pooled pipe instead. A FIN is passed on as a FIN, a reset as a
// reset.
//
// Timeouts are those of HAProxy in TCP mode. A connect has its own limit for every
// try. In an open tunnel bytes either way show that both sides live, so that
// the shorter of the limits of client and server counts, and after a FIN that of the
// side that may still speak; the side that was waited for is counted as the one that
// ended it. Who waits for a server with room does so in the order of arrival, until
// the limit of the queue, and leaves when it hangs up, also by a FIN (HAProxy's option
// abortonclose). A tunnel that no server takes ends by a FIN.
//
// A connection whose backend depends on what it says, or whose client another
// balancer names, is looked at by MSG_PEEK until that is decided: its bytes stay
// in the kernel, and move like all others afterwards.
//
// A worker that panics goes on with the epoll set, the tunnels and the events
// that it had; only the tunnel that it was working on is closed.
package engine
