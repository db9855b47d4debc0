// Package cli is the command line, one file a command.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"helperd/api"
)

// Exit codes that scripts rely on.
const (
	exitError       = 1
	exitUsage       = 2
	exitInvalid     = 3 // configuration invalid
	exitUnreachable = 4 // daemon not reachable
	exitRefused     = 5
	exitDegraded    = 6
	exitPreflight   = 8
)

// ExitError ends the program with Code. A nil Err prints nothing: all is said.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

func (e *ExitError) Unwrap() error { return e.Err }

// app is what all commands share.
type app struct {
	version string
	socket  string
	output  string // table or json
}

func (a *app) client() *api.Client { return api.NewClient(a.socket) }

// Main runs the command line and gives the exit code.
func Main(ctx context.Context, version string, args []string, stdout, stderr io.Writer) int {
	a := &app{version: version}
	root := &cobra.Command{
		Use:   "helperd",
		Short: "A complete helper node for installing OpenShift, in one process",
		Long: "helperd serves DNS, DHCP, TFTP, HTTP and the load balancer that an OpenShift\n" +
			"installation on bare metal or VMs needs, from one file: /etc/helper.yaml.",
		SilenceErrors: true, SilenceUsage: true,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &ExitError{exitUsage, err} })
	root.AddCommand(a.runCmd(), a.checkCmd(), a.planCmd(), a.statusCmd(), a.nodesCmd(), a.leasesCmd(), a.eventsCmd(),
		a.lbCmd(), a.schemaCmd(), a.versionCmd(), newDemoCmd(), newPreflightCmd())
	for _, c := range root.Commands() {
		usageErrors(c)
	}
	return exitCode(root.ExecuteContext(ctx), stderr)
}

// usageErrors makes wrong arguments end with the usage exit code.
func usageErrors(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return &ExitError{exitUsage, fmt.Errorf("%w; see `%s --help`", err, c.CommandPath())}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		usageErrors(sub)
	}
}

func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		_, _ = fmt.Fprintln(stderr, text)
	}
	var exit *ExitError
	switch {
	case errors.As(err, &exit):
		return exit.Code
	case errors.Is(err, api.ErrUnreachable):
		return exitUnreachable
	case errors.Is(err, api.ErrRefused):
		return exitRefused
	case isUnknownCommand(err):
		return exitUsage
	}
	return exitError
}

// isUnknownCommand tells cobra's untyped error for a command that does not exist.
func isUnknownCommand(err error) bool {
	return len(err.Error()) > 15 && err.Error()[:15] == "unknown command"
}

// talks gives c the flags of commands that talk to the daemon.
func (a *app) talks(c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(&a.socket, "socket", defaultSocket, "admin socket of the daemon")
	return a.prints(c)
}

// prints gives c the flag of commands that print a table or JSON.
func (a *app) prints(c *cobra.Command) *cobra.Command {
	c.Flags().StringVarP(&a.output, "output", "o", "table", "table or json")
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if a.output != "table" && a.output != "json" {
			return &ExitError{exitUsage, fmt.Errorf("-o %s: write table or json", a.output)}
		}
		return run(c, args)
	}
	return c
}
