// Package stats shows the balancer in the rows and columns of HAProxy's "show stat": in
// CSV, typed and in JSON, with the words that HAProxy 2.6 has for the states of servers and
// for the outcomes of their checks.
package stats
