package daemon

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"helperd/services"
)

// notify tells systemd; without systemd it does nothing (sd_notify(3)).
func (d *Daemon) notify(state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		d.log.Warn("systemd not notified", "err", err)
	}
}

func (d *Daemon) notifyReloading() {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) == nil {
		d.notify(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", ts.Nano()/1000))
	}
}

// notifyStatus sets the line that `systemctl status` shows.
func (d *Daemon) notifyStatus() {
	v := d.view()
	line := fmt.Sprintf("configuration %s", v.status.State)
	if v.plan != nil {
		line = fmt.Sprintf("generation %d, %s, configuration %s", v.generation, nodeCount(len(v.plan.Nodes)), v.status.State)
	}
	for _, svc := range d.services {
		if s := svc.Status(); s.State == services.Degraded {
			line += fmt.Sprintf(", %s: %s", svc.Name(), s.Problem)
		}
	}
	d.notify("STATUS=" + strings.ReplaceAll(line, "\n", " ")) // a line is a message of its own
}

// watchdog tells systemd that the daemon lives. It does not ask the reload loop: a
// service that hangs in Prepare, as on a dead file server, goes on serving what it has.
func (d *Daemon) watchdog(ctx context.Context) error {
	every, err := systemd.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return err
	}
	tick := time.NewTicker(every / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			// These block if a lock that everybody needs is stuck, and systemd starts the daemon again.
			_ = d.view()
			_ = d.events.Since(math.MaxUint64)
			d.notify("WATCHDOG=1")
		}
	}
}
