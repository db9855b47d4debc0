package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) planCmd() *cobra.Command {
	var running bool
	c := a.asks(&cobra.Command{
		Use:   "plan [FILE]",
		Short: "Show all that follows from a file: records, reservations, boot files, frontends",
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return fmt.Errorf("at most one FILE is expected, and %d are given", len(args))
			case len(args) == 1 && running:
				return errors.New("FILE and --running are both given; write one of them")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			text, err := a.planText(c, args, running)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(c.OutOrStdout(), text)
			return err
		},
	})
	c.Flags().BoolVar(&running, "running", false, "show what the daemon serves now")
	return c
}

func (a *app) planText(c *cobra.Command, args []string, running bool) (string, error) {
	if running {
		return a.client().Plan(c.Context())
	}
	path := defaultConfig
	if len(args) == 1 {
		path = args[0]
	}
	p, err := loadPlan(path, c.ErrOrStderr())
	if err != nil {
		return "", err
	}
	return p.String(), nil
}
