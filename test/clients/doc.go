// Package clients asks the running daemon with the programs that people and
// machines really use: dig, udhcpc, dhclient, systemd-networkd, tftp, curl and nc, each in a
// network namespace that stands for a machine of the LAN.
package clients
