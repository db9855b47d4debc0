// Package fetch brings one file whole and verified to the disk: by HTTP/1.1
// with ranges (RFC 9110 section 14), or it verifies one that a user has put
// there. It knows nothing of what the files are for.
package fetch
