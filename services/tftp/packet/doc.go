// Package packet reads TFTP requests and writes refusals (RFC 1350), and settles
// the terms of a transfer: blksize (RFC 2348), timeout and tsize (RFC 2349) and
// windowsize (RFC 7440), acknowledged as RFC 2347 says.
package packet
