// Package bootstorm switches on many machines at once, as after a power cut:
// ghosts of package ghost on one link, each with its own MAC and address and the
// retry timers of ROM, iPXE and operating system, walk the whole way from the
// first DISCOVER to a resolved name. They check the address, the checksum of
// every file, and what the DHCP socket dropped.
//
// The short form is part of `make test`. `make bootstorm` has 200 machines, all
// mixes of firmware, and dnsmasq with nginx in turns with helperd; it prints
// tables of times. How many booted is asserted, how fast is printed.
//
// Environment: HELPERD_STORM is the number of machines of the long form,
// HELPERD_STORM_ROUNDS how often each server has its turn (3), HELPERD_STORM_MIX
// a pattern of the mixes to do (all).
package bootstorm
