package engine

import (
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
)

// A clock that is set must not end leases early, nor keep anything for the length of the step.
func TestClockStep(t *testing.T) {
	const year = 365 * 24 * 3600
	for _, step := range []int64{year, -year} {
		l := newLab(t, basic())
		leased := l.lease(stranger)
		var a Answer
		l.e.Heard(l.link(), ip("192.168.67.77"), other, l.now, &a)
		for i := range 2 * noteBurst { // the budget of events is used up
			l.send(plan.MAC{2, 9, 0, 0, 0, byte(i)}, dhcpv4.MessageTypeDiscover)
		}
		l.now += step
		for _, r := range l.e.Stepped(step, l.now) {
			if r.Address == leased && r.Expires.Unix() != l.now+4*3600+1 {
				t.Errorf("step of %d s: written again until %s", step, r.Expires)
			}
		}
		l.now += foreignFor
		if f := l.e.Foreign(l.now); len(f) != 0 {
			t.Errorf("step of %d s: still foreign after ten minutes: %+v", step, f)
		}
		if leases := l.e.Leases(l.now); len(leases) != 1 || leases[0].Expires.Unix() > l.now+4*3600 {
			t.Errorf("step of %d s: leases %+v at %d", step, leases, l.now)
		}
		for i := range 4 {
			if got := l.lease(plan.MAC{2, 8, 0, 0, 0, byte(i)}); got == leased || !got.IsValid() {
				t.Errorf("step of %d s: client %d got %s", step, i, got)
			}
		}
		if got := l.lease(plan.MAC{2, 8, 0, 0, 0, 9}); got.IsValid() {
			t.Errorf("step of %d s: a lease that lives was given to another: %s", step, got)
		}
		if len(l.events()) == 0 {
			t.Errorf("step of %d s: strangers have no events any more", step)
		}
		if l.send(stranger, dhcpv4.MessageTypeRequest, ciaddr(leased.String())); !l.last.Durable {
			t.Errorf("step of %d s: promised by what the disk says in the time of before", step)
		}
		l.now += 4*3600 + 2
		if leases := l.e.Leases(l.now); len(leases) != 0 {
			t.Errorf("step of %d s: leases that ended are listed: %+v", step, leases)
		}
	}
}
