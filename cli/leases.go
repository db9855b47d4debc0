package cli

import (
	"context"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"helperd/api"
)

func (a *app) leasesCmd() *cobra.Command {
	var f leaseFilter
	var watch bool
	c := a.talks(&cobra.Command{
		Use:   "leases [FILTER...]",
		Short: "Show every address that DHCP gives out: reservations and pool leases",
		Long: "Show every address that DHCP gives out over IPv4 and IPv6: reservations and pool leases.\n" +
			"A FILTER is a network, an address, a MAC, a host name or a part of one of these; all FILTERs must fit.\n\n" +
			"reserved  helper.yaml gives the address to the machine, whether it is on or not\n" +
			"leased    from a pool, until LEFT has passed\n" +
			"declined  in use without a lease: nobody gets it until LEFT has passed; MAC found that out, or uses it\n" +
			"expired   from a pool, and free",
		Example: "  helperd leases 192.168.67.0/24 --pool\n  helperd leases worker-0\n  helperd leases --state declined\n  helperd leases release 192.168.67.105",
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			f.words = args
			if err := f.check(); err != nil {
				return err
			}
			if watch && a.output != asTable {
				return usageError("--watch is for people; ask again and again with -o %s instead", a.output)
			}
			w := c.OutOrStdout()
			switch {
			case watch && terminal(w):
				return refresh(c.Context(), w, func(w io.Writer) error { return a.showLeases(c.Context(), w, &f) })
			case watch:
				return a.followLeases(c.Context(), w, &f)
			}
			return a.showLeases(c.Context(), w, &f)
		},
	})
	c.Flags().BoolVarP(&watch, "watch", "w", false, "show the table again every second; in a pipe, a line for each change")
	c.Flags().BoolVar(&f.pool, "pool", false, "only leases from pools")
	c.Flags().BoolVar(&f.reserved, "reserved", false, "only addresses that helper.yaml gives to machines")
	c.Flags().StringVar(&f.state, "state", "", "only addresses in this state: "+strings.Join(leaseStates(), ", "))
	// It only fails for a flag that is not there.
	_ = c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(leaseStates(), cobra.ShellCompDirectiveNoFileComp))
	c.AddCommand(a.releaseCmd())
	return c
}

func (a *app) showLeases(ctx context.Context, w io.Writer, f *leaseFilter) error {
	all, err := a.client().Leases(ctx)
	if err != nil {
		return err
	}
	rows := f.of(all)
	return a.show(w, rows, func(t *table) {
		switch {
		case len(all) == 0:
			t.line("DHCP gives out no address: no machine of helper.yaml has one with a mac, and no pool lease is in use")
			return
		case len(rows) == 0:
			t.line("none of %d addresses fits; `helperd leases` shows them all", len(all))
			return
		}
		t.row("ADDRESS", "STATE", "LEFT", "MAC", "HOST NAME")
		for i := range rows {
			l := &rows[i]
			t.row(l.Address, leaseState(l), leaseLeft(l), leaseMAC(l), l.Hostname)
		}
	})
}

// The states of an address in words.
const (
	isReserved = "reserved"
	isLeased   = "leased"
	isDeclined = "declined"
	isExpired  = "expired"
)

func leaseStates() []string { return []string{isReserved, isLeased, isDeclined, isExpired} }

func leaseState(l *api.Lease) string {
	switch {
	case l.Kind != "pool":
		return isReserved
	case !time.Now().Before(l.Expires):
		return isExpired
	case l.State.String() == isDeclined:
		return isDeclined
	}
	return isLeased
}

// leaseLeft is how long the state lasts; empty: for ever, or it is over.
func leaseLeft(l *api.Lease) string {
	if s := leaseState(l); s == isReserved || s == isExpired {
		return ""
	}
	return span(time.Until(l.Expires))
}

// leaseMAC is empty for a machine of IPv6 that nothing tells the MAC of.
func leaseMAC(l *api.Lease) string {
	if l.MAC.IsZero() {
		return ""
	}
	return l.MAC.String()
}

// leaseFilter says which leases a person wants to see.
type leaseFilter struct {
	words          []string
	pool, reserved bool
	state          string
}

func (f *leaseFilter) check() error {
	switch {
	case f.pool && f.reserved:
		return usageError("--pool and --reserved are both given; write one of them, or none for all")
	case f.state != "" && !slices.Contains(leaseStates(), f.state):
		return usageError("%q is no state of an address; write %s", f.state, strings.Join(leaseStates(), ", "))
	}
	return nil
}

func (f *leaseFilter) of(all []api.Lease) []api.Lease {
	out := []api.Lease{}
	for i := range all {
		if f.fits(&all[i]) {
			out = append(out, all[i])
		}
	}
	return out
}

func (f *leaseFilter) fits(l *api.Lease) bool {
	if f.pool && l.Kind != "pool" || f.reserved && l.Kind == "pool" || f.state != "" && leaseState(l) != f.state {
		return false
	}
	return !slices.ContainsFunc(f.words, func(word string) bool { return !named(l, word) })
}

// named reports whether word is of the lease: its network, or a part of its address, MAC or name. A whole address is only itself.
func named(l *api.Lease, word string) bool {
	if p, err := netip.ParsePrefix(word); err == nil {
		return p.Contains(l.Address)
	}
	if a, err := netip.ParseAddr(word); err == nil {
		return a == l.Address
	}
	word = strings.ToLower(word)
	return slices.ContainsFunc([]string{l.Address.String(), leaseMAC(l), strings.ReplaceAll(leaseMAC(l), ":", "-"), strings.ToLower(l.Hostname), strings.ToLower(l.Node)},
		func(s string) bool { return strings.Contains(s, word) })
}
