package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) caCmd() *cobra.Command {
	return a.talks(&cobra.Command{
		Use:   "ca",
		Short: "Print the certificate that clients of the helper's HTTPS are to trust, as PEM",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ca, err := a.client().CA(c.Context())
			if err != nil {
				return err
			}
			return a.show(c.OutOrStdout(), ca, func(t *table) {
				for line := range strings.Lines(ca.PEM) {
					t.line("%s", strings.TrimSuffix(line, "\n"))
				}
			})
		},
	})
}
