package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"helperd/api"
)

func (a *app) statusCmd() *cobra.Command {
	return a.talks(&cobra.Command{
		Use:   "status",
		Short: "Say whether all is well: the configuration and every service; exit code 6 if not",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.client().Status(c.Context())
			if err != nil {
				return err
			}
			if err := a.show(c.OutOrStdout(), s, func(t *table) { statusRows(t, c.OutOrStdout(), &s) }); err != nil {
				return err
			}
			if !s.Healthy() {
				return &ExitError{Code: exitDegraded}
			}
			return nil
		},
	})
}

func statusRows(t *table, w io.Writer, s *api.Status) {
	conf := &s.Configuration
	_, _ = fmt.Fprintf(w, "helperd %s, pid %d, up %s\n", s.Version, s.PID, ago(s.Started))
	_, _ = fmt.Fprintf(w, "configuration %s: %s", conf.Path, conf.State)
	if s.Generation > 0 {
		_, _ = fmt.Fprintf(w, "; generation %d (%.12s) is served since %s", s.Generation, conf.Hash, conf.Applied.Format("15:04:05"))
	}
	_, _ = fmt.Fprintln(w)
	for _, l := range append(conf.Errors, conf.Warnings...) {
		_, _ = fmt.Fprintln(w, "  "+l)
	}
	_, _ = fmt.Fprintln(w)
	t.row("SERVICE", "STATE", "LISTENS ON", "PROBLEM")
	for _, svc := range s.Services {
		var addrs []string
		for _, l := range svc.Listeners {
			text := l.Address + "/" + l.Network
			if l.Device != "" {
				text = l.Device + ":" + text
			}
			if !l.Bound {
				text += " (held by " + l.Holder + ")"
			}
			addrs = append(addrs, text)
		}
		problem := svc.Problem
		if problem == "" {
			problem = svc.LastError
		}
		t.row(svc.Name, svc.State, strings.Join(addrs, " "), problem)
	}
	for _, u := range s.Unserved {
		t.row(u.Service, "not served", "", u.Reason)
	}
}
