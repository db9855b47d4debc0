package cli

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"helperd/api"
)

// followLeases writes a line for each lease and for each change until ctx ends,
// which is no error: the person who watches has seen enough.
func (a *app) followLeases(ctx context.Context, w io.Writer, f *leaseFilter) error {
	seen := map[netip.Addr]api.Lease{}
	for {
		all, err := a.client().Leases(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		for _, line := range leaseChanges(seen, f.of(all)) {
			if _, err := fmt.Fprintln(w, printable(time.Now().Format(time.TimeOnly)+"  "+line)); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(refreshEvery):
		}
	}
}

// leaseChanges gives a line for all that is not as in seen, and brings seen up to date.
func leaseChanges(seen map[netip.Addr]api.Lease, now []api.Lease) (lines []string) {
	gone := map[netip.Addr]api.Lease{}
	for addr, l := range seen {
		gone[addr] = l
	}
	for i := range now {
		l := &now[i]
		old, known := seen[l.Address]
		delete(gone, l.Address)
		seen[l.Address] = *l
		state := leaseState(l)
		switch {
		case known && leaseState(&old) == state && old.MAC == l.MAC && old.Hostname == l.Hostname && !l.Expires.After(old.Expires):
			continue
		case known && leaseState(&old) == state && old.MAC == l.MAC:
			state = "renewed"
		}
		lines = append(lines, leaseLine(l, state, leaseLeft(l)))
	}
	var freed []string
	for addr := range gone {
		l := gone[addr]
		delete(seen, addr)
		freed = append(freed, leaseLine(&l, "free", ""))
	}
	slices.Sort(freed)
	return append(lines, freed...)
}

func leaseLine(l *api.Lease, state, left string) string {
	return strings.TrimRight(fmt.Sprintf("%-15s  %-8s  %-6s  %-17s  %s", l.Address, state, left, leaseMAC(l), l.Hostname), " ")
}
