// Package demo shows the whole product on any Linux machine, without
// hardware, without root and without a change to the machine: a daemon with
// the example configuration in a user and network namespace of its own, and
// around it the machines of that configuration, played by package ghost, which
// boot from the network, install, and join.
//
// It doubles as an end-to-end test: it succeeds only when every node came up.
//
// Left out: the machine's own network is never reached from inside, so no real
// client can be pointed at the demonstration.
package demo
