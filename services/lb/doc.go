// Package lb is the layer 4 balancer in front of the API, the machine config
// server and the ingress of the clusters, and of whatever else the file names.
//
// It balances TCP; TLS ends at the servers. Only where several clusters share an
// address it looks at the name that a connection asks for (package peek), which
// stays in the socket meanwhile, and where another balancer is in front, at its
// PROXY header.
// Servers are probed (package check), chosen (package balance) and connected by
// workers of their own (package engine); table holds the state that survives a reload.
// It speaks the PROXY protocol to servers, versions 1 and 2, and understands both.
//
// What knows HAProxy's runtime API may use it on a unix socket (packages runtimeapi and stats).
//
// Left out: UDP, and HTTP routing beyond a connection's first Host.
package lb
