package stats

import (
	"cmp"
	"math"
	"sync"
	"time"

	"helperd/services/lb/table"
)

// firstID is what HAProxy 2.6 gives to the first proxy of a file.
const firstID = 2

// ids number frontends, backends and servers: the same name keeps its number over
// reloads, and no other gets it.
type ids struct {
	proxies map[string]int            // by kind and name
	servers map[string]map[string]int // by backend and name
}

func (d *ids) proxy(kind Kind, name string) int {
	key := string(rune(kind)) + name
	if d.proxies[key] == 0 {
		if d.proxies == nil {
			d.proxies = map[string]int{}
		}
		d.proxies[key] = firstID + len(d.proxies)
	}
	return d.proxies[key]
}

func (d *ids) server(backend, name string) int {
	of := d.servers[backend]
	if of == nil {
		if d.servers == nil {
			d.servers = map[string]map[string]int{}
		}
		of = map[string]int{}
		d.servers[backend] = of
	}
	if of[name] == 0 {
		of[name] = len(of) + 1
	}
	return of[name]
}

// A Collector gives the rows of a balancer. It remembers their numbers, and what counters were when
// somebody cleared them.
type Collector struct {
	// Paused reports whether a frontend accepts no connections.
	Paused func(frontend string) bool

	mu      sync.Mutex
	ids     ids
	cleared map[rowKey]*Row
}

// Rows are those of "show stat", in the order of the file: frontends, then the servers of
// each backend and the backend.
func (s *Collector) Rows(t *table.Table, now time.Time) []*Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rows []*Row
	for _, f := range t.Frontends {
		rows = append(rows, s.frontendRow(t, f, now))
	}
	for _, g := range t.Groups {
		iid := s.ids.proxy(Backend, g.Name)
		for i := range g.Members {
			m := &g.Members[i]
			rows = append(rows, serverRowOf(g, m, iid, s.ids.server(g.Name, m.Name), now))
		}
		rows = append(rows, backendRowOf(t, g, iid, now))
	}
	for _, r := range rows {
		if base := s.cleared[rowKey{r.kind, r.iid, r.sid}]; base != nil && base.of == r.of {
			r.less(base)
		}
	}
	return rows
}

// Numbers are those of a backend and its server.
func (s *Collector) Numbers(g *table.Group, m *table.Member) (backend, server int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids.proxy(Backend, g.Name), s.ids.server(g.Name, m.Name)
}

// Number is that of a frontend or a backend.
func (s *Collector) Number(kind Kind, name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids.proxy(kind, name)
}

type rowKey struct {
	kind     Kind
	iid, sid int
}

// Clear makes the highest values begin anew, and with all the counters of these rows begin at
// 0. Whoever else reads the counters of t sees them count on.
func (s *Collector) Clear(t *table.Table, all bool) {
	for _, f := range t.Frontends {
		f.Counters.ClearMax()
	}
	for _, g := range t.Groups {
		g.ClearMax()
		g.MaxQueue.Store(g.Queued.Load())
		for i := range g.Members {
			g.Members[i].ClearMax()
		}
	}
	if !all {
		return
	}
	s.mu.Lock()
	s.cleared = nil
	s.mu.Unlock()
	cleared := map[rowKey]*Row{}
	for _, r := range s.Rows(t, time.Now()) {
		cleared[rowKey{r.kind, r.iid, r.sid}] = r
	}
	s.mu.Lock()
	s.cleared = cleared
	s.mu.Unlock()
}

func (s *Collector) frontendRow(t *table.Table, f *table.Frontend, now time.Time) *Row {
	c := f.Counters
	r := newRow(Frontend, s.ids.proxy(Frontend, f.Config.Name), 0, c)
	r.up = true
	r.set("pxname", f.Config.Name)
	r.set("svname", "FRONTEND")
	r.set("status", "OPEN")
	if s.Paused(f.Config.Name) {
		r.set("status", "PAUSED")
	}
	r.set("slim", cmp.Or(t.Limit(f), Limit(t)))
	r.traffic(&c.Traffic, now)
	for _, name := range []string{"conn_rate", "conn_rate_max", "conn_tot"} {
		r.cells[number[name]] = r.cells[number[map[string]string{"conn_rate": "rate", "conn_rate_max": "rate_max", "conn_tot": "stot"}[name]]]
	}
	r.set("dcon", c.Refused.Load()+c.TooFast.Load())
	r.set("dreq", c.Unnamed.Load())
	r.set("ereq", c.BadHead.Load())
	return r
}

// Limit is the number of connections in total, as far as the field can say it.
func Limit(t *table.Table) int64 { return min(t.MaxConnections, math.MaxUint32) }

// traffic fills the columns of connections and bytes.
func (r *Row) traffic(c *table.Traffic, now time.Time) {
	r.set("scur", max(c.Active.Load(), 0))
	r.set("smax", c.MaxActive.Load())
	r.set("stot", c.Total.Load())
	r.set("bin", c.BytesIn.Load())
	r.set("bout", c.BytesOut.Load())
	r.set("rate", c.Rate.Rate(now.Unix()))
	r.set("rate_max", c.Rate.Max())
	if r.kind != Frontend {
		r.set("lbtot", c.Total.Load())
		r.set("connect", c.Total.Load())
	}
}

// failures fills the columns of what went wrong.
func (r *Row) failures(f *table.Failures, now time.Time) {
	r.set("econ", f.Failed.Load())
	r.set("eresp", f.ServerAborts.Load())
	r.set("wretr", f.Retries.Load())
	r.set("wredis", f.Redispatches.Load())
	r.set("cli_abrt", f.ClientAborts.Load())
	r.set("srv_abrt", f.ServerAborts.Load())
	r.set("ctime", f.ConnectMicros.Load()/1000)
	r.set("lastsess", -1)
	if last := f.LastSession.Load(); last != 0 {
		r.set("lastsess", max(now.Unix()-last, 0))
	}
}

func serverRowOf(g *table.Group, m *table.Member, iid, sid int, now time.Time) *Row {
	r := newRow(Server, iid, sid, m.Server)
	c := ConditionOf(g, m)
	_, since := m.State()
	r.up, r.maint = c.up && !c.Maint, c.Maint
	r.set("pxname", g.Name)
	r.set("svname", m.Name)
	r.set("addr", m.Address.String())
	r.set("status", c.status())
	r.set("weight", m.Weight())
	r.set("uweight", m.Weight())
	r.set("act", 1)
	if m.Config.Backup {
		r.set("act", 0)
		r.set("bck", 1)
	}
	if n := m.Limit(); n > 0 {
		r.set("slim", n)
	}
	if percent, slow := g.Throttle(m, now); slow {
		r.set("throttle", percent)
		r.set("weight", (m.Weight()*percent+99)/100)
	}
	r.set("lastchg", now.Sub(since))
	r.traffic(&m.Traffic, now)
	r.failures(&m.Failures, now)
	r.set("used_conn_cur", max(m.Active.Load(), 0))
	if c.Checked {
		r.checks(c, g, m, now)
	}
	return r
}

// checks fills the columns of a server that is probed.
func (r *Row) checks(c Condition, g *table.Group, m *table.Member, now time.Time) {
	r.set("chkfail", m.ChecksFailed.Load())
	r.set("chkdown", m.Falls.Load())
	r.set("downtime", m.Downtime(now))
	if c.Maint {
		return
	}
	last := m.Last()
	st := StatusOf(last)
	r.set("check_status", st.Name)
	r.set("check_desc", st.Text)
	r.set("check_rise", c.rise)
	r.set("check_fall", c.fall)
	r.set("check_health", c.Health)
	r.set("last_chk", "")
	if last == nil {
		return
	}
	r.set("check_duration", last.Took.Milliseconds())
	if last.Status != 0 {
		r.set("check_code", last.Status)
	}
	switch {
	case g.FallsBack(m):
		r.set("last_chk", last.Detail+", used as no server is up")
	case !last.OK:
		r.set("last_chk", last.Detail)
	}
}

func backendRowOf(t *table.Table, g *table.Group, iid int, now time.Time) *Row {
	r := newRow(Backend, iid, 0, g.Backend)
	active, backup, weight, since := usable(g)
	r.up = active+backup > 0 || len(g.Members) == 0
	r.set("pxname", g.Name)
	r.set("svname", "BACKEND")
	r.set("algo", string(g.Config.Balance))
	r.set("status", "DOWN")
	if r.up {
		r.set("status", "UP")
	}
	r.set("qcur", g.Queued.Load())
	r.set("qmax", g.MaxQueue.Load())
	r.set("slim", Limit(t))
	r.set("weight", weight)
	r.set("uweight", weight)
	r.set("act", active)
	r.set("bck", backup)
	r.traffic(&g.Traffic, now)
	r.failures(&g.Failures, now)
	r.set("chkdown", g.Falls.Load())
	if down := g.DownSince.Load(); down != 0 {
		since = time.Unix(0, down)
	}
	if !since.IsZero() {
		r.set("lastchg", now.Sub(since))
	}
	if len(g.Members) > 0 {
		r.set("downtime", g.Downtime(now))
	}
	return r
}

// usable counts the servers that may get connections, their weight, and since when there is one.
func usable(g *table.Group) (active, backup, weight int, since time.Time) {
	backups := 0
	for i := range g.Members {
		m := &g.Members[i]
		if !m.Takes() && !g.FallsBack(m) {
			continue
		}
		if m.Config.Backup {
			backup++
			backups += m.Weight()
		} else {
			active++
			weight += m.Weight()
		}
		if _, at := m.State(); since.IsZero() || at.Before(since) {
			since = at
		}
	}
	if active == 0 {
		weight = backups
	}
	return active, backup, weight, since
}
