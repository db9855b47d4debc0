// Package zone compiles the plan's records into a Table: for every name and
// type the bytes of the answer, ready to be copied behind the question.
//
// It knows RFC 1034 (lookup), RFC 2308 (negative answers with the SOA, TTL
// min(SOA TTL, minimum)), RFC 4592 (wildcards, closest encloser, empty
// non-terminals), RFC 2181 section 5 (one TTL a record set) and RFC 8482 (a
// small answer to ANY). CNAMEs are chased when the table is compiled, as far
// as the names are ours.
//
// It leaves out delegations (a cluster zone has none), additional sections
// (clients ask) and DNSSEC.
package zone
