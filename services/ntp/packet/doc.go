// Package packet reads requests of the Network Time Protocol and writes the
// answers of a server: the header of RFC 5905 section 7.3, which versions 1 to
// 4 share, and what may follow it, extension fields (RFC 7822) and a message
// authentication code.
//
// Nothing is allocated. It leaves out what a server of this kind never sends:
// extension fields, codes of authentication, and all modes but one.
package packet
