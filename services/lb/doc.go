// Package lb is the layer 4 balancer in front of the API, the machine config
// server and the ingress of the clusters, and of whatever else the file names.
//
// It balances TCP. Of the bytes it looks at nothing: TLS ends at the servers.
// Servers are probed (package check), chosen (package balance) and connected by
// workers of their own (package engine); table holds the state that survives a reload.
// It speaks the PROXY protocol to servers, versions 1 and 2.
//
// Left out: UDP, HTTP routing, frontends that several clusters share (choosing
// by SNI or Host), and the HAProxy runtime API.
package lb
