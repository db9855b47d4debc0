// Package dns is the name server of the helper node (RFC 1034, 1035, 2308,
// 3596, 4592, 6891, 7766, 8482).
//
// It has authority for the cluster zones and for single names, and asks
// forwarders for the rest on behalf of the machine networks. Authoritative
// answers are packed when a plan is prepared (package zone), so that serving
// one is a lookup and a copy (package wire), in batches of one system call and
// without allocation. What is left, questions for the forwarders, goes to a
// bounded number of goroutines and through CoreDNS's plugins (package chain).
//
// Nobody can use it as an open resolver: only the networks that the plan
// allows may ask for what is not ours.
//
// It leaves out zone transfers and updates (refused), DNS cookies, response
// rate limiting, DNSSEC signing, DoT and DoH.
package dns
