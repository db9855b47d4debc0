// Package tftp compares the TFTP server with in.tftpd (tftpd-hpa) and dnsmasq:
// one client in lock step and by windows, at the pace of a LAN and without any
// delay, and many clients at once. `make bench-tftp` prints the tables.
package tftp
