// Package http is the web server that nodes boot from: kernels, initramfs and
// root file systems, boot scripts rendered for each node, boot loaders, ignition
// files behind a gate, and the user's own files, read-only.
//
// It serves HTTP/1.1 (RFC 9110, RFC 9112) by net/http, in plain text and, where the
// file asks for it, by TLS with the helper's own authority: GET and HEAD,
// validators (ETag, Last-Modified), ranges and If-Range. Large files leave by
// sendfile, small ones of the user's own from memory. There is no write time-out,
// which would cut a long download; a client that takes less than 64 KiB in a minute is cut
// instead. wire_test.go has what is answered to which bytes.
//
// Ignition files hold the secrets of a cluster. The strict gate gives a role's
// file to the address of a node of that role alone, while package nodes says that
// it is that node and is being installed. coreos-installer repeats on 408, 429
// and 5xx and gives up on the rest: what is not there yet is 503, and only a wrong
// address, role or token is 403.
//
// A faster front for small files would stand between listener.Accept and net/http. It
// reads a request on the raw connection and answers GET and HEAD where route comes to
// serveCached; all else it hands to net/http as it is, the bytes that it has read first. What must stay
// the same is in the tests: caps and deadlines of the connection, the log line and the event of every download.
//
// It leaves out HTTP/2, compression (what nodes fetch is compressed), and
// completing a download from ranges that add up.
package http
