package cli

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"helperd/artifacts"
	"helperd/internal/human"
)

func (a *app) artifactsCmd() *cobra.Command {
	var watch bool
	c := a.talks(&cobra.Command{
		Use:   "artifacts",
		Short: "Show the files that nodes boot: what is here, what is being fetched, and what is wrong",
		Long: "artifacts shows the files that nodes boot. With --watch it shows the downloads as they go on,\n" +
			"with bars on a terminal, and ends when every file is here.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if watch && a.output != asTable {
				return usageError("--watch is for people; ask again and again with -o %s instead", a.output)
			}
			if watch {
				return a.watchArtifacts(c.Context(), c.OutOrStdout())
			}
			rows, err := a.client().Artifacts(c.Context())
			if err != nil {
				return err
			}
			return a.show(c.OutOrStdout(), rows, func(t *table) { artifactRows(t, rows) })
		},
	})
	c.Flags().BoolVarP(&watch, "watch", "w", false, "follow the downloads until every file is here")
	c.AddCommand(a.importCmd())
	return c
}

// artifactRows writes what is wrong below the table: each is a sentence.
func artifactRows(t *table, rows []artifacts.Row) {
	if len(rows) == 0 {
		t.line("the configuration has no artifacts")
		return
	}
	t.row("NAME", "FILE", "STATE", "SIZE", "DONE", "RATE", "ETA", "SHA256", "SOURCE")
	for i := range rows {
		r := &rows[i]
		t.row(artifactName(r), r.File, artifactState(r), bytesOf(r.Size), done(r), speed(r.Rate), eta(r), fmt.Sprintf("%.12s", r.SHA256), r.Source)
	}
	troubled := slices.DeleteFunc(slices.Clone(rows), func(r artifacts.Row) bool { return !r.Pending() || r.Detail == "" })
	for i := range troubled {
		if i == 0 {
			t.line("")
		}
		t.line("%s %s: %s", artifactName(&troubled[i]), troubled[i].File, troubled[i].Detail)
	}
}

// artifactName has the architecture and the version where there may be several.
func artifactName(r *artifacts.Row) string {
	name := r.Name
	if r.Arch != "" {
		name += " " + r.Arch
	}
	if r.Version != "" {
		name += " " + r.Version
	}
	return name
}

func artifactState(r *artifacts.Row) string {
	switch r.Use {
	case artifacts.Next:
		return string(r.State) + ", boots when whole"
	case artifacts.Before:
		return string(r.State) + ", version before"
	}
	return string(r.State)
}

func bytesOf(n int64) string {
	if n == 0 {
		return ""
	}
	return human.Size(n)
}

func done(r *artifacts.Row) string {
	switch {
	case r.Done == 0:
		return ""
	case r.Size == 0:
		return human.Size(r.Done)
	}
	return fmt.Sprintf("%d %%", r.Done*100/r.Size)
}

func speed(n int64) string {
	if n == 0 {
		return ""
	}
	return human.Size(n) + "/s"
}

func eta(r *artifacts.Row) string {
	if d := r.ETA(); d > 0 {
		return span(d + time.Second)
	}
	return ""
}
