package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"helperd/api"
	"helperd/internal/socket"
)

func (a *app) statusCmd() *cobra.Command {
	return a.talks(&cobra.Command{
		Use:   "status",
		Short: "Say whether all is well: the configuration and every service; exit code 6 if not",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.client().Status(c.Context())
			if err != nil {
				return err
			}
			if err := a.show(c.OutOrStdout(), s, func(t *table) { statusRows(t, &s) }); err != nil {
				return err
			}
			if !s.Healthy() {
				return &ExitError{Code: exitDegraded}
			}
			return nil
		},
	})
}

// fileStates say what the state of the file means for what is served.
var fileStates = map[api.FileState]string{
	api.Applied:  "applied",
	api.Broken:   "broken, it has mistakes and is not applied",
	api.Rejected: "rejected, it is valid and a service cannot take it",
	api.Missing:  "missing, it cannot be read",
	api.Waiting:  "waiting, much vanished from it; it is applied in some seconds unless it changes again",
}

func statusRows(t *table, s *api.Status) {
	conf := &s.Configuration
	t.line("helperd %s, pid %d, started %s", s.Version, s.PID, ago(s.Started))
	t.line("configuration %s: %s", conf.Path, cmp.Or(fileStates[conf.State], string(conf.State)))
	for _, l := range slices.Concat(conf.Errors, conf.Warnings) {
		t.line("  %s", l)
	}
	if s.Generation > 0 {
		t.line("serving generation %d (%.12s), applied %s", s.Generation, conf.Hash, ago(conf.Applied))
	} else {
		t.line("serving nothing: no configuration was applied yet")
	}
	t.line("")
	t.row("SERVICE", "STATE", "LISTENS ON")
	for i := range s.Services {
		serviceRow(t, &s.Services[i])
	}
	for _, u := range s.Unserved {
		if !slices.ContainsFunc(s.Services, func(svc api.Service) bool { return svc.Name == u.Service }) { // else a part of it
			t.row(u.Service, "not served", "")
		}
	}
	for i := range s.Services {
		problemLines(t, &s.Services[i])
	}
	for _, u := range s.Unserved {
		t.line("")
		t.line("%s: %s", u.Service, u.Reason)
	}
}

func serviceRow(t *table, svc *api.Service) {
	if len(svc.Listeners) == 0 {
		t.row(svc.Name, svc.State, "")
	}
	for i, l := range svc.Listeners {
		if i == 0 {
			t.row(svc.Name, svc.State, listener(l))
		} else {
			t.more(3, listener(l))
		}
	}
}

func listener(l socket.Status) string {
	text := l.Address + "/" + l.Network
	if l.Device != "" {
		text += " on " + l.Device
	}
	if !l.Bound {
		text += ", held by " + cmp.Or(l.Holder, "another process")
	}
	return text
}

// problemLines says what keeps a service from its work, and what people may have forgotten, one thing a line.
func problemLines(t *table, svc *api.Service) {
	var lines []string
	for l := range strings.Lines(svc.Problem) {
		lines = append(lines, strings.TrimSpace(l))
	}
	for l := range strings.Lines(svc.LastError) {
		lines = append(lines, "last error: "+strings.TrimSpace(l))
	}
	if svc.Panics > 0 {
		lines = append(lines, fmt.Sprintf("panics since the start: %d; it goes on after each, the log has the stack", svc.Panics))
	}
	lines = append(lines, svc.Notes...)
	if len(lines) == 0 {
		return
	}
	t.line("")
	t.line("%s:", svc.Name)
	for _, l := range lines {
		t.line("  %s", l)
	}
}
