package http

import (
	"io"
	nethttp "net/http"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"

	"helperd/boot"
	"helperd/internal/human"
	"helperd/plan"
	"helperd/timeline"
)

// checkPath answers 204 and leaves no trace.
const checkPath = "/.well-known/helperd"

// exchange is one request and its answer.
type exchange struct {
	*Service
	state *state
	conn  *conn
	w     *writer
	r     *nethttp.Request
	begun time.Time
	addr  netip.Addr
	node  *plan.Node // that asks; nil: another machine
	path  string
	token string // that stood in the path of an ISO

	own    bool  // the file is one of the user's own
	size   int64 // of the file in bytes, where one is sent; else 0
	broken bool  // less was sent than promised
}

// handle serves one request. A panic ends this request alone.
func (s *Service) handle(rw nethttp.ResponseWriter, r *nethttp.Request) {
	c := r.Context().Value(connKey{}).(*conn)
	w := &writer{ResponseWriter: rw, conn: c, stall: s.stall}
	x := &exchange{Service: s, conn: c, w: w, r: r, begun: time.Now(), addr: c.addr, path: r.URL.Path}
	err := s.host.Guard.Run("http request", x.serve)
	s.count.requests.Add(1)
	s.count.bytes.Add(uint64(w.sent))
	if err == nil {
		x.log()
		return
	}
	if w.status != 0 {
		panic(nethttp.ErrAbortHandler) // half an answer must not look whole
	}
	w.Header().Set("Connection", "close")
	nethttp.Error(w, "internal error; helperd has logged it", nethttp.StatusInternalServerError)
}

// serverName is what every answer says of its server.
var serverName = []string{"helperd"}

func (x *exchange) serve() {
	x.host.Fuse.Check()
	x.path, x.token = withoutToken(x.path)
	x.state = x.Service.state.Load()
	x.node = x.state.nodes[x.addr]
	x.compareClock()
	x.conn.within(x.w.stall)
	h := x.w.Header()
	h["Server"] = serverName
	if x.path == "" && x.r.URL.Host != "" {
		x.path = "/" // RFC 9112 section 3.2.2: http://helper is http://helper/
	}
	switch {
	case x.r.Method != nethttp.MethodGet && x.r.Method != nethttp.MethodHead:
		h.Set("Allow", "GET, HEAD")
		x.closeAfter()
		x.text(nethttp.StatusMethodNotAllowed, "this server is read-only: GET and HEAD\n")
	case x.r.ContentLength != 0:
		x.closeAfter()
		x.text(nethttp.StatusBadRequest, "a GET has no body here\n")
	case !x.state.plan.HTTP.Enabled:
		x.closeAfter()
		x.text(nethttp.StatusServiceUnavailable, "the web server is switched off\n")
	case !strings.HasPrefix(x.path, "/"):
		x.closeAfter()
		x.text(nethttp.StatusBadRequest, "write a path that begins with /\n")
	case x.path == checkPath:
		x.w.WriteHeader(nethttp.StatusNoContent)
	case !safe(x.path):
		x.missed("there is no such path")
	default:
		x.path = clean(x.path)
		tidyRange(x.r)
		x.route()
	}
}

// compareClock notes what time the client thinks it is. Few say so.
func (x *exchange) compareClock() {
	if date := x.r.Header.Get("Date"); date != "" {
		if at, err := nethttp.ParseTime(date); err == nil {
			x.host.Nodes.SawClock(x.addr, at.Sub(x.begun), false)
		}
	}
}

func (x *exchange) route() {
	if f := x.state.files[x.path]; f != nil {
		x.serveArtifact(f)
		return
	}
	if g := x.state.ignition[x.path]; g != nil {
		x.serveIgnition(g)
		return
	}
	if x.serveBoot() || x.serveISO() || x.serveAuthority() {
		return
	}
	if root := x.state.plan.HTTP.Root; root != "" {
		x.serveOwn(root)
		return
	}
	x.missed("there is no such file")
}

// closeAfter ends the connection after this answer, so that a body that was
// sent along is neither waited for nor taken for the next request.
func (x *exchange) closeAfter() {
	x.w.Header().Set("Connection", "close")
	_ = x.conn.SetReadDeadline(time.Now().Add(tick)) // net/http reads what is left of the body
}

// safe reports whether a decoded path stays inside and names nothing hidden.
// Percent-encoding is gone here: %2e%2e is dots, %5c a backslash, %00 a NUL.
func safe(p string) bool {
	return strings.HasPrefix(p, "/") && !strings.Contains(p, "/.") && !strings.ContainsAny(p, "\\\x00")
}

// clean joins repeated slashes, which GRUB sends, and keeps the last one, which names a folder.
func clean(p string) string {
	c := path.Clean(p)
	if strings.HasSuffix(p, "/") && c != "/" {
		c += "/"
	}
	return c
}

// text answers with a short text of one reason and one remedy.
func (x *exchange) text(status int, body string) {
	h := x.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Del("Last-Modified")
	h.Del("Etag")
	x.w.WriteHeader(status)
	if x.r.Method != nethttp.MethodHead {
		_, _ = io.WriteString(x.w, body) // the writer keeps the error
	}
}

// missed answers 404. That a node asked for it is an event, unless its loader
// does without.
func (x *exchange) missed(why string) {
	if x.node != nil && !boot.IsProbe(x.path) {
		x.host.Events.Emit(timeline.Event{Kind: timeline.HTTPMiss, Addr: x.addr, File: human.Printable(x.path), Detail: why})
	}
	x.count.misses.Add(1)
	x.text(nethttp.StatusNotFound, why+"\n")
}

// notYet answers 503, which installers repeat.
func (x *exchange) notYet(kind timeline.Kind, why string) {
	x.host.Events.Emit(timeline.Event{Kind: kind, Addr: x.addr, File: x.path, Detail: why})
	x.count.misses.Add(1)
	x.w.Header().Set("Retry-After", "10")
	x.text(nethttp.StatusServiceUnavailable, why+"\n")
}
