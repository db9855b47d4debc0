// Package cli is the command line, one file a command.
package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"helperd/api"
)

// app is what all commands share.
type app struct {
	version string
	socket  string
	output  format
}

func (a *app) client() *api.Client { return api.NewClient(a.socket) }

// Main runs the command line and gives the exit code.
func Main(ctx context.Context, version string, args []string, stdout, stderr io.Writer) int {
	root := newRoot(version)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return exitCode(root.ExecuteContext(ctx), stderr)
}

func newRoot(version string) *cobra.Command {
	a := &app{version: version}
	root := &cobra.Command{
		Use:   "helperd",
		Short: "A complete helper node for installing OpenShift, in one process",
		Long: "helperd serves DNS, DHCP, TFTP, HTTP, FTP, NTP and the balancer that an OpenShift\n" +
			"installation on bare metal or VMs needs, from one file: /etc/helper.yaml.",
		Version:       version,
		SilenceErrors: true, SilenceUsage: true,
		Args: noArgs,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usageError("%w; %s", err, seeHelp(c)) })
	root.AddCommand(a.runCmd(), a.checkCmd(), a.planCmd(), a.statusCmd(), a.nodesCmd(), a.isoCmd(), a.leasesCmd(), a.dhcpCmd(), a.eventsCmd(),
		a.lbCmd(), a.artifactsCmd(), a.bootCmd(), a.caCmd(), a.schemaCmd(), a.upgradeCmd(), a.versionCmd(), newDemoCmd(), newPreflightCmd())
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	strict(root)
	return root
}

// strict makes wrong arguments of c and all below it end with the usage exit
// code. Cobra shows the help of a command that only has others below it and
// does not look at its arguments.
func strict(c *cobra.Command) {
	if !c.Runnable() {
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	switch {
	case c.Name() == "help" && c.Parent() == c.Root():
		c.Args = helpArgs
	case c.Args != nil:
		check := c.Args
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usageError("%w; %s", err, seeHelp(c))
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		strict(sub)
	}
}

// noArgs is for commands without arguments, and for those that only have commands below them.
func noArgs(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case !c.HasSubCommands():
		return fmt.Errorf("%q is one argument too many", args[0])
	}
	return unknownCommand(c, args[0])
}

func unknownCommand(c *cobra.Command, name string) error {
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(name); len(near) > 0 {
		return fmt.Errorf("%s has no command %q (did you mean %s?)", c.CommandPath(), name, strings.Join(near, " or "))
	}
	return fmt.Errorf("%s has no command %q", c.CommandPath(), name)
}

// oneArg is for commands that take just one thing, such as FILE.
func oneArg(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return fmt.Errorf("%s is missing", what)
		case 1:
			return nil
		}
		return fmt.Errorf("one %s is expected, and %d are given", what, len(args))
	}
}

func helpArgs(c *cobra.Command, args []string) error {
	found, rest, err := c.Root().Find(args)
	if err != nil {
		return usageError("%w", err)
	}
	if len(rest) > 0 {
		return usageError("%w; %s", unknownCommand(found, rest[0]), seeHelp(found))
	}
	return nil
}

func seeHelp(c *cobra.Command) string { return fmt.Sprintf("see `%s --help`", c.CommandPath()) }

// talks gives c the flags of commands that ask the daemon and show its answer.
func (a *app) talks(c *cobra.Command) *cobra.Command {
	a.asks(c)
	return a.prints(c)
}

// asks gives c the flag of commands that ask the daemon.
func (a *app) asks(c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(&a.socket, "socket", defaultSocket, "admin socket of the daemon")
	return c
}

// prints gives c the flag of commands that print a table, JSON or YAML.
func (a *app) prints(c *cobra.Command) *cobra.Command {
	a.output = asTable
	c.Flags().VarP(&a.output, "output", "o", "table, json or yaml")
	// It only fails for a flag that is not there.
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{string(asTable), string(asJSON), string(asYAML)}, cobra.ShellCompDirectiveNoFileComp))
	return c
}
