package lb

import (
	"io"
	"strings"
	"time"
)

// accepts is a frontend that takes the PROXY protocol from some networks, and
// tells its server by the same what it took. Settings are those of the frontend.
func accepts(networks, settings string) string {
	return join(`
frontends: [{name: f, listen: "127.0.0.1:7000", backend: b, accept_proxy: [%s]%s}]
backends:
  - {name: b, check: {type: none}, send_proxy: v1, servers: [{name: one, address: "127.0.0.11:7000"}]}`, networks, settings)
}

const (
	v1Header = "PROXY TCP4 203.0.113.7 198.51.100.1 40000 443\r\n"
	v1Told   = "v1 TCP4 203.0.113.7:40000 198.51.100.1:443\n"
)

var v2Header = v2("203.0.113.7:40000", "198.51.100.1:443", "")

// takes proves what the server is told of a connection that begins with a header.
func takes(header, told string) func(x *trial) {
	return func(x *trial) {
		x.serve(one, reveal)
		c := x.dial(front)
		c.send(header + "said at once")
		told := told
		if told == "" {
			told = "v1 TCP4 " + c.LocalAddr().String() + " " + x.at(front) + "\n"
		}
		c.expect(told + "said at once")
		c.echo("and later")
	}
}

// refuses proves that a connection which begins so is closed and reaches no server.
func refuses(begin string) func(x *trial) {
	return func(x *trial) {
		s := x.serve(one, reveal)
		c := x.dial(front)
		_, _ = io.WriteString(c, begin)
		_ = c.CloseWrite()
		c.closed()
		if n := s.total.Load(); n != 0 {
			x.Errorf("the server got %d connections", n)
		}
		again := x.dial(front)
		again.send(v1Header)
		again.expect(v1Told)
	}
}

// takesPieces proves that a header may come a few bytes at a time.
func takesPieces(header string) func(x *trial) {
	return func(x *trial) {
		x.serve(one, reveal)
		c := x.dial(front)
		_, err := io.WriteString(&pieces{Conn: c}, header)
		x.must(err)
		c.expect(v1Told)
		c.echo("later")
	}
}

func refusesPieces(header string) func(x *trial) {
	return func(x *trial) {
		s := x.serve(one, reveal)
		c := x.dial(front)
		_, _ = io.WriteString(&pieces{Conn: c}, header)
		c.closed()
		if n := s.total.Load(); n != 0 {
			x.Errorf("the server got %d connections", n)
		}
	}
}

var all = accepts("127.0.0.0/24", "")

var proxyInCases = []testCase{
	{name: "version 1", lb: all, proof: takes(v1Header, v1Told)},
	{name: "version 1 of IPv6", lb: all, proof: takes("PROXY TCP6 2001:db8::7 2001:db8::1 40000 443\r\n", "v1 TCP6 [2001:db8::7]:40000 [2001:db8::1]:443\n")},
	{name: "version 2", lb: all, proof: takes(v2Header, v1Told)},
	{name: "version 2 of IPv6", lb: all, proof: takes(v2("[2001:db8::7]:40000", "[2001:db8::1]:443", ""), "v1 TCP6 [2001:db8::7]:40000 [2001:db8::1]:443\n")},
	{name: "version 2 with options", lb: all, proof: takes(v2("203.0.113.7:40000", "198.51.100.1:443", "\x04\x00\x05hello\x02\x00\x03foo"), v1Told)},
	{name: "version 1 UNKNOWN: the connection's own address", lb: all, proof: takes("PROXY UNKNOWN\r\n", "")},
	{
		name: "version 1 UNKNOWN with more in the line", lb: all, proof: takes("PROXY UNKNOWN ff::1 ff::2 1 2\r\n", ""),
		differs: "section 2.1 has the rest of the line ignored; HAProxy 2.6 refuses it",
		theirs:  refuses("PROXY UNKNOWN ff::1 ff::2 1 2\r\n"),
	},
	{name: "version 2 LOCAL: the connection's own address", lb: all, proof: takes(local, "")},
	{
		name: "version 1 in pieces", lb: all, proof: takesPieces(v1Header), theirs: refusesPieces(v1Header),
		differs: "section 2 lets a receiver refuse a header that comes in pieces, and HAProxy does; TCP promises nobody that it does not",
	},
	{
		name: "version 2 in pieces", lb: all, proof: takesPieces(v2Header), theirs: refusesPieces(v2Header),
		differs: "as version 1 in pieces",
	},
	{name: "a server that speaks first hears of it too", lb: all, proof: func(x *trial) {
		x.serve(one, reveal)
		c := x.dial(front)
		c.waits(300 * time.Millisecond)
		c.send(v1Header)
		c.expect(v1Told)
	}},
	{name: "none: closed", lb: all, proof: refuses("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")},
	{name: "garbage: closed", lb: all, proof: refuses("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 what is this? it is no header of any kind, and longer than one")},
	{name: "a line without end: closed", lb: all, proof: refuses("PROXY TCP4 " + strings.Repeat("1", 300))},
	{
		name: "wrong addresses: closed", lb: all, proof: refuses("PROXY TCP4 203.0.113.777 198.51.100.1 40000 443\r\n"),
		differs: "HAProxy 2.6 makes 203.0.116.9 of it: who is allowed must not depend on an overflow",
		theirs:  takes("PROXY TCP4 203.0.113.777 198.51.100.1 40000 443\r\n", "v1 TCP4 203.0.116.9:40000 198.51.100.1:443\n"),
	},
	{name: "version 3: closed", lb: all, proof: refuses(signature + "\x31\x11\x00\x0c" + strings.Repeat("\x01", 12))},
	{name: "version 2 that is too short: closed", lb: all, proof: refuses(signature + "\x21\x11\x00\x04\x01\x02\x03\x04" + strings.Repeat("x", 40))},
	{name: "the end within the header: closed", lb: all, proof: refuses("PROXY TCP4 203.0.113.7 198.5")},
	{name: "a header that does not come is not waited for", lb: "timeouts: {client: 1s}" + all, proof: func(x *trial) {
		s := x.serve(one, reveal)
		began := time.Now()
		x.dial(front).closed()
		x.within("closed", began, 800*time.Millisecond)
		if n := s.total.Load(); n != 0 {
			x.Errorf("the server got %d connections", n)
		}
	}},
	{name: "from other networks it is data", lb: accepts("127.0.0.200/32", ""), proof: func(x *trial) {
		x.serve(one, reveal)
		c := x.dial(front)
		c.send(v1Header)
		c.expect("v1 TCP4 " + c.LocalAddr().String() + " " + x.at(front) + "\n" + v1Header)
		proxied := x.dialFrom("127.0.0.200", front)
		proxied.send(v1Header)
		proxied.expect(v1Told)
	}},
	{name: "allow is asked of the proxied address", lb: accepts("127.0.0.200/32", ", allow: [203.0.113.0/28, 127.0.0.100/32]"), proof: func(x *trial) {
		s := x.serve(one, reveal)
		good := x.dialFrom("127.0.0.200", front)
		good.send(v1Header)
		good.expect(v1Told)
		bad := x.dialFrom("127.0.0.200", front)
		bad.send("PROXY TCP4 203.0.113.77 198.51.100.1 40000 443\r\n")
		bad.closed()
		x.dialFrom("127.0.0.100", front).expect("v1 TCP4 127.")
		x.dialFrom("127.0.0.101", front).closed()
		if n := s.total.Load(); n != 2 {
			x.Errorf("the server got %d connections, want 2", n)
		}
	}},
	{name: "rate is that of the proxied address", lb: accepts("127.0.0.0/24", ", rate: {connections: 3, per: 1m}"), proof: func(x *trial) {
		x.serve(one, reveal)
		for range 3 {
			c := x.dial(front)
			c.send(v1Header)
			c.expect(v1Told)
		}
		x.await("a fourth of one client is closed", func() bool {
			c := x.dial(front)
			_, _ = io.WriteString(c, v1Header)
			return c.who() == ""
		})
		other := x.dial(front)
		other.send("PROXY TCP4 203.0.113.8 198.51.100.1 40000 443\r\n")
		other.expect("v1 TCP4 203.0.113.8:40000")
	}},
	{name: "source is the proxied address", lb: `
frontends: [{name: f, listen: "127.0.0.1:7000", backend: b, accept_proxy: [127.0.0.0/24]}]
backends:
  - name: b
    balance: source
    check: {type: none}
    servers: [{name: one, address: "127.0.0.11:7000"}, {name: two, address: "127.0.0.12:7000"}, {name: three, address: "127.0.0.13:7000"}]`, proof: func(x *trial) {
		x.trio()
		ask := func(client int) string {
			c := x.dial(front)
			c.send(join("PROXY TCP4 203.0.113.%d 198.51.100.1 40000 443\r\n", client))
			return c.who()
		}
		used := map[string]bool{}
		for client := range 30 {
			first := ask(client)
			used[first] = true
			if again := ask(client); again != first {
				x.Errorf("client %d went to %q and to %q", client, first, again)
			}
		}
		if len(used) != 3 {
			x.Errorf("30 clients use only %v", used)
		}
	}},
}
