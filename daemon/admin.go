package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"helperd/api"
	"helperd/artifacts"
	"helperd/ca"
	"helperd/plan"
	"helperd/services"
	"helperd/services/lb"
	"helperd/services/lb/table"
	"helperd/timeline"
)

// reloadTime is how long a client waits for the outcome of a reload.
const reloadTime = 10 * time.Second

// answerTime is how long answers of the API may take after the daemon was told to stop.
const answerTime = 100 * time.Millisecond

// adminServer serves the API on the unix socket.
type adminServer struct {
	listener net.Listener
	http     *http.Server
}

func (d *Daemon) listenAdmin() (*adminServer, error) {
	path := d.opt.SocketPath
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("folder of the admin socket: %w", err)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("another helperd answers on %s; stop that one, or give this one a path of its own with --socket", path)
	}
	if st, err := os.Lstat(path); err == nil && st.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("admin socket: %s is there and is no socket; move it away, or name another path with --socket", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("old admin socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	return &adminServer{l, &http.Server{
		Handler: api.Handler(backend{d}), ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelError),
	}}, nil
}

func (a *adminServer) serve() { _ = a.http.Serve(a.listener) } // ends with close

// close lets answers that are being given reach who asked.
func (a *adminServer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	_ = a.http.Shutdown(ctx)
	_ = a.http.Close()
}

// backend answers the API.
type backend struct{ *Daemon }

// Status implements api.Backend.
func (b backend) Status() api.Status {
	v := b.view()
	s := api.Status{Version: b.opt.Version, PID: os.Getpid(), Started: b.started, Generation: v.generation, Configuration: v.status}
	for _, svc := range b.services {
		row := api.Service{Name: svc.Name(), Status: svc.Status(), Panics: svc.group.Panics()}
		if text := svc.lastError.Load(); text != nil {
			row.LastError = *text
			if row.State == services.Up {
				row.State = services.Degraded // it says that it is well, and does not answer
			}
		}
		s.Services = append(s.Services, row)
	}
	if v.plan != nil {
		for _, u := range v.plan.Unserved {
			s.Unserved = append(s.Unserved, api.Unserved(u))
		}
	}
	return s
}

// Nodes implements api.Backend.
func (b backend) Nodes() []api.Node {
	rows := []api.Node{}
	p := b.view().plan
	if p == nil {
		return rows
	}
	servers := map[string][]string{}
	if balancer := find[*lb.Service](b.Daemon); balancer != nil {
		for _, backend := range balancer.Table().Backends {
			for i := range backend.Servers {
				s := &backend.Servers[i]
				servers[s.Node] = append(servers[s.Node], backend.Name+" "+s.Now())
			}
		}
	}
	for _, n := range p.Nodes {
		rows = append(rows, api.Node{
			Name: n.Name, FQDN: n.FQDN, Cluster: n.Cluster.Name, Role: n.Role, MACs: n.MACs, IP: n.IP, IP6: n.IP6,
			Story: b.events.Story(n.FQDN), Boot: b.nodes.State(n), Services: servers[n.FQDN],
		})
	}
	return rows
}

// Balancer implements api.Backend.
func (b backend) Balancer() any { return find[*lb.Service](b.Daemon).Table() }

// OrderServers implements api.Backend.
func (b backend) OrderServers(name, order string) (api.Ordered, error) {
	admin, err := table.ParseAdmin(order)
	if err != nil {
		return api.Ordered{}, err
	}
	done, err := find[*lb.Service](b.Daemon).Order(name, admin)
	if errors.Is(err, lb.ErrUnknown) {
		return api.Ordered{}, fmt.Errorf("%w: %w", api.ErrUnknown, err)
	}
	return api.Ordered{Name: name, Order: order, Servers: done.Servers, Active: done.Active, Warnings: done.Warnings}, err
}

// Artifacts implements api.Backend.
func (b backend) Artifacts() []artifacts.Row { return b.artifacts.Rows() }

// Import implements api.Backend.
func (b backend) Import(ctx context.Context, archive io.Reader) api.Import {
	files, err := b.artifacts.Import(ctx, archive)
	out := api.Import{Files: files}
	if err != nil {
		out.Error = err.Error()
	}
	return out
}

// PlanText implements api.Backend.
func (b backend) PlanText() string {
	if p := b.view().plan; p != nil {
		return p.String()
	}
	return ""
}

// CA implements api.Backend.
func (b backend) CA() (api.CA, error) {
	root, err := b.ca.Root()
	if errors.Is(err, ca.ErrNone) {
		return api.CA{}, fmt.Errorf("%w; write `tls_port: 8443` under `http:`: it is made when HTTPS is served", err)
	}
	if err != nil {
		return api.CA{}, err
	}
	return api.CA{Subject: root.Subject(), Fingerprint: root.Fingerprint(), NotAfter: root.NotAfter(), PEM: string(root.PEM())}, nil
}

// Events implements api.Backend.
func (b backend) Events() *timeline.Timeline { return b.events }

// Reload implements api.Backend.
func (b backend) Reload() error {
	ctx, cancel := context.WithTimeout(context.Background(), reloadTime)
	defer cancel()
	reply := make(chan error, 1)
	select {
	case b.asked <- reply:
	case <-ctx.Done():
		return fmt.Errorf("the change before is still being applied after %s; the file is read when it is done", reloadTime)
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the file was read and is still being applied after %s; `helperd status` tells how it ends", reloadTime)
	}
}

// Reinstall implements api.Backend.
func (b backend) Reinstall(name string) error {
	n, err := b.node(name)
	if err == nil {
		b.nodes.Reinstall(n)
	}
	return err
}

// Arm implements api.Backend.
func (b backend) Arm(name string) (time.Time, error) {
	n, err := b.node(name)
	if err != nil {
		return time.Time{}, err
	}
	return b.nodes.Arm(n), nil
}

func (b backend) node(name string) (*plan.Node, error) {
	if p := b.view().plan; p != nil {
		if n := p.NodeByName(name); n != nil {
			return n, nil
		}
	}
	return nil, fmt.Errorf("%w node %q; `helperd nodes` lists them", api.ErrUnknown, name)
}

// Panic implements api.Backend.
func (b backend) Panic(name string) error {
	if !b.opt.TestHooks {
		return errors.New("the daemon runs without test hooks")
	}
	for _, svc := range b.services {
		if svc.Name() == name {
			svc.fuse.Arm()
			return nil
		}
	}
	return fmt.Errorf("%w service %q", api.ErrUnknown, name)
}

// Metrics implements api.Backend.
func (b backend) Metrics() http.Handler {
	// The default registry has the process, the Go runtime and the DNS chain.
	return promhttp.HandlerFor(prometheus.Gatherers{b.metrics, prometheus.DefaultGatherer}, promhttp.HandlerOpts{})
}

// find gives the service of type S.
func find[S any](d *Daemon) (s S) {
	for _, svc := range d.services {
		if have, ok := svc.Service.(S); ok {
			return have
		}
	}
	return s
}

var _ api.Backend = backend{}
