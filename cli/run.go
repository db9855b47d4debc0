package cli

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"helperd/daemon"
	"helperd/internal/journal"
)

const (
	defaultConfig = "/etc/helper.yaml"
	defaultState  = "/var/lib/helperd"
	defaultSocket = "/run/helperd/helperd.sock"
)

func (a *app) runCmd() *cobra.Command {
	opt := daemon.Options{Version: a.version}
	var verbose bool
	c := &cobra.Command{
		Use:   "run",
		Short: "Serve in the foreground until SIGTERM; a change of the file or SIGHUP is applied live",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			level := slog.LevelInfo
			if verbose {
				level = slog.LevelDebug
			}
			opt.Log = slog.New(journal.New(os.Stderr, level))
			hup := make(chan os.Signal, 1)
			signal.Notify(hup, syscall.SIGHUP)
			defer signal.Stop(hup)
			opt.HUP = hup
			opt.TestHooks = os.Getenv("HELPERD_TEST_HOOKS") == "1"
			return daemon.Run(c.Context(), opt)
		},
	}
	c.Flags().StringVar(&opt.ConfigPath, "config", defaultConfig, "configuration file")
	c.Flags().StringVar(&opt.StateDir, "state", defaultState, "folder for leases and other state")
	c.Flags().StringVar(&opt.SocketPath, "socket", defaultSocket, "admin socket")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "log more")
	return c
}
