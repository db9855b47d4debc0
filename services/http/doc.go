// Package http is the web server that nodes boot from: kernels, initramfs and
// root file systems, boot scripts rendered for each node, boot loaders, ignition
// files behind a gate, and the user's own files, read-only.
//
// It serves HTTP/1.1 (RFC 9110, RFC 9112) in plain text by net/http: GET and
// HEAD, validators (ETag, Last-Modified), ranges and If-Range. Large files leave by
// sendfile. There is no write time-out, which would cut a long download; a
// client that takes nothing for a minute is cut instead.
//
// Ignition files hold the secrets of a cluster. The strict gate gives a role's
// file to the address of a node of that role alone, with the token of its
// last boot script. coreos-installer repeats on 408, 429 and 5xx and gives up on
// the rest: what is not there yet is 503, and only a wrong address, role or token
// is 403.
//
// It leaves out TLS, HTTP/2, compression (what nodes fetch is compressed), and
// completing a download from ranges that add up.
package http
