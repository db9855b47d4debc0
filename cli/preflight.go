package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"helperd/preflight"
)

func newPreflightCmd() *cobra.Command {
	a := &app{}
	var path, user string
	c := &cobra.Command{
		Use:   "preflight",
		Short: "Look for what keeps this machine from being a helper node: held ports, firewall, SELinux, unreadable files, a second DHCP server",
		Long: "preflight reads the configuration and looks at the machine. It changes nothing, and sends one\n" +
			"DHCPDISCOVER a network to hear other DHCP servers. Run it as root before the first start:\n" +
			"some questions only root may ask. Exit code 8 when something will not work.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			p, err := loadPlan(path, c.ErrOrStderr())
			if err != nil {
				return err
			}
			env, err := preflight.System(user)
			if err != nil {
				return err
			}
			found := preflight.Run(c.Context(), p, env)
			if err := a.show(c.OutOrStdout(), found, func(t *table) { findingRows(t, found) }); err != nil {
				return err
			}
			if a.output == "table" {
				advise(c.OutOrStdout(), found)
			}
			if preflight.Worst(found) == preflight.Problem {
				return &ExitError{Code: exitPreflight}
			}
			return nil
		},
	}
	c.Flags().StringVar(&path, "config", defaultConfig, "configuration file")
	c.Flags().StringVar(&user, "user", "", "user that the daemon runs as (default helperd when there is one, else the caller)")
	return a.prints(c)
}

func findingRows(t *table, found []preflight.Finding) {
	t.row("LEVEL", "CHECK", "WHERE", "WHAT")
	for _, f := range found {
		t.row(f.Level, f.Check, f.Where, f.What)
	}
}

// advise says of all that is not well why it matters and what to do.
func advise(w io.Writer, found []preflight.Finding) {
	for _, f := range found {
		if f.Level == preflight.OK {
			continue
		}
		subject := f.Check
		if f.Where != "" {
			subject += " " + f.Where
		}
		_, _ = fmt.Fprintf(w, "\n%s: %s %s\n", f.Level, subject, f.What)
		if f.Why != "" {
			_, _ = fmt.Fprintf(w, "  why: %s\n", f.Why)
		}
		if f.Do != "" {
			_, _ = fmt.Fprintf(w, "  do:  %s\n", f.Do)
		}
	}
}
