package config

import "net/netip"

// LB configures the balancer.
type LB struct {
	// Enabled is true unless written.
	Enabled bool `yaml:"enabled" jsonschema:"default=true"`
	// StatsSocket is the path of the HAProxy runtime API.
	StatsSocket string `yaml:"stats_socket"`
	// MaxConnections in total. Default: 100000.
	MaxConnections int `yaml:"max_connections" jsonschema:"minimum=1,default=100000"`
	// Retries of a failed connect, each on another server. Default: 3.
	Retries int `yaml:"retries" jsonschema:"minimum=0,maximum=100,default=3"`
	// Timeouts of all frontends and backends.
	Timeouts Timeouts `yaml:"timeouts"`
	// Rate is how many connections one client may open, on each frontend that does not say otherwise. Default: no limit.
	Rate Rate `yaml:"rate"`
	// Frontends beside those of the clusters.
	Frontends []Frontend `yaml:"frontends"`
	// Backends beside those of the clusters.
	Backends []Backend `yaml:"backends"`
}

// Timeouts of the balancer.
type Timeouts struct {
	// Connect to a server. Default: 10s.
	Connect Duration `yaml:"connect"`
	// Client is how long a client may be silent. Default: 4h.
	Client Duration `yaml:"client"`
	// Server is how long a server may be silent. Default: 4h.
	Server Duration `yaml:"server"`
	// Queue is how long a connection waits for a free server. Default: 1m.
	Queue Duration `yaml:"queue"`
}

// Rate is a number of connections in a time.
type Rate struct {
	// Connections of one client address. 0: no limit.
	Connections int `yaml:"connections" jsonschema:"minimum=0,maximum=1000000"`
	// Per is the time in which so many may come. Default: 1s.
	Per Duration `yaml:"per" jsonschema:"default=1s"`
}

// Frontend is an address that the balancer listens on.
type Frontend struct {
	// Name of the frontend.
	Name string `yaml:"name" jsonschema:"required"`
	// Listen is one address with port, or a list.
	Listen AddrPorts `yaml:"listen" jsonschema:"required"`
	// Backend that serves it.
	Backend string `yaml:"backend" jsonschema:"required"`
	// Allow lists who may connect. Default: everybody.
	Allow []netip.Prefix `yaml:"allow"`
	// MaxConnections at a time; more wait in the kernel. 0: no limit of its own.
	MaxConnections int `yaml:"max_connections" jsonschema:"minimum=0"`
	// Rate that differs from that of lb.
	Rate Rate `yaml:"rate"`
	// AcceptProxy are the networks of balancers in front of this one: their connections must begin
	// with the PROXY protocol, v1 or v2, and its address is the client's.
	AcceptProxy []netip.Prefix `yaml:"accept_proxy"`
	// Timeouts that differ from those of lb.
	Timeouts Timeouts `yaml:"timeouts"`
}

// Backend is a group of servers.
type Backend struct {
	// Name of the backend.
	Name string `yaml:"name" jsonschema:"required"`
	// Balance is roundrobin, leastconn or source. Default: roundrobin.
	Balance string `yaml:"balance" jsonschema:"enum=roundrobin,enum=leastconn,enum=source,default=roundrobin"`
	// Check says how servers are probed.
	Check Check `yaml:"check"`
	// SlowStart is how long a server that has become ready takes to get its whole share. Default: 0s.
	SlowStart Duration `yaml:"slow_start"`
	// SendProxy sends the PROXY protocol: v1 or v2.
	SendProxy string `yaml:"send_proxy" jsonschema:"enum=v1,enum=v2"`
	// Timeouts that differ from those of lb.
	Timeouts Timeouts `yaml:"timeouts"`
	// Servers of the group.
	Servers []Server `yaml:"servers" jsonschema:"required"`
}

// Check says how the servers of a backend are probed.
type Check struct {
	// Type is none, tcp, http or https. Default: tcp.
	Type string `yaml:"type" jsonschema:"enum=none,enum=tcp,enum=http,enum=https,default=tcp"`
	// Path of an HTTP check. Default: /.
	Path string `yaml:"path" jsonschema:"default=/"`
	// Status that an HTTP check expects. Default: 200.
	Status int `yaml:"status" jsonschema:"minimum=100,maximum=599,default=200"`
	// Host is the name that an HTTP check asks for, and an HTTPS check in TLS as well. Default: the server's address.
	Host string `yaml:"host"`
	// Verify the certificate of an HTTPS check.
	Verify bool `yaml:"verify"`
	// Port to probe. Default: the server's.
	Port int `yaml:"port" jsonschema:"minimum=1,maximum=65535"`
	// Interval between probes. Default: 5s.
	Interval Duration `yaml:"interval" jsonschema:"default=5s"`
	// FastInterval is the interval while a server turns from one state to the other. Default: 2s, or interval when that is shorter.
	FastInterval Duration `yaml:"fast_interval"`
	// Timeout of a probe. Default: 4s.
	Timeout Duration `yaml:"timeout" jsonschema:"default=4s"`
	// Fall is the number of failures that take a server down. Default: 2.
	Fall int `yaml:"fall" jsonschema:"minimum=1,maximum=1000,default=2"`
	// Rise is the number of successes that bring a server up. Default: 3.
	Rise int `yaml:"rise" jsonschema:"minimum=1,maximum=1000,default=3"`
}

// Server is one server of a backend.
type Server struct {
	// Name of the server.
	Name string `yaml:"name" jsonschema:"required"`
	// Address with port.
	Address AddrPort `yaml:"address" jsonschema:"required"`
	// Weight among its peers, 0 to 256. Default: 1.
	Weight int `yaml:"weight" jsonschema:"minimum=0,maximum=256,default=1"`
	// MaxConnections at a time. 0: no limit.
	MaxConnections int `yaml:"max_connections" jsonschema:"minimum=0"`
	// Backup servers are used when no other is up.
	Backup bool `yaml:"backup"`
	// Check is true unless written.
	Check bool `yaml:"check" jsonschema:"default=true"`
}
