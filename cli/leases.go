package cli

import (
	"time"

	"github.com/spf13/cobra"
)

func (a *app) leasesCmd() *cobra.Command {
	return a.talks(&cobra.Command{
		Use:   "leases",
		Short: "Show every address that DHCP gives out: reservations and pool leases",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			rows, err := a.client().Leases(c.Context())
			if err != nil {
				return err
			}
			return a.show(c.OutOrStdout(), rows, func(t *table) {
				t.row("ADDRESS", "MAC", "KIND", "STATE", "NAME", "EXPIRES IN")
				for _, l := range rows {
					expires := ""
					if !l.Expires.IsZero() {
						expires = time.Until(l.Expires).Round(time.Second).String()
					}
					t.row(l.Address, l.MAC, l.Kind, l.State, l.Hostname, expires)
				}
			})
		},
	})
}
