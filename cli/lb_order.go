package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"helperd/api"
)

// orderCmds are the orders that people give for servers.
func (a *app) orderCmds() []*cobra.Command {
	return []*cobra.Command{
		a.orderCmd("drain", "Send no new connections to a server, and leave its open ones alone", "It is still checked."),
		a.orderCmd("maint", "Take a server into maintenance: no new connections and no checks; open ones are left alone",
			"After `helperd lb ready` it takes connections when a check says that it is up."),
		a.orderCmd("ready", "Give a server back to its checks after drain or maint, with the weight of the file", ""),
	}
}

// orderCmd is `helperd lb ORDER SERVER`.
func (a *app) orderCmd(order, short, more string) *cobra.Command {
	if more != "" {
		more += " "
	}
	c := a.prints(a.asks(&cobra.Command{
		Use:   order + " SERVER",
		Short: short,
		Long: short + ".\n" + more + "This is kept over reloads and restarts, until it is undone or the server leaves the file.\n\n" +
			"SERVER is BACKEND/SERVER; or a node by its name, in all backends that it serves; or the bare name\n" +
			"of another server, in all backends that have it, when only one machine is called so.",
		Args: oneArg("SERVER"),
		RunE: func(c *cobra.Command, args []string) error {
			done, err := a.client().OrderServers(c.Context(), args[0], order)
			if err != nil {
				return err
			}
			return a.show(c.OutOrStdout(), done, func(t *table) { orderedLines(t, &done) })
		},
	}))
	c.ValidArgsFunction = a.completeServers
	return c
}

// orderedLines say what was done, and what it does to the backends.
func orderedLines(t *table, done *api.Ordered) {
	if strings.Contains(done.Name, "/") {
		t.line("%s: %s", done.Name, done.Order)
	} else {
		short, _, _ := strings.Cut(done.Name, ".")
		where := make([]string, len(done.Servers))
		for i, s := range done.Servers {
			where[i] = strings.TrimSuffix(s, "/"+short)
		}
		t.line("%s: %s in %s", done.Name, done.Order, strings.Join(where, ", "))
	}
	if done.Active > 0 && done.Order != "ready" {
		t.line("%d connections are open and live on", done.Active)
	}
	for _, w := range done.Warnings {
		t.line("%s", w)
	}
}

// completeServers offers what an order may name.
func (a *app) completeServers(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	o, _, err := a.balancer(c.Context())
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, b := range o.Backends {
		for i := range b.Servers {
			names = append(names, b.Name+"/"+b.Servers[i].Name, b.Servers[i].Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
}
