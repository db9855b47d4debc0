// Package dhcp compares the DHCP server with ISC dhcpd, Kea and dnsmasq: how
// many machines a second get an address (DISCOVER, OFFER, REQUEST, ACK: a DORA)
// from a large pool and from one of a helper node's size, and which part of a
// fixed rate is served. `make bench-dhcp` prints the tables, with what each
// server has on disk before it acknowledges.
//
// The clients pose as a relay, as perfdhcp does: one socket stands for all of them.
package dhcp
