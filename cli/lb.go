package cli

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"helperd/services/lb"
)

func (a *app) lbCmd() *cobra.Command {
	return a.talks(&cobra.Command{
		Use:   "lb",
		Short: "Show the balancer: frontends, backends and the state of every server",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			raw, err := a.client().Balancer(c.Context())
			if err != nil {
				return err
			}
			var o lb.Overview
			if err := json.Unmarshal(raw, &o); err != nil {
				return fmt.Errorf("balancer's table: %w", err)
			}
			return a.show(c.OutOrStdout(), raw, func(t *table) { balancerRows(t, &o) })
		},
	})
}

func balancerRows(t *table, o *lb.Overview) {
	t.row("FRONTEND", "LISTENS ON", "BACKEND", "ACTIVE", "TOTAL", "REFUSED")
	for _, f := range o.Frontends {
		t.row(f.Name, addresses(f.Listen), f.Backend, f.Active, f.Total, f.Refused)
	}
	t.row(" ")
	t.row("BACKEND", "SERVER", "ADDRESS", "STATE", "SINCE", "LAST CHECK", "ACTIVE", "TOTAL")
	for _, b := range o.Backends {
		for _, s := range b.Servers {
			state := s.State
			if s.Backup {
				state += ", backup"
			}
			if s.Fallback {
				state += ", fallback"
			}
			check := ""
			if s.Last != nil {
				check = s.Last.Detail
			}
			t.row(b.Name, s.Name, s.Address, state, ago(s.Since), check, s.Active, s.Total)
		}
	}
}

func addresses(list []netip.AddrPort) string {
	text := make([]string, len(list))
	for i, a := range list {
		text[i] = a.String()
	}
	return strings.Join(text, " ")
}
