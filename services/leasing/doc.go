// Package leasing has what the servers of DHCPv4 and DHCPv6 say alike: what a
// machine would get and why, how full pools are, and metrics.
package leasing

import "errors"

// ErrNoLease means that nobody has an address from a pool.
var ErrNoLease = errors.New("no lease")
