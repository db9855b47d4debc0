// Package preflight looks for what keeps a helper node from working although
// its configuration is valid: ports held by other daemons, a firewall,
// SELinux, files that the daemon's user cannot read, an address that no
// interface holds, a wrong clock, a second DHCP server.
//
// It changes nothing. The only packet it sends is one DHCPDISCOVER a network
// (RFC 2131), to hear whether somebody else answers.
//
// Left out: what the configuration file alone tells (see package plan), and
// whether nodes can boot (that takes a node).
package preflight
