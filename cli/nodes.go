package cli

import (
	"github.com/spf13/cobra"
)

func (a *app) nodesCmd() *cobra.Command {
	c := a.talks(&cobra.Command{
		Use:   "nodes",
		Short: "Show every node: how far its boot is, since when, and why it is stuck",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			rows, err := a.client().Nodes(c.Context())
			if err != nil {
				return err
			}
			return a.show(c.OutOrStdout(), rows, func(t *table) {
				t.row("NODE", "ROLE", "ADDRESS", "STAGE", "SINCE", "BOOT", "SEEN", "HINT")
				for _, n := range rows {
					stage := string(n.Story.Stage)
					if n.Story.Progress != "" {
						stage = n.Story.Progress
					}
					t.row(n.FQDN, n.Role, n.IP, stage, ago(n.Story.Since), n.Boot.Phase, ago(n.Story.Last), n.Story.Hint)
				}
			})
		},
	})
	c.AddCommand(a.reinstallCmd())
	return c
}

func (a *app) reinstallCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "reinstall NAME",
		Short: "Let the next network boot of a node install it again",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.client().Reinstall(c.Context(), args[0])
		},
	}
	c.Flags().StringVar(&a.socket, "socket", defaultSocket, "admin socket of the daemon")
	return c
}
