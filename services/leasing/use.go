package leasing

import (
	"fmt"
	"net/netip"
)

// Use says what has become of the addresses of one network.
type Use struct {
	Network  netip.Prefix
	Pool     fmt.Stringer // the range as the file has it
	Size     float64      // addresses of the pool that can be given; 0: there is no pool
	Leased   int
	Declined int // in quarantine
	Offered  int
	Reserved int // addresses that the file gives to machines
}

// Free are the addresses that a new machine can get.
func (u *Use) Free() float64 { return max(u.Size-float64(u.Leased+u.Declined+u.Offered), 0) }

// Percent of the pool that is leased or in quarantine. Offers do not count: those of a flood are gone after a minute.
func (u *Use) Percent() int {
	if u.Size == 0 {
		return 0
	}
	return int(float64(u.Leased+u.Declined) * 100 / u.Size)
}

// The levels of a pool that people are told of, in percent, and how far it must
// fall below one before they are told of it again.
const (
	filling  = 80
	nearFull = 90
	slack    = 5
)

// Alarm tells once when a pool fills to a level. The zero value is ready for use.
type Alarm struct{ told map[netip.Prefix]int }

// Look gives what is new of the pools, one text each.
func (a *Alarm) Look(all []Use) (news []string) {
	if a.told == nil {
		a.told = map[netip.Prefix]int{}
	}
	for i := range all {
		u := &all[i]
		level, told := level(u.Percent()), a.told[u.Network]
		switch {
		case level > told:
			news = append(news, u.String())
			a.told[u.Network] = level
		case u.Percent() < told-slack:
			a.told[u.Network] = level
		}
	}
	return news
}

func level(percent int) int {
	switch {
	case percent >= nearFull:
		return nearFull
	case percent >= filling:
		return filling
	}
	return 0
}

// Notes are the pools that are filling now, for people who look at the state of the service.
func Notes(all []Use) (out []string) {
	for i := range all {
		if level(all[i].Percent()) > 0 {
			out = append(out, all[i].String())
		}
	}
	return out
}

// String is what people read of a pool that fills.
func (u *Use) String() string {
	return fmt.Sprintf("pool %s of network %s is %d %% full: %.0f of %.0f addresses are free; make it larger or its lease time shorter (networks[].dhcp), or `helperd leases release` what is not needed",
		u.Pool, u.Network, u.Percent(), u.Size-float64(u.Leased+u.Declined), u.Size)
}
