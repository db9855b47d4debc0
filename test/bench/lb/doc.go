// Package lb compares the balancer with HAProxy of one and of two threads: new
// connections, requests over kept tunnels, bulk transfers, latency at a fixed
// rate, and the memory of idle tunnels.
//
//	servers' namespace: balancers ── veth ── clients' namespace: clients and backends
//
// Clients and backends are a thread each of the test, on raw epoll: what they
// cost dilutes every ratio, as all share the same cores. Bulk bytes are sent by
// sendfile and thrown away by the kernel when they arrive. Nobody logs
// connections; everybody checks its servers by TCP every 5 seconds.
//
// TestIdle keeps tunnels open while the file is changed again and again.
package lb
