package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"helperd/config"
)

// Checks and slow start of the servers that clusters bring. The documentation
// of OpenShift demands that a server whose /readyz is red takes no new
// connection after 30 s; two probes at 5 s keep well below.
const (
	checkInterval     = 5 * time.Second
	checkFastInterval = 2 * time.Second
	checkTimeout      = 4 * time.Second
	checkFall         = 2
	checkRise         = 3
	slowStart         = time.Minute
	routerHealthPort  = 1936
)

// A part of a cluster that is balanced.
type part struct {
	name  string
	port  uint16
	serve func(*Node) bool
	names func(zone string) []string
	peek  Peek // when clusters share the address
	check Check
	// balance and ramp: see balanced.
	balance Balance
	ramp    time.Duration
	// private parts answer the machine networks only.
	private bool
}

// controlPlane are the nodes that serve the API: never arbiters or workers.
func controlPlane(n *Node) bool { return n.Role == Bootstrap || n.Role == Master }

func routers(n *Node) bool { return n.Ingress }

func apiNames(zone string) []string  { return []string{"api." + zone, "api-int." + zone} }
func appsNames(zone string) []string { return []string{".apps." + zone} }

// parts of a cluster. The API must not be balanced by source: the
// documentation asks for no session persistence there, and for it at the routers.
func parts() []part {
	probe := Check{
		Interval: checkInterval, FastInterval: checkFastInterval, Timeout: checkTimeout,
		Fall: checkFall, Rise: checkRise, Status: 200,
	}
	ready, machines, router := probe, probe, probe
	ready.Type, ready.Path = CheckHTTPS, "/readyz"
	machines.Type, machines.Path = CheckHTTPS, "/healthz"
	router.Type, router.Path, router.Port, router.FallbackPath = CheckHTTP, "/healthz/ready", routerHealthPort, "/healthz"
	return []part{
		{name: "api", port: 6443, serve: controlPlane, names: apiNames, peek: PeekSNI, check: ready, balance: RoundRobin, ramp: slowStart},
		{name: "machine-config", port: 22623, serve: controlPlane, names: apiNames, peek: PeekSNI, check: machines, balance: RoundRobin, private: true},
		{name: "ingress-https", port: 443, serve: routers, names: appsNames, peek: PeekSNI, check: router, balance: Source, ramp: slowStart},
		{name: "ingress-http", port: 80, serve: routers, names: appsNames, peek: PeekHost, check: router, balance: Source, ramp: slowStart},
	}
}

// lb derives the frontends and backends of the clusters and takes over those
// of the file.
func (b *builder) lb() {
	l := &b.p.LB
	if l.Enabled = b.c.LB.Enabled; !l.Enabled {
		return
	}
	l.MaxConnections, l.Retries, l.StatsSocket = b.c.LB.MaxConnections, b.c.LB.Retries, b.c.LB.StatsSocket
	for _, group := range b.sharers() {
		for _, p := range parts() {
			b.frontend(group, p)
		}
	}
	for _, cl := range b.p.Clusters {
		for _, p := range parts() {
			if be := b.backend(cl, p); len(be.Servers) > 0 {
				l.Backends = append(l.Backends, be)
			}
		}
	}
	b.ownFrontends()
	b.ownBackends()
}

// sharers groups the clusters by the address of their balancer, in the order of
// the file. The helper's two addresses count as one.
func (b *builder) sharers() [][]*Cluster {
	var groups [][]*Cluster
	for _, cl := range b.p.Clusters {
		i := slices.IndexFunc(groups, func(g []*Cluster) bool {
			return g[0].Address == cl.Address || b.onHelper(g[0]) && b.onHelper(cl)
		})
		if i < 0 {
			groups = append(groups, []*Cluster{cl})
		} else {
			groups[i] = append(groups[i], cl)
		}
	}
	return groups
}

// onHelper reports whether the balancer of cl has no address of its own.
func (b *builder) onHelper(cl *Cluster) bool {
	return slices.Contains(b.p.Helper.Addresses(), cl.Address)
}

// frontend adds the frontend of p for clusters that share an address.
func (b *builder) frontend(group []*Cluster, p part) {
	f := Frontend{ClientTimeout: time.Duration(b.c.LB.Timeouts.Client), Rate: rate(b.c.LB.Rate)}
	for _, cl := range group {
		for _, a := range b.addressesOf(cl) {
			if l := netip.AddrPortFrom(a, p.port); !slices.Contains(f.Listen, l) {
				f.Listen = append(f.Listen, l)
			}
		}
	}
	if p.private {
		f.Allow = b.prefixes()
	}
	var routes []NameRoute
	for _, cl := range group {
		if !slices.ContainsFunc(cl.Nodes, p.serve) {
			continue
		}
		r := NameRoute{Names: p.names(cl.Zone), Backend: b.partName(cl, p)}
		for _, n := range cl.Nodes {
			r.Sources = append(r.Sources, n.Addresses()...)
		}
		routes = append(routes, r)
	}
	switch {
	case len(routes) == 0:
		return
	case len(group) == 1:
		f.Name, f.Backend = routes[0].Backend, routes[0].Backend
	default:
		f.Name, f.Routes, f.Peek = p.name, routes, p.peek
		if !b.onHelper(group[0]) {
			f.Name += "-" + group[0].Address.String()
		}
	}
	b.p.LB.Frontends = append(b.p.LB.Frontends, f)
}

// partName is the name of the backend of p in cl. The name of a cluster is
// short; only its zone is unique.
func (b *builder) partName(cl *Cluster, p part) string {
	name := cl.Name
	for _, other := range b.p.Clusters {
		if other != cl && other.Name == cl.Name {
			name = cl.Zone
		}
	}
	return name + "-" + p.name
}

func (b *builder) backend(cl *Cluster, p part) Backend {
	t := b.c.LB.Timeouts
	be := Backend{
		Name: b.partName(cl, p), Balance: p.balance, Check: p.check,
		ConnectTimeout: time.Duration(t.Connect), ServerTimeout: time.Duration(t.Server), QueueTimeout: time.Duration(t.Queue),
	}
	if p.check.Type == CheckHTTPS {
		be.Check.Host = "api-int." + cl.Zone
	}
	active := 0
	for _, n := range cl.Nodes {
		as := n.Addresses()
		if !p.serve(n) || len(as) == 0 {
			continue
		}
		bootstrap := n.Role == Bootstrap
		if !bootstrap {
			active++
		}
		be.Servers = append(be.Servers, Server{
			Name: n.Name, Address: netip.AddrPortFrom(as[0], p.port), Node: n.FQDN, Weight: 1,
			Backup: bootstrap, Bootstrap: bootstrap,
		})
	}
	if active > 1 { // a lone server has nobody to take the load meanwhile
		be.SlowStart = p.ramp
	}
	return be
}

// ownFrontends takes over the frontends of the file.
func (b *builder) ownFrontends() {
	for i, cf := range b.c.LB.Frontends {
		if slices.ContainsFunc(b.p.LB.Frontends, func(f Frontend) bool { return f.Name == cf.Name }) {
			b.say(config.Error, fmt.Sprintf("lb.frontends[%d].name", i), "frontend %q: a cluster brings a frontend of this name; choose another", cf.Name)
			continue
		}
		f := Frontend{
			Name: cf.Name, Backend: cf.Backend, Allow: cf.Allow, ClientTimeout: time.Duration(cf.Timeouts.Client),
			MaxConnections: cf.MaxConnections, Rate: rate(cf.Rate), AcceptProxy: cf.AcceptProxy,
		}
		for _, a := range cf.Listen {
			f.Listen = append(f.Listen, a.AddrPort)
		}
		b.p.LB.Frontends = append(b.p.LB.Frontends, f)
	}
}

// ownBackends takes over the backends of the file.
func (b *builder) ownBackends() {
	for i, cb := range b.c.LB.Backends {
		if slices.ContainsFunc(b.p.LB.Backends, func(be Backend) bool { return be.Name == cb.Name }) {
			b.say(config.Error, fmt.Sprintf("lb.backends[%d].name", i), "backend %q: a cluster brings a backend of this name; choose another", cb.Name)
			continue
		}
		be := Backend{
			Name: cb.Name, Balance: Balance(cb.Balance), Check: ownCheck(cb.Check), SendProxy: cb.SendProxy, SlowStart: time.Duration(cb.SlowStart),
			ConnectTimeout: time.Duration(cb.Timeouts.Connect), ServerTimeout: time.Duration(cb.Timeouts.Server), QueueTimeout: time.Duration(cb.Timeouts.Queue),
		}
		if cb.Check.Port == 0 { // a port of its own is another service, which need not expect it
			be.Check.SendProxy = cb.SendProxy
		}
		for _, s := range cb.Servers {
			be.Servers = append(be.Servers, Server{
				Name: s.Name, Address: s.Address.AddrPort, Weight: s.Weight, MaxConnections: s.MaxConnections,
				Backup: s.Backup, NoCheck: !s.Check,
			})
		}
		b.p.LB.Backends = append(b.p.LB.Backends, be)
	}
}

func rate(r config.Rate) Rate {
	if r.Connections == 0 {
		return Rate{}
	}
	return Rate{r.Connections, time.Duration(r.Per)}
}

func ownCheck(c config.Check) Check {
	out := Check{
		Type: CheckType(c.Type), Verify: c.Verify, Port: c.Port, Interval: time.Duration(c.Interval),
		FastInterval: cmp.Or(time.Duration(c.FastInterval), min(checkFastInterval, time.Duration(c.Interval))), Timeout: time.Duration(c.Timeout), Fall: c.Fall, Rise: c.Rise,
	}
	if out.Type == CheckHTTP || out.Type == CheckHTTPS {
		out.Path, out.Status, out.Host = cmp.Or(c.Path, "/"), cmp.Or(c.Status, 200), c.Host
	}
	return out
}
