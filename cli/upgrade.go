package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"helperd/api"
)

// upgradeTime is how long the daemon may take to let downloads end and to come back as the new program.
const upgradeTime = time.Minute

func (a *app) upgradeCmd() *cobra.Command {
	var binary string
	c := &cobra.Command{
		Use:   "upgrade",
		Short: "Make the running daemon go on as the installed program, without closing a connection of the balancer",
		Long: "upgrade makes the running daemon execute the program that is now where it was\n" +
			"started from, which is what the package manager has just put there. The process,\n" +
			"its listening sockets and the connections through the balancer stay; nothing is\n" +
			"refused. HTTP, FTP and TFTP downloads have 4 seconds to end, and are cut then.\n\n" +
			"The new program must accept the configuration file before anything happens.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if binary != "" {
				var err error
				if binary, err = filepath.Abs(binary); err != nil {
					return err
				}
			}
			before, after, err := a.upgrade(c.Context(), binary)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "helperd %s goes on as %s, process %d\n", before.Version, after.Version, after.PID)
			return err
		},
	}
	c.Flags().StringVar(&binary, "binary", "", "program to go on as (default: the file that the daemon was started from)")
	return a.asks(c)
}

// upgrade gives the status before, and that of the new program.
func (a *app) upgrade(ctx context.Context, binary string) (before, after api.Status, err error) {
	client := a.client()
	if before, err = client.Status(ctx); err != nil {
		return before, after, err
	}
	if err := client.Upgrade(ctx, binary); err != nil {
		return before, after, err
	}
	ctx, cancel := context.WithTimeout(ctx, upgradeTime)
	defer cancel()
	for {
		after, err = client.Status(ctx)
		switch {
		case err == nil && !after.Started.Equal(before.Started) && after.Generation > 0:
			if after.PID != before.PID {
				return before, after, fmt.Errorf("the new program ended at its start, and the daemon was started again (process %d): open connections were cut; see journalctl -u helperd", after.PID)
			}
			return before, after, nil
		case err != nil && !errors.Is(err, api.ErrUnreachable) && ctx.Err() == nil:
			return before, after, err
		}
		select {
		case <-ctx.Done():
			return before, after, fmt.Errorf("%w as the new program after %s; see journalctl -u helperd", api.ErrUnreachable, upgradeTime)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
