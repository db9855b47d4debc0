// Package artifacts owns the files that nodes boot: it fetches what the
// configuration names by URL or in a stream JSON, checks all that has a checksum, keeps the
// version before until no node needs it, and says where each file is on this machine.
//
// The folder of a store:
//
//	sha256/HEX      whole files, by their checksum; a file gets here only by
//	                rename, after its content was hashed and is on the disk
//	partial/HEX     downloads under way; HEX.json says what the server called the file
//	streams/HEX     the last good copy of stream JSONs, by the hash of their URL
//	artifacts.json  versions that nodes booted, and files of the user's that were verified
//
// It speaks HTTP/1.1 with ranges (RFC 9110 section 14). It leaves out FTP, and
// signatures: the checksum in the configuration or the stream is what counts.
package artifacts
