package plan

import (
	"net/netip"
	"time"
)

// LB is what the balancer serves.
type LB struct {
	Enabled        bool
	MaxConnections int
	Retries        int
	StatsSocket    string // path of the HAProxy runtime API; empty: none
	Frontends      []Frontend
	Backends       []Backend
}

// Frontend is an address that the balancer listens on.
type Frontend struct {
	Name          string
	Listen        []netip.AddrPort
	Backend       string         // default backend; empty: Routes decide, else close
	Routes        []NameRoute    // several clusters share the address
	Peek          Peek           // where connections carry the name that Routes go by
	Allow         []netip.Prefix // nil: everybody
	ClientTimeout time.Duration
	// MaxConnections at a time; 0: no limit of its own.
	MaxConnections int
	// Rate is how many connections one client may open.
	Rate Rate
	// AcceptProxy are the networks whose connections begin with the PROXY protocol.
	AcceptProxy []netip.Prefix
}

// RoutedTo are the names of the backends that routes send connections to.
func (f *Frontend) RoutedTo() []string {
	var names []string
	for _, r := range f.Routes {
		names = append(names, r.Backend)
	}
	return names
}

// Peek is where a connection says whom it asks for.
type Peek string

// The places.
const (
	PeekNone Peek = ""     // nowhere: the client's address alone decides
	PeekSNI  Peek = "sni"  // the server name of TLS
	PeekHost Peek = "host" // the Host of its first HTTP request
)

// Rate is a number of connections in a time; 0 connections: no limit.
type Rate struct {
	Connections int
	Per         time.Duration
}

// NameRoute sends a connection to a backend by the name it asks for, or, when it
// names none, by the node it comes from.
type NameRoute struct {
	Names   []string // SNI or Host: exact, or a suffix that starts with a dot
	Sources []netip.Addr
	Backend string
}

// Balance is a way to choose a server.
type Balance string

// The ways.
const (
	RoundRobin Balance = "roundrobin"
	LeastConn  Balance = "leastconn"
	Source     Balance = "source"
)

// CheckType is a kind of probe.
type CheckType string

// The kinds.
const (
	CheckNone  CheckType = "none"
	CheckTCP   CheckType = "tcp"
	CheckHTTP  CheckType = "http"
	CheckHTTPS CheckType = "https"
)

// Check says how the servers of a backend are probed.
type Check struct {
	Type         CheckType
	Path         string
	Host         string // Host header and SNI
	Status       int
	Verify       bool
	Port         int    // 0: the server's
	SendProxy    string // v1 or v2: a probe says first that it comes from nobody; "": it does not
	Interval     time.Duration
	FastInterval time.Duration // while a server turns: after its first failure, or its first success
	Timeout      time.Duration
	Fall, Rise   int
	// FallbackPath is asked when every server of the backend is down by Path.
	FallbackPath string
}

// Backend is a group of servers.
type Backend struct {
	Name           string
	Balance        Balance
	Check          Check
	SlowStart      time.Duration // 0: none
	SendProxy      string        // "", v1, v2
	ConnectTimeout time.Duration
	ServerTimeout  time.Duration
	QueueTimeout   time.Duration
	Servers        []Server
}

// Server is one server of a backend.
type Server struct {
	Name           string
	Address        netip.AddrPort
	Node           string // FQDN; empty: not a node
	Weight         int
	MaxConnections int
	Backup         bool
	NoCheck        bool
	// Bootstrap marks the cluster's bootstrap node: a backup that retires once the masters serve.
	Bootstrap bool
}
