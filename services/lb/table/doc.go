// Package table holds what the balancer balances: an immutable table of
// frontends, and backends and servers whose state outlives the table.
//
// A reload builds a new Table. Servers that stay (same backend, name and
// address) keep their state and counters, because old and new table share them;
// workers find the new set of servers by one atomic pointer.
package table
