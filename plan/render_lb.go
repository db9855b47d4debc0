package plan

import (
	"fmt"
	"strings"
	"time"
)

func (l *LB) lines() []string {
	var w writer
	if !l.Enabled {
		w.line("disabled")
		return w
	}
	if len(l.Frontends)+len(l.Backends) == 0 {
		return nil
	}
	w.line("max connections %d, retries %d", l.MaxConnections, l.Retries)
	if l.StatsSocket != "" {
		w.line("runtime API on %s", l.StatsSocket)
	}
	for _, f := range l.Frontends {
		f.lines(&w)
	}
	for _, b := range l.Backends {
		w.line("%s", b)
		for _, s := range b.Servers {
			w.line("server %s %s", b.Name, s)
		}
	}
	return w
}

func (f *Frontend) lines(w *writer) {
	ws := words{fmt.Sprintf("frontend %s listen %s", f.Name, list(f.Listen))}
	ws.add("backend", f.Backend)
	ws.add("only for", list(f.Allow))
	ws.add("client timeout", f.ClientTimeout)
	ws.add("at most", f.MaxConnections)
	if f.Rate.Connections != 0 {
		ws.add("from one client at most", fmt.Sprintf("%d in %s", f.Rate.Connections, f.Rate.Per))
	}
	ws.add("PROXY protocol from", list(f.AcceptProxy))
	w.line("%s", ws)
	for _, r := range f.Routes {
		w.line("route %s to %s for %s", f.Name, r.Backend, strings.Join(r.Names, " "))
		for _, a := range r.Sources {
			w.line("route %s to %s from %s", f.Name, r.Backend, a)
		}
	}
}

func (b Backend) String() string {
	ws := words{fmt.Sprintf("backend %s balance %s", b.Name, b.Balance)}
	ws.add("check", b.Check)
	ws.add("slow start", b.SlowStart)
	ws.add("send proxy", b.SendProxy)
	ws.add("connect timeout", b.ConnectTimeout)
	ws.add("server timeout", b.ServerTimeout)
	ws.add("queue timeout", b.QueueTimeout)
	return ws.String()
}

func (c Check) String() string {
	if c.Type == CheckNone {
		return ""
	}
	ws := []string{string(c.Type)}
	word := func(key, value string) {
		if value != "" {
			ws = append(ws, strings.TrimSpace(key+" "+value))
		}
	}
	if c.Port != 0 {
		word("port", fmt.Sprint(c.Port))
	}
	word("", c.Path)
	word("host", c.Host)
	if c.Status != 0 {
		word("status", fmt.Sprint(c.Status))
	}
	if c.Verify {
		word("", "verified")
	}
	word("else", c.FallbackPath)
	word("every", span(c.Interval, c.FastInterval))
	word("timeout", c.Timeout.String())
	word("fall", fmt.Sprint(c.Fall))
	word("rise", fmt.Sprint(c.Rise))
	return strings.Join(ws, " ")
}

// span is the usual interval and, behind a slash, the one after a failure.
func span(usual, fast time.Duration) string { return usual.String() + "/" + fast.String() }

func (s Server) String() string {
	ws := words{fmt.Sprintf("%s %s", s.Name, s.Address)}
	if s.Weight != 1 {
		ws = append(ws, fmt.Sprintf("weight %d", s.Weight))
	}
	ws.add("at most", s.MaxConnections)
	switch {
	case s.Bootstrap:
		ws = append(ws, "backup until the masters serve")
	case s.Backup:
		ws = append(ws, "backup")
	}
	if s.NoCheck {
		ws = append(ws, "not checked")
	}
	return ws.String()
}
