package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"helperd/config"
	"helperd/ghost"
	"helperd/timeline"
)

// takeover waits until the balancer has found every node ready, switches the
// bootstrap machine off, and sees that no connection is lost.
func (d *demo) takeover(ctx context.Context) error {
	d.show.note("the balancer looks at masters and routers the same way")
	if err := d.allReady(ctx); err != nil {
		return err
	}
	zone := d.cfg.Clusters[0].Name + "." + d.cfg.Clusters[0].Domain
	for _, m := range d.fleet.machines {
		if m.role == string(ghost.Bootstrap) {
			m.Close()
			d.show.note("%s is switched off", m.Name)
		}
	}
	for _, ask := range []struct{ what, url, role string }{
		{"API", "https://api." + zone + ":6443/readyz", "master"},
		{"machine config server", "https://api-int." + zone + ":22623/config/worker", "master"},
		{"console", "https://console-openshift-console.apps." + zone + "/", "worker"},
	} {
		answered, err := d.askAll(ctx, ask.url, ask.role)
		if err != nil {
			return fmt.Errorf("%s: %w", ask.what, err)
		}
		d.show.note("%d connections to %s answered by %s", len(d.fleet.workers()), ask.url, strings.Join(answered, ", "))
	}
	return nil
}

// askAll asks url from every worker, and gives who answered: nodes of role.
func (d *demo) askAll(ctx context.Context, url, role string) (answered []string, err error) {
	for _, w := range d.fleet.workers() {
		name, err := w.Ask(ctx, url)
		if err != nil {
			return nil, err
		}
		nodes := d.cfg.Clusters[0].Nodes
		if !slices.ContainsFunc(nodes, func(n config.Node) bool { return n.Name == name && n.Role == role }) {
			return nil, fmt.Errorf("%q answered, which is no %s", name, role)
		}
		if !slices.Contains(answered, name) {
			answered = append(answered, name)
		}
	}
	return answered, nil
}

// allReady waits until the daemon itself says that every node is ready.
func (d *demo) allReady(ctx context.Context) error {
	const patience, pause = 40 * time.Second, 200 * time.Millisecond
	var late []string
	for range patience / pause {
		nodes, err := d.client.Nodes(ctx)
		if err != nil {
			return err
		}
		late = nil
		for _, n := range nodes {
			if n.Story.Stage != timeline.Ready {
				late = append(late, fmt.Sprintf("%s is %s (%s)", n.Name, n.Story.Stage, strings.Join(n.Services, ", ")))
			}
		}
		if len(late) == 0 {
			d.show.note("helperd says that all %d nodes are ready", len(nodes))
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return errors.New("after " + patience.String() + " helperd does not say that all nodes are ready: " + strings.Join(late, "; "))
}
