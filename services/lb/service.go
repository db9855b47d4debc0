package lb

import (
	"context"
	"math"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"helperd/internal/socket"
	"helperd/plan"
	"helperd/services"
	"helperd/services/lb/check"
	"helperd/services/lb/engine"
	"helperd/services/lb/runtimeapi"
	"helperd/services/lb/stats"
	"helperd/services/lb/table"
)

// maxWorkers bounds the workers: a helper with many cores has other work too.
const maxWorkers = 8

// cores is a variable because tests want several workers on every machine.
var cores = runtime.NumCPU()

// Workers is the number of worker threads: one a core, and one less where there is more than
// one, because the kernel's part of each packet and the other services need one too. On two
// cores one worker does as much as two: it finds more events at a time and sleeps less. Each may
// sit in epoll_wait, which holds a processor of the Go scheduler until it notices; so
// the daemon should set GOMAXPROCS to the number of cores and Workers together.
func Workers() int { return min(max(cores-1, 1), maxWorkers) }

// Service is the balancer.
type Service struct {
	host    services.Host
	engine  *engine.Engine
	monitor *check.Monitor
	sights  chan sight
	strays  chan engine.Stray
	stats   *stats.Collector
	runtime *runtimeapi.Server
	started time.Time

	mu         sync.Mutex
	table      *table.Table
	listeners  map[netip.AddrPort]*listener
	serving    context.Context // of Serve while it runs, else nil: Commit starts what is to end with it
	enabled    bool
	orders     map[orderKey]order      // nil: not read yet
	unsaved    map[orderKey]bool       // the disk does not have them as they are
	lastStrays map[string]*StrayStatus // by the name of the frontend
	ceiling    int64                   // of connections, by the file and the open files
	wanted     int64                   // a lower one by the runtime API; 0: none
	legacy     *legacy                 // of the process before; nil: none, or adopted

	saving sync.Mutex // held while orders are written, so that the last ones are on disk
}

// A listener is a socket that the table in force asks for.
type listener struct {
	socket *socket.Socket
	cancel context.CancelFunc // ends the wait for its port; nil before Serve
	live   bool               // the workers accept from it
}

var _ services.Service = (*Service)(nil)

// New gives a balancer that serves nothing yet.
func New(h services.Host) *Service {
	s := &Service{
		host: h, table: &table.Table{}, listeners: map[netip.AddrPort]*listener{}, lastStrays: map[string]*StrayStatus{}, unsaved: map[orderKey]bool{},
		sights: make(chan sight, 256), strays: make(chan engine.Stray, 256), started: time.Now(),
	}
	s.engine = engine.New(engine.Options{Guard: h.Guard, Fuse: h.Fuse, Workers: Workers(), Accepted: s.accepted, Stray: s.stray})
	s.monitor = check.NewMonitor(h.Guard, s.changed, s.engine.Kill)
	s.stats = &stats.Collector{Paused: s.engine.Held}
	s.runtime = runtimeapi.New(controls{s}, s.stats, h.Guard)
	if h.Metrics != nil {
		h.Metrics.MustRegister(&collector{s})
	}
	return s
}

// Name is "lb".
func (s *Service) Name() string { return "lb" }

// Prepare builds the table of p and binds its sockets.
func (s *Service) Prepare(_ context.Context, p *plan.Plan) (services.Change, error) {
	if err := s.restore(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	prev := s.table
	if s.legacy != nil {
		prev = s.legacy.table
	}
	s.mu.Unlock()
	t, err := table.Build(prev, p)
	if err != nil {
		return nil, err
	}
	s.limit(t, prev)
	c := &change{service: s, table: t, sockets: map[netip.AddrPort]*socket.Socket{}, enabled: p.LB.Enabled}
	for _, f := range t.Frontends {
		for _, a := range f.Config.Listen {
			sock, err := s.host.Sockets.Acquire(socket.Key{Network: "tcp", Addr: a}, socket.Options{Shards: Workers()})
			if err != nil {
				c.Discard()
				return nil, err
			}
			c.sockets[a] = sock
		}
	}
	if c.runtime, err = s.runtime.Prepare(p.LB.StatsSocket); err != nil {
		c.Discard()
		return nil, err
	}
	return c, nil
}

// limit keeps a quarter of the process's descriptors for the other services: a
// flood on the balancer must not starve them. A connection takes two.
func (s *Service) limit(t, prev *table.Table) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil || files.Cur > math.MaxInt32 {
		return
	}
	room := int64(files.Cur) * 3 / 4 / 2
	if t.MaxConnections <= room {
		return
	}
	if len(t.Frontends) > 0 && prev.MaxConnections != room {
		s.host.Log.Warn("fewer connections than lb.max_connections: the limit of open files is too low; raise LimitNOFILE of the unit",
			"wanted", t.MaxConnections, "limit", room, "open_files", files.Cur)
	}
	t.MaxConnections = room
}

// change is a table that is not in force yet.
type change struct {
	service *Service
	table   *table.Table
	sockets map[netip.AddrPort]*socket.Socket
	runtime *runtimeapi.Change // nil when Prepare failed before
	enabled bool
}

// Discard gives the sockets back.
func (c *change) Discard() {
	for _, sock := range c.sockets {
		sock.Release()
	}
	if c.runtime != nil {
		c.runtime.Discard()
	}
}

// Commit puts the table in force. Open connections go on; sockets that stay are not touched.
func (c *change) Commit() {
	s := c.service
	c.runtime.Commit()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ceiling = c.table.MaxConnections; s.wanted > 0 {
		c.table.MaxConnections = min(s.ceiling, s.wanted)
	}
	if c.enabled {
		s.forget(c.table)
	}
	s.obey(c.table)
	if s.serving != nil {
		s.monitor.Apply(s.serving, c.table)
	}
	c.table.Install(time.Now())
	s.table, s.enabled = c.table, c.enabled
	s.forgetStrays()
	s.engine.Swap(c.table)
	for a, l := range s.listeners {
		if c.sockets[a] == nil {
			delete(s.listeners, a)
			s.drop(a, l)
		}
	}
	for a, sock := range c.sockets {
		if s.listeners[a] != nil {
			sock.Release() // the reference of the table before serves on
			continue
		}
		s.listeners[a] = &listener{socket: sock}
	}
	s.adopt()
	if s.serving != nil {
		s.attach()
	}
}
