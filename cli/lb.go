package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"helperd/services/lb"
	probes "helperd/services/lb/table"
)

func (a *app) lbCmd() *cobra.Command {
	var watch bool
	c := a.talks(&cobra.Command{
		Use:   "lb",
		Short: "Show the balancer: frontends, backends and the state of every server",
		Long: "Show the balancer: frontends, backends and the state of every server.\n" +
			"FAILED counts connections that could not be made, DOWN is the time since the start of the daemon that a\n" +
			"server was not up. CHECKS are the last 16 checks, the oldest first: a dot was answered well, an x was not.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if watch && a.output != asTable {
				return usageError("--watch is for people; ask again and again with -o %s instead", a.output)
			}
			show := func(w io.Writer) error {
				o, raw, err := a.balancer(c.Context())
				if err != nil {
					return err
				}
				return a.show(w, raw, func(t *table) { balancerRows(t, &o) })
			}
			if watch {
				return refresh(c.Context(), c.OutOrStdout(), show)
			}
			return show(c.OutOrStdout())
		},
	})
	c.Flags().BoolVarP(&watch, "watch", "w", false, "show the table again every second")
	c.AddCommand(a.orderCmds()...)
	return c
}

// balancer asks for the table, and gives the bytes too.
func (a *app) balancer(ctx context.Context) (o lb.Overview, raw json.RawMessage, err error) {
	raw, err = a.client().Balancer(ctx)
	if err != nil {
		return o, nil, err
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return o, nil, fmt.Errorf("balancer's table: %w", err)
	}
	return o, raw, nil
}

// balancerRows writes two tables. OPEN, TOTAL and TURNED AWAY count connections.
func balancerRows(t *table, o *lb.Overview) {
	if len(o.Frontends) == 0 {
		t.line("the balancer serves no frontend")
		return
	}
	t.line("%d of at most %d connections are open", o.Active, o.MaxConnections)
	t.line("")
	t.row("FRONTEND", "LISTENS ON", "BACKEND", "OPEN", "TOTAL", "TURNED AWAY")
	for _, f := range o.Frontends {
		t.row(f.Name, addresses(f.Listen), strings.TrimSpace(strings.Join(append(f.Routes, f.Backend), " ")), f.Active, f.Total, f.Refused+f.TooFast+f.Unnamed+f.BadHead)
	}
	for _, f := range o.Frontends {
		if f.Paused {
			t.line("%s is paused by the runtime API: clients wait until `enable frontend %s` there", f.Name, f.Name)
		}
		if x := f.Stray; x != nil {
			t.line("%s turned %s away %s: %s", f.Name, x.Client, ago(x.At), x.Detail)
		}
	}
	t.line("")
	t.row("BACKEND", "SERVER", "ADDRESS", "STATE", "SINCE", "OPEN", "TOTAL", "FAILED", "DOWN", "CHECKS", "LAST CHECK")
	for _, b := range o.Backends {
		for i := range b.Servers {
			serverRow(t, b.Name, &b.Servers[i])
		}
	}
}

func serverRow(t *table, backend string, s *lb.ServerStatus) {
	state := s.Now()
	if s.Backup {
		state += ", backup"
	}
	if s.Fallback {
		state += ", used as no server is up"
	}
	check := ""
	if s.Last != nil {
		check = fmt.Sprintf("%s, %s", s.Last.Detail, ago(s.Last.At))
	}
	down := ""
	if s.Downtime > 0 {
		down = span(s.Downtime)
	}
	t.row(backend, s.Name, s.Address, state, ago(s.Since), s.Active, s.Total, s.Failed, down, marks(s.History), check)
}

// marks are checks, the oldest first.
func marks(checks []probes.Result) string {
	var b strings.Builder
	for i := range checks {
		if checks[i].OK {
			b.WriteByte('.')
		} else {
			b.WriteByte('x')
		}
	}
	return b.String()
}

func addresses(list []netip.AddrPort) string {
	text := make([]string, len(list))
	for i, a := range list {
		text[i] = a.String()
	}
	return strings.Join(text, " ")
}
