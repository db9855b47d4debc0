// Package clock tells how well the clock of this machine is kept: by chronyd,
// asked at its command port as chronyc does (protocol version 6, report
// "tracking"), else by the kernel (adjtimex), whom every time daemon tells.
//
// It only reads. It leaves out what else chronyd reports, and the time daemons
// that tell the kernel alone: whom they follow is not known, and their stratum is an assumption.
package clock
