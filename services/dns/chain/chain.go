package chain

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

// ErrStopped says that the chain was replaced: ask its successor.
var ErrStopped = errors.New("resolver chain is stopped")

// A Chain answers by asking forwarders. It lives until its last reference is released.
type Chain struct {
	instance *caddy.Instance
	server   *dnsserver.Server

	mu      sync.Mutex // guards refs, and queries.Add against Stop's queries.Wait
	refs    int
	queries sync.WaitGroup

	failures atomic.Int64           // in a row
	failure  atomic.Pointer[string] // the last
}

// Start starts a chain with one reference. Forwarders are asked in the given
// order: the next one when one does not answer.
func Start(forwarders []netip.AddrPort) (*Chain, error) {
	if err := register(); err != nil {
		return nil, fmt.Errorf("register with CoreDNS: %w", err)
	}
	loading.Lock()
	defer loading.Unlock()
	c := &Chain{refs: 1}
	loading.chain = c
	defer func() { loading.chain = nil }()
	instance, err := caddy.Start(caddy.CaddyfileInput{Filepath: "helperd", Contents: []byte(corefile(forwarders)), ServerTypeName: "dns"})
	if err != nil {
		return nil, fmt.Errorf("start resolver for forwarders %v: %w", forwarders, err)
	}
	c.instance = instance
	return c, nil
}

// corefile is CoreDNS's configuration. An answer is kept for an hour at most,
// a failure for a second, so that a forwarder that comes back is noticed at once.
// Sockets expire after one question: each has its own source port, which a forged
// answer must hit, besides its random identifier (RFC 5452 section 9.2).
func corefile(forwarders []netip.AddrPort) string {
	var b strings.Builder
	fmt.Fprintf(&b, ". {\n%s\ncache 3600 {\nservfail 1s\n}\n%s\nforward .", capture, observe)
	for _, f := range forwarders {
		fmt.Fprintf(&b, " %s", f)
	}
	b.WriteString(" {\npolicy sequential\nprefer_udp\nexpire 0s\n}\n}\n")
	return b.String()
}

// Retain takes a further reference.
func (c *Chain) Retain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refs++
}

// Release gives a reference back. After the last one it waits for the queries
// under way, at most as long as a forwarder may take, and stops the chain.
func (c *Chain) Release() error {
	c.mu.Lock()
	c.refs--
	last := c.refs == 0
	c.mu.Unlock()
	if !last {
		return nil
	}
	// Shutdown with queries under way can leave forward stuck.
	c.queries.Wait()
	errs := c.instance.ShutdownCallbacks()
	return errors.Join(append(errs, c.instance.Stop())...)
}

// Ask answers m for a client at from, whose kind of address (UDP or TCP) says
// how much it can take. The records of the answer are shared with the cache:
// the message is the caller's to change, they are not.
func (c *Chain) Ask(ctx context.Context, from net.Addr, m *dns.Msg) (*dns.Msg, error) {
	c.mu.Lock()
	if c.refs == 0 {
		c.mu.Unlock()
		return nil, ErrStopped
	}
	c.queries.Add(1)
	c.mu.Unlock()
	defer c.queries.Done()
	w := &writer{from: from}
	c.server.ServeDNS(context.WithValue(ctx, dnsserver.Key{}, c.server), w, m)
	if w.reply == nil {
		return nil, errors.New("resolver gave no answer")
	}
	return w.reply, nil
}

// Failing is how many questions in a row no forwarder answered, and the last reason.
func (c *Chain) Failing() (count int64, reason string) {
	if r := c.failure.Load(); r != nil {
		reason = *r
	}
	return c.failures.Load(), reason
}

// observer counts what the forwarders do not answer.
type observer struct {
	next  plugin.Handler
	chain *Chain
}

// Name implements plugin.Handler.
func (o *observer) Name() string { return observe }

// ServeDNS implements plugin.Handler.
func (o *observer) ServeDNS(ctx context.Context, w dns.ResponseWriter, m *dns.Msg) (int, error) {
	rcode, err := o.next.ServeDNS(ctx, w, m)
	switch {
	case err == nil:
		o.chain.failures.Store(0)
	case ctx.Err() == nil:
		reason := err.Error()
		o.chain.failure.Store(&reason)
		o.chain.failures.Add(1)
	}
	return rcode, err
}

// writer keeps the answer instead of sending it.
type writer struct {
	from  net.Addr
	reply *dns.Msg
}

// WriteMsg implements dns.ResponseWriter.
func (w *writer) WriteMsg(m *dns.Msg) error {
	w.reply = m
	return nil
}

// Write implements dns.ResponseWriter.
func (w *writer) Write(b []byte) (int, error) {
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		return 0, err
	}
	w.reply = m
	return len(b), nil
}

// LocalAddr implements dns.ResponseWriter. Nothing in the chain depends on it.
func (w *writer) LocalAddr() net.Addr { return w.from }

// RemoteAddr implements dns.ResponseWriter.
func (w *writer) RemoteAddr() net.Addr { return w.from }

// Close implements dns.ResponseWriter.
func (w *writer) Close() error { return nil }

// TsigStatus implements dns.ResponseWriter.
func (w *writer) TsigStatus() error { return nil }

// TsigTimersOnly implements dns.ResponseWriter.
func (w *writer) TsigTimersOnly(bool) {}

// Hijack implements dns.ResponseWriter.
func (w *writer) Hijack() {}
