package ui

import (
	"embed"
	"html/template"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"helperd/internal/human"
	"helperd/services/lb/stats"
)

//go:embed page.html style.css
var files embed.FS

var page = template.Must(template.New("page.html").Option("missingkey=zero").Funcs(template.FuncMap{
	"size": size, "span": span, "tone": tone, "or": or, "count": count,
}).ParseFS(files, "page.html"))

// refresh is how often a browser loads the page again.
const refresh = 5 * time.Second

// view is what the page shows.
type view struct {
	Refresh   int // seconds
	At        time.Time
	Frontends []stats.Stat
	Backends  []backend
	Down      int // servers that should be up
}

type backend struct {
	stats.Stat
	Servers []stats.Stat
}

// Kinds of rows, of the column type.
const (
	frontendRow = "0"
	backendRow  = "1"
	serverRow   = "2"
)

func newView(rows []stats.Stat, now time.Time) view {
	v := view{Refresh: int(refresh / time.Second), At: now}
	var servers []stats.Stat
	for _, r := range rows {
		switch r["type"] {
		case frontendRow:
			v.Frontends = append(v.Frontends, r)
		case serverRow:
			servers = append(servers, r)
			if strings.HasPrefix(r["status"], "DOWN") {
				v.Down++
			}
		case backendRow:
			v.Backends = append(v.Backends, backend{r, servers})
			servers = nil
		}
	}
	return v
}

// pages are all that is served.
func (s *Service) pages() http.Handler {
	style, _ := files.ReadFile("style.css") // it is embedded
	html := &rendering{render: func(w io.Writer) error { return page.Execute(w, newView(s.balancer.Stats(), time.Now())) }}
	csv := &rendering{render: s.balancer.WriteStats}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.host.Fuse.Check()
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "nothing can be changed here; use the command line", http.StatusMethodNotAllowed)
		case strings.HasSuffix(r.RequestURI, ";csv"): // as /;csv and /haproxy?stats;csv
			s.show(w, "text/plain; charset=utf-8", csv)
		case r.URL.Path == "/":
			s.show(w, "text/html; charset=utf-8", html)
		case r.URL.Path == "/style.css":
			h.Set("Content-Type", "text/css; charset=utf-8")
			h.Set("Cache-Control", "max-age=300")
			_, _ = w.Write(style)
		default:
			http.Error(w, "there is nothing here; the balancer's table is at /, and as CSV at /;csv", http.StatusNotFound)
		}
	})
}

func (s *Service) show(w http.ResponseWriter, kind string, r *rendering) {
	b, err := r.bytes()
	if err != nil {
		s.host.Log.Error("page not written", "err", err)
		http.Error(w, "the page could not be written; the log of helperd says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(b)
}

func size(s string) string {
	n, _ := strconv.ParseInt(s, 10, 64)
	return human.Size(n)
}

// count groups the digits of a number.
func count(s string) string {
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// span is seconds in their two largest units.
func span(s string) string {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil:
		return ""
	case n < 0:
		return "never"
	case n < 60:
		return strconv.FormatInt(n, 10) + " s"
	case n < 3600:
		return strconv.FormatInt(n/60, 10) + " min " + strconv.FormatInt(n%60, 10) + " s"
	case n < 86400:
		return strconv.FormatInt(n/3600, 10) + " h " + strconv.FormatInt(n/60%60, 10) + " min"
	}
	return strconv.FormatInt(n/86400, 10) + " d " + strconv.FormatInt(n/3600%24, 10) + " h"
}

// tone is the class of a status.
func tone(status string) string {
	switch {
	case strings.HasPrefix(status, "UP "), strings.HasPrefix(status, "DRAIN"), status == "PAUSED":
		return "turning"
	case status == "UP", status == "OPEN":
		return "up"
	case strings.HasPrefix(status, "DOWN"):
		return "down"
	}
	return "off"
}

func or(s, none string) string {
	if s == "" {
		return none
	}
	return s
}
