package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"helperd/internal/human"
)

func (a *app) isoCmd() *cobra.Command {
	var file string
	var url bool
	c := a.asks(&cobra.Command{
		Use:   "iso NODE",
		Short: "Write the ISO that installs a node, for machines that cannot boot from the network",
		Long: "iso writes the live ISO of the release with the node's kernel arguments and ignition file in it, and\n" +
			"orders the node to be installed. Whoever boots that ISO installs that node: it holds secrets of the\n" +
			"cluster. With --url it prints an address for the virtual drive of a management controller instead;\n" +
			"the address serves for 24 hours, or until the node is installed.",
		Args: oneArg("NODE"),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case url && file != "":
				return usageError("--url and --output exclude each other; %s", seeHelp(c))
			case url:
				address, err := a.client().ISOURL(c.Context(), args[0])
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(c.OutOrStdout(), address)
				return err
			}
			return a.writeISO(c, args[0], cmp.Or(file, args[0]+".iso"))
		},
	})
	c.Flags().StringVarP(&file, "output", "o", "", "file to write, - for standard output (default NODE.iso)")
	c.Flags().BoolVar(&url, "url", false, "print a URL with a token, and write nothing")
	return c
}

func (a *app) writeISO(c *cobra.Command, node, file string) error {
	if file == "-" && terminal(c.OutOrStdout()) {
		return usageError("an ISO is not for a terminal; write it to a file with -o FILE")
	}
	body, total, err := a.client().ISO(c.Context(), node)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if file == "-" {
		return copied(c, c.OutOrStdout(), body, "ISO", total)
	}
	// Its secrets are for root alone, whatever the umask.
	out, err := renameio.NewPendingFile(file, renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer func() { _ = out.Cleanup() }()
	if err := copied(c, out, body, file, total); err != nil {
		return err
	}
	if err := out.CloseAtomicallyReplace(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %s; whoever boots it installs %s, and it holds secrets of its cluster: keep it where you keep those\n", file, human.Size(total), node)
	return err
}

// copied copies an ISO of total bytes, and shows on a terminal how far it is.
func copied(c *cobra.Command, w io.Writer, r io.Reader, name string, total int64) error {
	done := func() {}
	if terminal(c.ErrOrStderr()) {
		w, done = progressBar(c.Context(), c.ErrOrStderr(), w, name, total)
	}
	n, err := io.Copy(w, r)
	done()
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), err == nil && n < total:
		return fmt.Errorf("the daemon stopped after %s of %s; see journalctl -u helperd, and run the command again", human.Size(n), human.Size(total))
	case err != nil:
		return fmt.Errorf("write the ISO: %w", err)
	}
	return nil
}
