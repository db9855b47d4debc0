package chain

import (
	"sync"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	_ "github.com/coredns/coredns/plugin/cache"   // directive cache
	_ "github.com/coredns/coredns/plugin/forward" // directive forward
)

// The directives of our own.
const (
	capture = "helperdcapture" // takes the compiled chain instead of sockets
	observe = "helperdobserve" // between cache and forward: sees how the forwarders do
)

// loading is the chain that is being started. Directives reach it through this
// variable because caddy calls their setup functions by name, without an argument of ours.
var loading struct {
	sync.Mutex
	chain *Chain
}

// register adds our directives to CoreDNS, whose registry is process-wide and
// refuses to be given a name twice.
var register = sync.OnceValue(func() error {
	caddy.Quiet, dnsserver.Quiet = true, true
	plugin.Register(capture, setupCapture)
	plugin.Register(observe, setupObserve)
	// The order of the list is the order in the chain. Capture comes first, so that its startup function
	// runs first: those of other plugins look up handlers, which exist when the server is compiled.
	return dnsserver.SetDirectives([]string{capture, "cache", observe, "forward"})
})

// setupCapture leaves CoreDNS without an address to listen on, so that it opens
// no socket, and compiles the chain at startup.
func setupCapture(c *caddy.Controller) error {
	for c.Next() {
	}
	config, chain := dnsserver.GetConfig(c), loading.chain
	config.ListenHosts = nil
	c.OnStartup(func() (err error) {
		chain.server, err = dnsserver.NewServer("dns://:53", []*dnsserver.Config{config})
		return err
	})
	return nil
}

func setupObserve(c *caddy.Controller) error {
	for c.Next() {
	}
	chain := loading.chain
	dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler {
		return &observer{next: next, chain: chain}
	})
	return nil
}
