package rig

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// Answers is what a machine serves in place of OpenShift.
type Answers struct {
	ready atomic.Bool
	hits  atomic.Int64
}

// SetReady makes /readyz and /healthz answer 200 or 500. Requests are served either way.
func (a *Answers) SetReady(ok bool) { a.ready.Store(ok) }

// Hits counts the requests that were no health checks.
func (a *Answers) Hits() int64 { return a.hits.Load() }

// Serve makes the machine answer as its role's node does: bootstrap and
// masters the Kubernetes API (6443) and the machine config server (22623) by
// HTTPS, workers the router (443 by HTTPS, 80, and its health on 1936). Every
// answer but the health checks' is one line: the machine's name, the port it
// was asked at, the path, and the client's address as the machine sees it.
func (m *Machine) Serve(t testing.TB) *Answers {
	t.Helper()
	a := &Answers{}
	a.ready.Store(true)
	cert := newCertificate(t, m.Node.Name, m.Node.Zone, time.Now().Add(24*time.Hour))
	switch m.Node.Role {
	case "bootstrap", "master":
		m.listen(t, a, "6443", &cert)
		m.listen(t, a, "22623", &cert)
	default:
		m.listen(t, a, "443", &cert)
		m.listen(t, a, "80", nil)
		m.listen(t, a, "1936", nil)
	}
	return a
}

func (m *Machine) listen(t testing.TB, a *Answers, port string, cert *tls.Certificate) {
	t.Helper()
	var l net.Listener
	m.Do(t, func() {
		var err error
		if l, err = net.Listen("tcp4", net.JoinHostPort(m.Node.IP, port)); err != nil {
			t.Fatal(err)
		}
	})
	if cert != nil {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*cert}})
	}
	// The balancer's TCP checks break off handshakes by design: no log.
	srv := &http.Server{Handler: m.handler(a, port), ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	t.Cleanup(func() { _ = srv.Close() })
	m.rig.guard.Go(m.Node.Name+":"+port, func() { _ = srv.Serve(l) })
}

func (m *Machine) handler(a *Answers, port string) http.Handler {
	health := func(w http.ResponseWriter, _ *http.Request) {
		if !a.ready.Load() {
			http.Error(w, "not ready", http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, "ok")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", health)
	mux.HandleFunc("/healthz", health)
	mux.HandleFunc("/healthz/ready", health)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.hits.Add(1)
		_, _ = fmt.Fprintln(w, m.Node.Name, port, r.URL.Path, r.RemoteAddr)
	})
	return mux
}
