package lb

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// health is what checks ask: a web server on a port of its own.
type health struct {
	x    *trial
	addr string
	name string // said in every answer as the server's
	cert *tls.Certificate

	mu     sync.Mutex
	status int // of every answer
	script func(n int) int
	asked  []question
	server *http.Server
}

// A question is one that a check asked.
type question struct {
	at               time.Time
	path, host, name string // name: that of TLS
	status           int    // of the answer
}

// health starts a web server that answers 200; with a certificate it speaks TLS.
func (x *trial) health(addr string, cert *tls.Certificate) *health {
	x.Helper()
	h := &health{x: x, addr: addr, cert: cert, status: 200}
	h.start()
	x.Cleanup(h.stop)
	return h
}

func (h *health) start() {
	h.x.Helper()
	l, err := net.Listen("tcp", h.x.at(h.addr))
	h.x.must(err)
	s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	h.mu.Lock()
	h.server = s
	h.mu.Unlock()
	if h.cert != nil {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*h.cert}})
	}
	h.x.guard.Go("health "+h.addr, func() { _ = s.Serve(l) })
}

func (h *health) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = h.server.Close()
}

// answer sets the status of every answer from now on.
func (h *health) answer(status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status, h.script = status, nil
}

// follow has the script give the status of answer n from now on, the first being 0.
func (h *health) follow(script func(n int) int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := len(h.asked)
	h.script = func(n int) int { return script(n - before) }
}

// questions are all so far.
func (h *health) questions() []question {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]question(nil), h.asked...)
}

// awaitQuestions waits for n more.
func (h *health) awaitQuestions(n int) {
	h.x.Helper()
	h.x.begin()
	want := len(h.questions()) + n
	h.x.await("more checks of "+h.addr, func() bool { return len(h.questions()) >= want })
}

func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	q := question{at: time.Now(), path: r.URL.Path, host: r.Host, status: h.status}
	if h.script != nil {
		q.status = h.script(len(h.asked))
	}
	if r.TLS != nil {
		q.name = r.TLS.ServerName
	}
	h.asked = append(h.asked, q)
	h.mu.Unlock()
	if h.name != "" {
		w.Header().Set("Server", h.name)
	}
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(q.status)
}

// healthyTrio is trio whose checks are answered on port 7100.
func (x *trial) healthyTrio() [3]*health {
	x.Helper()
	x.trio()
	return [3]*health{x.health("127.0.0.11:7100", nil), x.health("127.0.0.12:7100", nil), x.health("127.0.0.13:7100", nil)}
}
