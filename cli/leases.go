package cli

import (
	"time"

	"github.com/spf13/cobra"

	"helperd/api"
)

func (a *app) leasesCmd() *cobra.Command {
	return a.talks(&cobra.Command{
		Use:   "leases",
		Short: "Show every address that DHCP gives out: reservations and pool leases",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			rows, err := a.client().Leases(c.Context())
			if err != nil {
				return err
			}
			return a.show(c.OutOrStdout(), rows, func(t *table) {
				t.row("ADDRESS", "MAC", "KIND", "STATE", "EXPIRES IN", "HOST NAME")
				for i := range rows {
					leaseRow(t, &rows[i])
				}
			})
		},
	})
}

func leaseRow(t *table, l *api.Lease) {
	if l.Kind != "pool" { // an address of the file is its machine's whether it is on or not
		t.row(l.Address, l.MAC, l.Kind, "", "", l.Hostname)
		return
	}
	left := time.Until(l.Expires)
	if left <= 0 {
		t.row(l.Address, l.MAC, l.Kind, "expired", "", l.Hostname)
		return
	}
	t.row(l.Address, l.MAC, l.Kind, l.State, span(left), l.Hostname)
}
