package lb

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"helperd/config"
	"helperd/plan"
)

// haproxy is the program whose habits the balancer has, as master and worker.
type haproxy struct{ master *exec.Cmd }

func (h *haproxy) name() string { return "haproxy" }

func (h *haproxy) start(x *trial, file string) {
	cfg := filepath.Join(x.dir, "haproxy.cfg")
	x.must(h.write(x, cfg, file))
	h.master = exec.Command("haproxy", "-W", "-f", cfg)
	spawn(x, h.master, func() bool { return h.worker(x) != "" })
	x.Cleanup(func() {
		if x.Failed() {
			b, _ := os.ReadFile(cfg)
			x.Logf("haproxy.cfg:\n%s", b)
		}
	})
}

func (h *haproxy) reload(x *trial, file string) error {
	before := h.worker(x)
	if err := h.write(x, filepath.Join(x.dir, "haproxy.cfg"), file); err != nil {
		return err
	}
	var asked time.Time
	x.await("a new worker of haproxy", func() bool {
		if time.Since(asked) > 2*time.Second { // again: a master that has just started does not hear
			asked = time.Now()
			x.must(h.master.Process.Signal(syscall.SIGUSR2))
		}
		now := h.worker(x)
		return now != "" && now != before
	})
	// The old worker stops to listen when the new one tells it to.
	time.Sleep(300 * time.Millisecond)
	return nil
}

// worker is the process that answers on the runtime API; empty: none.
func (h *haproxy) worker(x *trial) string {
	answer, _ := x.runtime("show info")
	_, pid, _ := strings.Cut(answer, "\nPid: ")
	pid, _, _ = strings.Cut(pid, "\n")
	return pid
}

// write translates a helper.yaml.
func (h *haproxy) write(x *trial, path, file string) error {
	c, ds := config.Load([]byte(file))
	if ds.HasErrors() {
		return fmt.Errorf("%v", ds)
	}
	p, ds := plan.Compile(c, plan.Facts{})
	if ds.HasErrors() {
		return fmt.Errorf("%v", ds)
	}
	return os.WriteFile(path, []byte(translate(&p.LB)), 0o644)
}

// cfg is a haproxy.cfg that grows.
type cfg struct{ strings.Builder }

func (c *cfg) line(format string, args ...any) { fmt.Fprintf(c, format+"\n", args...) }

// translate gives the haproxy.cfg that means the same as a plan.
func translate(l *plan.LB) string {
	c := &cfg{}
	c.line("global")
	c.line(" nbthread 2")
	c.line(" maxconn %d", min(l.MaxConnections, 2000))
	c.line(" stats socket %s level admin expose-fd listeners", l.StatsSocket)
	c.line("defaults")
	c.line(" mode tcp")
	c.line(" retries %d", l.Retries)
	c.line(" option redispatch 1") // on every retry, not on the last alone
	for i := range l.Frontends {
		c.frontend(&l.Frontends[i])
	}
	for i := range l.Backends {
		c.backend(&l.Backends[i])
	}
	return c.String()
}

func (c *cfg) frontend(f *plan.Frontend) {
	c.line("frontend %s", f.Name)
	for _, a := range f.Listen {
		c.line(" bind %s", a)
	}
	c.line(" timeout client %dms", f.ClientTimeout.Milliseconds())
	if f.MaxConnections > 0 {
		c.line(" maxconn %d", f.MaxConnections)
	}
	if len(f.AcceptProxy) > 0 {
		c.line(" tcp-request connection expect-proxy layer4 if { src %s }", words(f.AcceptProxy))
	}
	if len(f.Allow) > 0 {
		c.line(" tcp-request session reject if !{ src %s }", words(f.Allow))
	}
	if f.Rate.Connections > 0 {
		c.line(" stick-table type ipv6 size 10k expire 1m store conn_rate(%dms)", f.Rate.Per.Milliseconds())
		c.line(" tcp-request session track-sc0 src")
		c.line(" tcp-request session reject if { sc0_conn_rate gt %d }", f.Rate.Connections)
	}
	c.routes(f)
	if f.Backend != "" {
		c.line(" default_backend %s", f.Backend)
	}
}

// routes tells clusters apart by name, and clients without one by their address.
func (c *cfg) routes(f *plan.Frontend) {
	if len(f.Routes) == 0 {
		return
	}
	name, known := "req.ssl_sni", "{ req.ssl_hello_type 1 }"
	if f.Listen[0].Port() == 80 {
		name, known = "req.hdr(host),field(1,:)", "HTTP"
	}
	c.line(" tcp-request inspect-delay 5s")
	c.line(" tcp-request content accept if %s", known)
	c.line(" tcp-request content accept if WAIT_END")
	for _, r := range f.Routes {
		for _, n := range r.Names {
			how := "str"
			if strings.HasPrefix(n, ".") {
				how = "end"
			}
			c.line(" use_backend %s if { %s -i -m %s %s }", r.Backend, name, how, n)
		}
	}
	for _, r := range f.Routes {
		c.line(" use_backend %s if !{ %s -m found } { src %s }", r.Backend, name, words(r.Sources))
	}
}

func (c *cfg) backend(b *plan.Backend) {
	c.line("backend %s", b.Name)
	c.line(" balance %s", b.Balance)
	if b.Balance == plan.Source {
		c.line(" hash-type consistent")
	}
	c.line(" option allbackups") // not the first alone
	if slices.ContainsFunc(b.Servers, func(s plan.Server) bool { return s.MaxConnections > 0 }) {
		c.line(" option abortonclose") // who closes leaves the queue
	}
	c.line(" timeout connect %dms", b.ConnectTimeout.Milliseconds())
	c.line(" timeout server %dms", b.ServerTimeout.Milliseconds())
	c.line(" timeout queue %dms", b.QueueTimeout.Milliseconds())
	check := c.check(&b.Check)
	for _, s := range b.Servers {
		line := fmt.Sprintf(" server %s %s weight %d", s.Name, s.Address, s.Weight)
		if s.MaxConnections > 0 {
			line += fmt.Sprintf(" maxconn %d", s.MaxConnections)
		}
		if s.Backup {
			line += " backup"
		}
		if b.SlowStart > 0 {
			line += fmt.Sprintf(" slowstart %dms", b.SlowStart.Milliseconds())
		}
		switch b.SendProxy {
		case "v1":
			line += " send-proxy"
		case "v2":
			line += " send-proxy-v2"
		}
		if !s.NoCheck {
			line += check
		}
		c.line("%s", line)
	}
}

// check writes what all servers of a backend share, and gives the words of each.
func (c *cfg) check(k *plan.Check) string {
	if k.Type == plan.CheckNone {
		return ""
	}
	line := fmt.Sprintf(" check inter %dms fastinter %dms fall %d rise %d", k.Interval.Milliseconds(), k.FastInterval.Milliseconds(), k.Fall, k.Rise)
	c.line(" timeout check %dms", k.Timeout.Milliseconds())
	if k.Port > 0 {
		line += fmt.Sprintf(" port %d", k.Port)
	}
	if k.Type == plan.CheckTCP {
		return line
	}
	c.line(" option httpchk")
	c.line(" http-check send meth GET uri %s ver HTTP/1.1 hdr Host %s", k.Path, hostOr(k.Host, "helper"))
	c.line(" http-check expect status %d", k.Status)
	if k.Type == plan.CheckHTTPS {
		line += " check-ssl verify none"
		if k.Host != "" {
			line += " check-sni " + k.Host
		}
		if k.Verify {
			line = strings.Replace(line, "verify none", "verify required ca-file "+authorityFile+" verifyhost "+k.Host, 1)
		}
	}
	return line
}

func hostOr(host, other string) string {
	if host == "" {
		return other
	}
	return host
}

// words writes networks or addresses one after the other.
func words[T netip.Addr | netip.Prefix](list []T) string {
	return strings.Trim(fmt.Sprint(list), "[]")
}
