package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) planCmd() *cobra.Command {
	var running bool
	c := &cobra.Command{
		Use:   "plan [FILE]",
		Short: "Show all that follows from a file: records, reservations, boot files, frontends",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if running {
				text, err := a.client().Plan(c.Context())
				if err != nil {
					return err
				}
				_, err = fmt.Fprint(c.OutOrStdout(), text)
				return err
			}
			path := defaultConfig
			if len(args) == 1 {
				path = args[0]
			}
			p, err := loadPlan(path, c.ErrOrStderr())
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(c.OutOrStdout(), p.String())
			return err
		},
	}
	c.Flags().BoolVar(&running, "running", false, "show what the daemon serves now")
	c.Flags().StringVar(&a.socket, "socket", defaultSocket, "admin socket of the daemon")
	return c
}
