package lb

import "net"

// between has a frontend and a server anywhere.
func between(listen, server string) string {
	return join(`
frontends: [{name: f, listen: %s, backend: b}]
backends:
  - {name: b, check: {interval: 200ms, timeout: 1s, fall: 2, rise: 2}, servers: [{name: one, address: "%s"}]}`, listen, server)
}

// answers proves that every address leads to the server.
func answers(server string, listen ...string) func(x *trial) {
	return func(x *trial) {
		x.serve(server, named("one"))
		for _, addr := range listen {
			x.awaitOnly(addr, "one")
			c := x.dial(addr)
			c.expect("one\n")
			c.echo("hello")
			x.must(c.CloseWrite())
			c.end()
		}
	}
}

var addressCases = []testCase{
	{name: "IPv6 to IPv6", lb: between(`"[::1]:7000"`, "[::1]:7001"), proof: answers("[::1]:7001", "[::1]:7000")},
	{name: "IPv6 to IPv4", lb: between(`"[::1]:7000"`, one), proof: answers(one, "[::1]:7000")},
	{name: "IPv4 to IPv6", lb: between(`"127.0.0.1:7000"`, "[::1]:7001"), proof: answers("[::1]:7001", front)},
	{name: "several addresses and ports of both families", lb: between(`["127.0.0.1:7000", "127.0.0.2:7000", "127.0.0.1:7001", "[::1]:7000"]`, one), proof: answers(one, front, "127.0.0.2:7000", "127.0.0.1:7001", "[::1]:7000")},
	{name: "no other address", lb: between(`"127.0.0.1:7000"`, one), proof: func(x *trial) {
		answers(one, front)(x)
		for _, addr := range []string{"127.0.0.2:7000", "127.0.0.1:7001", "[::1]:7000"} {
			if c, err := net.Dial("tcp", x.at(addr)); err == nil {
				_ = c.Close()
				x.Errorf("%s is served", addr)
			}
		}
	}},
	{name: "two frontends of one backend", lb: `
frontends: [{name: f, listen: "127.0.0.1:7000", backend: b}, {name: g, listen: "127.0.0.2:7000", backend: b}]
backends:
  - {name: b, check: {interval: 200ms, timeout: 1s, fall: 2, rise: 2}, servers: [{name: one, address: "127.0.0.11:7000"}]}`, proof: answers(one, front, "127.0.0.2:7000")},
}
