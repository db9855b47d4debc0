package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"helperd/internal/handover"
)

func (a *app) versionCmd() *cobra.Command {
	var format bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if format {
				_, err := fmt.Fprintln(c.OutOrStdout(), handover.Version)
				return err
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "helperd %s %s %s/%s\n", a.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
	c.Flags().BoolVar(&format, "handover", false, "print by which format it takes over from a running daemon (see upgrade)")
	return c
}
