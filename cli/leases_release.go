package cli

import (
	"github.com/spf13/cobra"

	"helperd/api"
)

func (a *app) releaseCmd() *cobra.Command {
	c := a.talks(&cobra.Command{
		Use:   "release ADDRESS|MAC",
		Short: "End a pool lease, or the time in which nobody gets a declined address",
		Long: "End a pool lease, or the time in which nobody gets a declined address: the address is free at once, and after a\n" +
			"restart too. A MAC stands for all its leases over IPv4 and IPv6. What helper.yaml gives to a machine is no lease.\n\n" +
			"The machine is not told: it uses the address until it asks for more time. It then gets the same one if it is\n" +
			"still free. Switch it off before if another machine is to have the address.",
		Args: oneArg("ADDRESS or MAC"),
		RunE: func(c *cobra.Command, args []string) error {
			done, err := a.client().Release(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.show(c.OutOrStdout(), done, func(t *table) {
				for i := range done.Leases {
					releasedLine(t, &done.Leases[i])
				}
			})
		},
	})
	c.ValidArgsFunction = func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		rows, err := a.client().Leases(c.Context())
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for i := range rows {
			if rows[i].Kind == "pool" {
				names = append(names, rows[i].Address.String())
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	return c
}

func releasedLine(t *table, l *api.Lease) {
	who := leaseMAC(l)
	if l.Hostname != "" {
		who += " (" + l.Hostname + ")"
	}
	if leaseState(l) == isDeclined {
		t.line("%s is free again; it was in use without a lease (told by or of %s)", l.Address, who)
		return
	}
	t.line("%s is free; it was leased to %s, which uses it until it asks for more time", l.Address, who)
}
