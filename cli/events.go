package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"helperd/timeline"
)

func (a *app) eventsCmd() *cobra.Command {
	var follow bool
	var node string
	c := a.talks(&cobra.Command{
		Use:   "events",
		Short: "Show what happened, oldest first: leases, files, boot scripts, ignition, balancer",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			w := c.OutOrStdout()
			wanted := func(e *timeline.Event) bool {
				return node == "" || e.Node == node || strings.HasPrefix(e.Node, node+".")
			}
			if follow {
				err := a.client().Follow(c.Context(), 0, func(e timeline.Event) error {
					if !wanted(&e) {
						return nil
					}
					if a.output == "json" {
						return json.NewEncoder(w).Encode(e)
					}
					return eventLine(w, &e)
				})
				if c.Context().Err() != nil {
					return nil // interrupted by the person who watches
				}
				return errors.Join(err, errors.New("the daemon ended"))
			}
			events, err := a.client().Events(c.Context(), 0)
			if err != nil {
				return err
			}
			kept := []timeline.Event{}
			for i := range events {
				if wanted(&events[i]) {
					kept = append(kept, events[i])
				}
			}
			if a.output == "json" {
				return a.show(w, kept, nil)
			}
			for i := range kept {
				if err := eventLine(w, &kept[i]); err != nil {
					return err
				}
			}
			return nil
		},
	})
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on as events happen")
	c.Flags().StringVar(&node, "node", "", "only events of this node")
	return c
}

// eventLine prints one event: time, node or address, kind and facts.
func eventLine(w io.Writer, e *timeline.Event) error {
	who := e.Node
	switch {
	case who != "":
	case !e.MAC.IsZero():
		who = e.MAC.String()
	case e.Addr.IsValid():
		who = e.Addr.String()
	default:
		who = "-"
	}
	var facts []string
	if e.File != "" {
		facts = append(facts, e.File)
	}
	switch {
	case e.Total > 0 && e.Bytes < e.Total:
		facts = append(facts, fmt.Sprintf("%d of %d bytes (%d %%)", e.Bytes, e.Total, e.Bytes*100/e.Total))
	case e.Bytes > 0:
		facts = append(facts, fmt.Sprintf("%d bytes", e.Bytes))
	}
	if e.Addr.IsValid() && who != e.Addr.String() {
		facts = append(facts, e.Addr.String())
	}
	if e.Detail != "" {
		facts = append(facts, e.Detail)
	}
	if e.Repeated > 0 {
		facts = append(facts, fmt.Sprintf("(and %d times more)", e.Repeated))
	}
	_, err := fmt.Fprintf(w, "%s  %-32s  %-16s  %s\n", e.Time.Local().Format("15:04:05.000"), who, e.Kind, strings.Join(facts, "  "))
	return err
}
