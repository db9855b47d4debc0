package cli

import (
	"errors"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"helperd/demo"
)

func newDemoCmd() *cobra.Command {
	var opt demo.Options
	var inside bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Boot a small virtual cluster on this machine: no root, no hardware, no change to the machine",
		Long: "demo runs the daemon with the example configuration in a network namespace of its own, and boots\n" +
			"the example's machines there: they ask by DHCP, load by TFTP and HTTP, install, resolve names and\n" +
			"join through the balancer. Then a worker is added to the file while all runs. It succeeds only\n" +
			"when every machine came up and no connection was lost. It takes about 20 s and needs user\n" +
			"namespaces, or root.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			opt.Version, opt.Out = c.Root().Version, c.OutOrStdout()
			if inside {
				return demo.Run(c.Context(), opt)
			}
			err := demo.Enter(c.Context(), append(os.Args[1:], "--inside"), c.OutOrStdout(), c.ErrOrStderr())
			var failed *exec.ExitError
			if errors.As(err, &failed) {
				return &ExitError{Code: max(failed.ExitCode(), exitError)} // it said why itself
			}
			return err
		},
	}
	c.Flags().BoolVar(&opt.Keep, "keep", false, "go on after all machines are up, until Ctrl-C")
	c.Flags().BoolVar(&opt.JSON, "json", false, "print one JSON object a line")
	c.Flags().BoolVar(&inside, "inside", false, "run in this network namespace")
	_ = c.Flags().MarkHidden("inside")
	return c
}
