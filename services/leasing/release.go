package leasing

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"helperd/timeline"
)

// releaseTime is how long the disk may take with a lease that a person releases.
const releaseTime = 5 * time.Second

// Released waits until the end of the lease of addr, which a person ordered, is on
// disk: stored is told. Then it tells so.
func Released(ctx context.Context, addr netip.Addr, stored <-chan error, events *timeline.Timeline) error {
	ctx, cancel := context.WithTimeout(ctx, releaseTime)
	defer cancel()
	select {
	case err := <-stored:
		if err != nil {
			return fmt.Errorf("%s is free now, and that is not on disk: %w; if helperd starts again before it is, the lease is back", addr, err)
		}
		events.Emit(timeline.Event{Kind: timeline.DHCPReleased, Addr: addr, Detail: "by order of the administrator"})
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s is free now, and after %s the disk has not taken it yet; look at `helperd status`", addr, releaseTime)
	}
}
