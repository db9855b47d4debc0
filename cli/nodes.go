package cli

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"helperd/api"
)

func (a *app) nodesCmd() *cobra.Command {
	c := a.talks(&cobra.Command{
		Use:   "nodes",
		Short: "Show every node: how far its boot is, since when, and why it is stuck",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			rows, err := a.client().Nodes(c.Context())
			if err != nil {
				return err
			}
			return a.show(c.OutOrStdout(), rows, func(t *table) { nodeRows(t, rows) })
		},
	})
	c.AddCommand(a.reinstallCmd(), a.armCmd())
	return c
}

// nodeRows writes the hints below the table: each is a sentence.
func nodeRows(t *table, rows []api.Node) {
	t.row("NODE", "ROLE", "ADDRESS", "STAGE", "REACHED", "LAST SEEN", "INSTALLATION")
	for i := range rows {
		n := &rows[i]
		stage := cmp.Or(n.Story.Progress, string(n.Story.Stage))
		t.row(n.FQDN, n.Role, address(n.IP, n.IP6), stage, ago(n.Story.Since), ago(n.Story.Last), n.Boot.Phase)
	}
	stuck := slices.DeleteFunc(slices.Clone(rows), func(n api.Node) bool { return n.Story.Hint == "" })
	for i := range stuck {
		if i == 0 {
			t.line("")
		}
		t.line("%s: %s", stuck[i].FQDN, stuck[i].Story.Hint)
	}
}

// address is the first that there is.
func address(all ...netip.Addr) string {
	for _, a := range all {
		if a.IsValid() {
			return a.String()
		}
	}
	return ""
}

func (a *app) reinstallCmd() *cobra.Command {
	return a.asks(&cobra.Command{
		Use:   "reinstall NAME",
		Short: "Let the next network boot of a node install it again",
		Args:  oneArg("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.client().Reinstall(c.Context(), args[0])
		},
	})
}

func (a *app) armCmd() *cobra.Command {
	return a.asks(&cobra.Command{
		Use:   "arm NAME",
		Short: "Give a node its ignition file for an hour although nobody proves its address",
		Long: "Give a node its ignition file for an hour although nobody proves its address: that of a machine behind a router,\n" +
			"with a static address or one of a foreign DHCP server. You vouch that the machine at its address is the node.\n" +
			"Ten minutes after the file was fetched whole, the gate closes. A node that is installed is installed again.",
		Args: oneArg("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			until, err := a.client().Arm(c.Context(), args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "until %s the machine at the address of %s may fetch its ignition file\n", until.Local().Format(time.TimeOnly), args[0])
			return err
		},
	})
}
