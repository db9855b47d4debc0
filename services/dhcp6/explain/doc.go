// Package explain says what a machine would get by DHCPv6 if it asked now, and
// why. It sends the machine's messages through an engine that is a copy of the
// one that serves, and reads its answers and events: nothing is decided here.
package explain
