// Package runtimeapi speaks HAProxy's runtime API on a unix socket: what hatop,
// haproxytech/client-native, Prometheus' haproxy_exporter and scripts with socat
// know, in the words and fields of HAProxy 2.6.
//
// A client sends a line of commands, with semicolons between them, and gets an
// answer that ends with an empty line; after the command prompt the connection stays open
// and an answer ends with "> ". See HAProxy's management guide, sections 9.1 to 9.3.
//
// What people change here is their wish for the moment: servers drained or in
// maintenance, weights, limits, paused frontends, sessions cut. What the file says is
// changed in the file: to add a server or to give it another address is an error that says
// so. There are no maps, no ACLs, no stick tables and no certificates.
package runtimeapi
