// Package lb says case by case how the balancer behaves, and proves that
// HAProxy behaves so too. Each case is a part of helper.yaml, real clients and
// real servers. It runs against the helperd binary, and against haproxy with the
// configuration that means the same. Where HAProxy does otherwise the case says
// why, and HAProxy must do what the case says of it.
//
// Every case has 127.0.0.0/24 and [::1] for itself: addresses and ports are
// moved to a network that no other case uses.
package lb
