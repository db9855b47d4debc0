// Package http compares the web server with nginx and Apache: small files by
// wrk, and the image of a machine, whole and in ranges, by clients that throw
// away in the kernel what they get, so that they are not the ceiling. Everybody logs
// each request, and for helperd the clients are a node of the plan: the whole way.
package http
