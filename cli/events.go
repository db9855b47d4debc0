package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"helperd/api"
	"helperd/internal/human"
	"helperd/timeline"
)

func (a *app) eventsCmd() *cobra.Command {
	var follow bool
	var node string
	c := a.talks(&cobra.Command{
		Use:   "events",
		Short: "Show what happened, oldest first: leases, files, boot scripts, ignition, balancer",
		Long: "events shows what happened, oldest first. An exclamation mark stands before what needs\n" +
			"attention. With -f it goes on until Ctrl-C; -f -o json prints one object a line.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if follow {
				return a.follow(c.Context(), c.OutOrStdout(), node)
			}
			events, err := a.client().Events(c.Context(), 0)
			if err != nil {
				return err
			}
			events = slices.DeleteFunc(events, func(e timeline.Event) bool { return !isOf(&e, node) })
			return a.show(c.OutOrStdout(), events, func(t *table) {
				for i := range events {
					t.line("%s", eventLine(&events[i]))
				}
			})
		},
	})
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on as events happen")
	c.Flags().StringVar(&node, "node", "", "only events of this node")
	return c
}

// isOf reports whether the event is of the node, whose name may be short; every event is of no name.
func isOf(e *timeline.Event, node string) bool {
	return node == "" || e.Node == node || strings.HasPrefix(e.Node, node+".")
}

// follow prints events until ctx ends, which is no error: the person who watches has seen enough.
func (a *app) follow(ctx context.Context, w io.Writer, node string) error {
	err := a.client().Follow(ctx, 0, func(e timeline.Event) error {
		if !isOf(&e, node) {
			return nil
		}
		switch a.output {
		case asJSON:
			return jsonEncoder(w).Encode(e)
		case asYAML:
			return writeYAML(w, []timeline.Event{e}) // lists one after the other are one list
		}
		_, err := fmt.Fprintln(w, printable(eventLine(&e)))
		return err
	})
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, api.ErrUnreachable), errors.Is(err, api.ErrRefused):
		return err
	case err != nil:
		return &ExitError{exitUnreachable, fmt.Errorf("the daemon has ended, or the connection to it: %w", err)}
	}
	return &ExitError{exitUnreachable, errors.New("the daemon has ended")}
}

// eventLine is one event: time, node or address, kind and facts.
func eventLine(e *timeline.Event) string {
	mark := " "
	if e.Trouble() {
		mark = "!"
	}
	who := "-"
	switch {
	case e.Node != "":
		who = e.Node
	case !e.MAC.IsZero():
		who = e.MAC.String()
	case e.Addr.IsValid():
		who = e.Addr.String()
	}
	var facts []string
	if e.File != "" {
		facts = append(facts, e.File)
	}
	switch {
	case e.Total > 0 && e.Bytes < e.Total:
		facts = append(facts, fmt.Sprintf("%d %% of %s", e.Bytes*100/e.Total, human.Size(e.Total)))
	case e.Bytes > 0:
		facts = append(facts, human.Size(e.Bytes))
	}
	if e.Addr.IsValid() && who != e.Addr.String() {
		facts = append(facts, e.Addr.String())
	}
	if e.Detail != "" {
		facts = append(facts, e.Detail)
	}
	if e.Repeated > 0 {
		facts = append(facts, fmt.Sprintf("(%d times)", e.Repeated+1))
	}
	line := fmt.Sprintf("%s %s %-32s  %-16s  %s", e.Time.Local().Format("Jan _2 15:04:05.000"), mark, who, e.Kind, strings.Join(facts, "  "))
	return strings.TrimRight(line, " ")
}
