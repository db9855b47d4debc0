// Package ntp is the time server of the helper node: the server mode of RFC
// 5905 for clients of NTP versions 1 to 4 and of SNTP (RFC 4330), which answers
// from the clock of this machine.
//
// It keeps no clock. Stratum, reference, root delay and root dispersion are those of
// whoever keeps it: chronyd or the kernel (package clock). A clock that nobody keeps is
// served at stratum 10, as chrony's local mode does. Requests are stamped by the
// kernel when they come in; answers last thing before they leave.
//
// Each socket has one reader, which reads and sends in batches and keeps a count of
// its clients: who asks too often is told so, then not answered. Nobody outside of the
// machine networks is answered, and no answer is longer than its request.
//
// Nodes whose requests tell a time that is far off get an event.
//
// Left out: setting the clock, peers, broadcast, interleaved mode, control messages
// (modes 6 and 7), keys, NTS.
package ntp
