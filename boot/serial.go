package boot

import (
	"regexp"
	"strconv"
	"strings"
)

// serial is the serial port that a kernel writes its console to.
type serial struct{ Unit, Speed int }

// serialArg is console=ttyS0,115200n8; the speed may be missing.
var serialArg = regexp.MustCompile(`^console=ttyS([0-3])(?:,(\d{2,6})[noe]?.*)?$`)

// serialOf is the last serial console among the arguments, which is the one
// that becomes /dev/console, or nil. Machines without a screen show the loader
// there. GRUB uses it on BIOS alone: on UEFI and POWER it writes to the firmware's
// console, which is on that port already, and every letter would come twice.
func serialOf(args []string) *serial {
	var found *serial
	for _, a := range args {
		for _, w := range strings.Fields(a) {
			m := serialArg.FindStringSubmatch(w)
			if m == nil {
				continue
			}
			s := &serial{Speed: 9600} // the kernel's own default
			s.Unit, _ = strconv.Atoi(m[1])
			if speed, err := strconv.Atoi(m[2]); err == nil {
				s.Speed = speed
			}
			found = s
		}
	}
	return found
}
