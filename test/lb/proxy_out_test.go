package lb

import (
	"io"
	"net"
	"strings"
)

// sends is a frontend on both families whose backend sends the PROXY protocol.
func sends(version, server string) string {
	return join(`
frontends: [{name: f, listen: ["127.0.0.1:7000", "[::1]:7000"], backend: b}]
backends:
  - {name: b, check: {type: none}, send_proxy: %s, servers: [{name: one, address: "%s"}]}`, version, server)
}

// header proves which header the server gets for clients of an address.
func header(version, family, listen, server string) func(x *trial) {
	return func(x *trial) {
		x.serve(server, reveal)
		for range 3 {
			c := x.dial(listen)
			c.send("said with the first packet\n")
			c.expect(version + " " + family + " " + c.LocalAddr().String() + " " + x.at(listen) + "\n")
			c.expect("said with the first packet\n")
			c.echo("and later")
		}
	}
}

var proxyOutCases = []testCase{
	{name: "version 1 of IPv4", lb: sends("v1", one), proof: header("v1", "TCP4", front, one)},
	{name: "version 2 of IPv4", lb: sends("v2", one), proof: header("v2", "TCP4", front, one)},
	{name: "version 1 of IPv6", lb: sends("v1", "[::1]:7001"), proof: header("v1", "TCP6", "[::1]:7000", "[::1]:7001")},
	{name: "version 2 of IPv6", lb: sends("v2", "[::1]:7001"), proof: header("v2", "TCP6", "[::1]:7000", "[::1]:7001")},
	{name: "of IPv6 to a server of IPv4", lb: sends("v2", one), proof: header("v2", "TCP6", "[::1]:7000", one)},
	{name: "of IPv4 to a server of IPv6", lb: sends("v1", "[::1]:7001"), proof: header("v1", "TCP4", front, "[::1]:7001")},
	{name: "to a server that waits for it before it speaks", lb: sends("v2", one), proof: func(x *trial) {
		x.serve(one, reveal)
		c := x.dial(front) // says nothing
		c.expect("v2 TCP4 " + c.LocalAddr().String())
	}},
	{name: "after a retry", lb: strings.Replace(strings.Replace(sends("v1", one), "servers: [", `servers: [{name: two, address: "127.0.0.12:7000"}, `, 1), "frontends", "retries: 2\nfrontends", 1), proof: header("v1", "TCP4", front, one)},
	{name: "checks send it as well", lb: strings.Replace(sends("v2", one), "{type: none}", "{type: http, "+often+"}", 1), proof: func(x *trial) {
		x.serve(one, func(c *net.TCPConn) {
			if h := readHeader(c); strings.HasPrefix(h, `"`) { // a question without a header
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
		})
		x.await("the server is up", func() bool { return strings.HasPrefix(x.who(front), "HTTP/1.0 200") })
		for range 30 {
			if who := x.who(front); !strings.HasPrefix(who, "HTTP/1.0 200") {
				x.Fatalf("served %q", who)
			}
		}
	}},
}
