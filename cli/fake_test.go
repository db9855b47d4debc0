package cli_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"helperd/api"
	"helperd/artifacts"
	"helperd/services/lb"
	"helperd/services/leasing"
	"helperd/timeline"
)

// daemon answers the API with what it holds.
type daemon struct {
	status  api.Status
	nodes   []api.Node
	leases  []api.Lease
	balance lb.Overview
	files   []artifacts.Row
	ca      api.CA
	noCA    error
	events  *timeline.Timeline
}

func (d *daemon) Status() api.Status         { return d.status }
func (d *daemon) Nodes() []api.Node          { return d.nodes }
func (d *daemon) Leases() []api.Lease        { return d.leases }
func (d *daemon) Balancer() any              { return d.balance }
func (d *daemon) Artifacts() []artifacts.Row { return d.files }

// OrderServers knows the servers of balance; master-0 is alone in its backend.
func (d *daemon) OrderServers(name, order string) (api.Ordered, error) {
	done := api.Ordered{Name: name, Order: order}
	for _, b := range d.balance.Backends {
		for _, s := range b.Servers {
			if full := b.Name + "/" + s.Name; name == full || name == s.Name || name == s.Node && s.Node != "" {
				done.Servers = append(done.Servers, full)
				done.Active += s.Active
			}
		}
	}
	if done.Servers == nil {
		return done, fmt.Errorf("%w: %w %q; did you mean master-0?", api.ErrUnknown, lb.ErrUnknown, name)
	}
	if name == "master-0" && order != "ready" {
		done.Warnings = []string{"backend api has no server only because the administrator wants so (master-0: drain)"}
	}
	return done, nil
}

// Import wants what is called kernel, and refuses what is called rootfs.
func (d *daemon) Import(_ context.Context, archive io.Reader) api.Import {
	out := api.Import{Files: []artifacts.Imported{}}
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			out.Error = err.Error()
			return out
		}
		f := artifacts.Imported{Name: h.Name, Size: h.Size, Outcome: artifacts.NotWanted}
		switch path.Base(h.Name) {
		case "kernel":
			f.SHA256, f.Outcome = strings.Repeat("ab", 32), artifacts.Taken
		case "rootfs":
			f.Outcome, f.Detail = artifacts.Refused, "the helper's disk is full: 1.0 GiB more must be free"
		}
		out.Files = append(out.Files, f)
	}
}

// Release frees what is from a pool.
func (d *daemon) Release(_ context.Context, which string) (api.Released, error) {
	done := api.Released{}
	for _, l := range d.leases {
		switch {
		case l.Address.String() != which && l.MAC.String() != which:
		case l.Kind == "pool":
			done.Leases = append(done.Leases, l)
		default:
			return done, fmt.Errorf("%s belongs to %s by helper.yaml: there is no lease to end", l.Address, l.Hostname)
		}
	}
	if done.Leases == nil {
		return done, fmt.Errorf("%w: nobody has a lease of %s; `helperd leases` lists them", api.ErrUnknown, which)
	}
	return done, nil
}

// ExplainDHCP answers as the file of the examples would.
func (d *daemon) ExplainDHCP(q *leasing.Question) ([]leasing.Answer, error) {
	if q.Network.IsValid() {
		return nil, nil
	}
	return []leasing.Answer{{
		Network: netip.MustParsePrefix("192.168.67.0/24"), Via: "on eth0", Outcome: leasing.Refused,
		Reason:   "MAC " + q.MAC.String() + " is in no node of helper.yaml; add it or give the network a pool",
		Warnings: []string{"another DHCP server, 192.168.67.9, answers on network 192.168.67.0/24; the machine may take its offer\x1b[2J"},
	}}, nil
}

func (d *daemon) CA() (api.CA, error)        { return d.ca, d.noCA }
func (d *daemon) PlanText() string           { return "dns:\n  listen 192.168.67.2:53\n" }
func (d *daemon) Events() *timeline.Timeline { return d.events }
func (d *daemon) Reload() error              { return nil }
func (d *daemon) Panic(string) error         { return errors.New("the daemon runs without test hooks") }
func (d *daemon) Metrics() http.Handler      { return http.NotFoundHandler() }

// Upgrade goes on as the new program at once, or not at all.
func (d *daemon) Upgrade(_ context.Context, path string) error {
	if path != "" {
		return fmt.Errorf("%s is no program: its mode is -rw-r--r--; nothing has changed", path)
	}
	d.status.Started, d.status.Version = d.status.Started.Add(time.Hour), "v2"
	return nil
}

func (d *daemon) Reinstall(name string) error {
	if slices.ContainsFunc(d.nodes, func(n api.Node) bool { return n.Name == name || n.FQDN == name }) {
		return nil
	}
	return fmt.Errorf("%w node %q; `helperd nodes` lists them", api.ErrUnknown, name)
}

func (d *daemon) Arm(name string) (time.Time, error) {
	return time.Date(2030, 1, 2, 15, 4, 5, 0, time.Local), d.Reinstall(name)
}

// image is an ISO; it breaks off when it has less than its size.
type image struct {
	io.Reader
	size int64
}

func (image) Close() error  { return nil }
func (i image) Size() int64 { return i.size }

// ISO gives an ISO of a MiB; that of master-0 breaks off.
func (d *daemon) ISO(name string) (api.Image, error) {
	if err := d.Reinstall(name); err != nil {
		return nil, err
	}
	i := image{strings.NewReader(strings.Repeat("01234567", 128<<10)), 1 << 20}
	if name == "master-0" {
		i.size *= 2
	}
	return i, nil
}

func (d *daemon) ISOURL(name string) (string, error) {
	if err := d.Reinstall(name); err != nil {
		return "", err
	}
	return "http://192.168.67.2:8080/iso/TOKEN/" + name + ".ocp4.example.com.iso", nil
}

// serve answers for d on a unix socket until the test ends.
func serve(t testing.TB, d api.Backend, path string) (*http.Server, error) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	srv := &http.Server{Handler: api.Handler(d)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
	return srv, nil
}

// changing is a daemon that changes between two questions about leases.
type changing struct {
	*daemon
	changes <-chan func(*daemon)
}

func (c changing) Leases() []api.Lease {
	select {
	case change := <-c.changes:
		change(c.daemon)
	default:
	}
	return c.daemon.Leases()
}

// serveAll starts one daemon for every state of a helper node: healthy.sock and so on in dir.
func serveAll(t testing.TB, dir string) error {
	t.Helper()
	for name, d := range daemons() {
		if _, err := serve(t, d, filepath.Join(dir, name+".sock")); err != nil {
			return err
		}
	}
	return nil
}
