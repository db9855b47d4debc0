package lb

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"time"

	"helperd/internal/netns"
)

// twoClusters share the helper's address. They are told apart by SNI and Host.
const twoClusters = `
clusters:
  - name: red
    domain: example.com
    nodes:
      - {name: m0, role: master, mac: "52:54:00:00:00:01", ip: 127.0.0.11, ingress: true}
  - name: blue
    domain: example.com
    nodes:
      - {name: m0, role: master, mac: "52:54:00:00:00:02", ip: 127.0.0.12, ingress: true}`

const (
	apiPort = "127.0.0.1:6443"
	tlsPort = "127.0.0.1:443"
	webPort = "127.0.0.1:80"
)

// nameCases are about clusters that share an address.
var nameCases = []testCase{
	{name: "SNI: the API of either", more: twoClusters, proof: func(x *trial) {
		x.clusters()
		x.awaitName(apiPort, "api.red.example.com", "red")
		x.awaitName(apiPort, "api-int.red.example.com", "red")
		x.awaitName(apiPort, "api.blue.example.com", "blue")
		x.awaitName(apiPort, "api-int.blue.example.com", "blue")
		x.awaitName("127.0.0.1:22623", "api-int.blue.example.com", "blue")
		x.awaitName(apiPort, "API.Blue.example.COM", "blue")
	}},
	{name: "SNI: whatever is below apps", more: twoClusters, proof: func(x *trial) {
		x.clusters()
		x.awaitName(tlsPort, "console.apps.red.example.com", "red")
		x.awaitName(tlsPort, "a.b.c.apps.blue.example.com", "blue")
	}},
	{name: "SNI: nobody's name is closed", more: twoClusters, proof: func(x *trial) {
		x.clusters()
		x.awaitName(apiPort, "api.red.example.com", "red")
		for _, name := range []string{"api.green.example.com", "xapi.red.example.com", "red.example.com"} {
			if who := x.tlsName(outsider, apiPort, name); who != "" {
				x.Errorf("%s is served by %s", name, who)
			}
		}
		x.awaitName(tlsPort, "console.apps.red.example.com", "red")
		for _, name := range []string{"apps.red.example.com.evil.org", "consoleapps.red.example.com"} {
			if who := x.tlsName(outsider, tlsPort, name); who != "" {
				x.Errorf("%s is served by %s", name, who)
			}
		}
	}},
	{name: "SNI: the machine config server is for the machine networks alone", more: twoClusters, proof: func(x *trial) {
		x.clusters()
		const machines = "127.0.0.1:22623"
		x.awaitName(machines, "api-int.red.example.com", "red")
		x.awaitName(apiPort, "api.red.example.com", "red")
		if who := x.tlsName(outsider, machines, "api-int.red.example.com"); who != "" {
			x.Errorf("an outsider is served by %s", who)
		}
		if who := x.tlsName(outsider, apiPort, "api.red.example.com"); who != "red" {
			x.Errorf("port 6443 is for everybody, and an outsider is served by %q", who)
		}
	}},
	{name: "SNI: none, a node gets its own cluster", more: twoClusters, proof: func(x *trial) {
		x.clusters()
		x.awaitName(apiPort, "api.red.example.com", "red")
		x.awaitName(apiPort, "api.blue.example.com", "blue")
		for node, want := range map[string]string{"127.0.0.11": "red", "127.0.0.12": "blue", outsider: ""} {
			if who := x.tlsName(node, apiPort, ""); who != want {
				x.Errorf("%s is served by %q, want %q", node, who, want)
			}
		}
	}},
	{name: "SNI: a hello in pieces", more: twoClusters, proof: func(x *trial) {
		x.clusters()
		x.awaitName(apiPort, "api.blue.example.com", "blue")
		who, err := speakTLS(&pieces{Conn: x.dial(apiPort)}, "api.blue.example.com")
		if who != "blue" {
			x.Errorf("served by %q, %v", who, err)
		}
	}},
	{
		name: "SNI: a hello in two records", more: twoClusters,
		proof: func(x *trial) {
			x.clusters()
			x.awaitName(apiPort, "api.blue.example.com", "blue")
			if who, err := speakTLS(&records{Conn: x.dial(apiPort)}, "api.blue.example.com"); who != "blue" {
				x.Errorf("served by %q, %v", who, err)
			}
		},
		differs: "HAProxy 2.6 reads the name from a single record only",
		theirs: func(x *trial) {
			x.clusters()
			x.awaitName(apiPort, "api.blue.example.com", "blue")
			if who, _ := speakTLS(&records{Conn: x.dial(apiPort)}, "api.blue.example.com"); who != "" {
				x.Errorf("served by %q", who)
			}
		},
	},
	{name: "SNI: garbage is closed, in time", more: twoClusters, proof: func(x *trial) {
		x.clusters()
		x.awaitName(apiPort, "api.blue.example.com", "blue")
		for _, s := range []string{"GET / HTTP/1.1\r\nHost: api.blue.example.com\r\n\r\n", "\x16\x03\x01\xff\xff" + strings.Repeat("x", 20000), "\x16\x03\x01\x00\x05\x01", "\x00"} {
			c := x.dialFrom(outsider, apiPort)
			_, _ = io.WriteString(c, s)
			c.closed()
		}
	}},
	{name: "SNI: silence is closed, in time", more: twoClusters, proof: func(x *trial) {
		x.clusters()
		x.awaitName(apiPort, "api.blue.example.com", "blue")
		began := time.Now()
		x.dialFrom(outsider, apiPort).closed()
		x.within("closed", began, 4*time.Second)
	}},
	{name: "Host: either", more: twoClusters, proof: func(x *trial) {
		x.clusters()
		x.awaitHost("a.apps.red.example.com", "red")
		x.awaitHost("a.apps.blue.example.com", "blue")
		x.awaitHost("A.Apps.Blue.example.com:80", "blue")
	}},
	{name: "Host: the first request decides", more: twoClusters, proof: func(x *trial) {
		x.clusters()
		x.awaitHost("a.apps.red.example.com", "red")
		c := x.dial(webPort)
		for _, host := range []string{"a.apps.red.example.com", "a.apps.blue.example.com"} {
			c.send("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
			if who := c.web(); who != "red" {
				x.Errorf("%s: served by %q", host, who)
			}
		}
	}},
	{name: "Host: none, or nobody's, is closed", more: twoClusters, proof: func(x *trial) {
		x.clusters()
		x.awaitHost("a.apps.red.example.com", "red")
		for _, s := range []string{"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a.apps.green.example.com\r\n\r\n"} {
			c := x.dialFrom(outsider, webPort)
			c.send(s)
			if who := c.web(); who != "" {
				x.Errorf("%q is served by %q", s, who)
			}
		}
	}},
	{name: "Host: a request in pieces", more: twoClusters, proof: func(x *trial) {
		x.clusters()
		x.awaitHost("a.apps.blue.example.com", "blue")
		c := x.dial(webPort)
		_, err := io.WriteString(&pieces{Conn: c}, "GET / HTTP/1.1\r\nUser-Agent: x\r\nHost: a.apps.blue.example.com\r\n\r\n")
		x.must(err)
		if who := c.web(); who != "blue" {
			x.Errorf("served by %q", who)
		}
	}},
}

// clusters starts the node of each: it speaks TLS with the name of its cluster
// in the certificate, and the web, and answers checks.
func (x *trial) clusters() {
	x.Helper()
	l, err := net.Listen("tcp", x.at("127.0.0.200:80"))
	if err != nil {
		netns.SkipOrFail(x, "ports below 1024 need root: "+err.Error())
	}
	_ = l.Close()
	for i, name := range []string{"red", "blue"} {
		node := []string{"127.0.0.11", "127.0.0.12"}[i]
		cert := certificate(name, nil)
		for _, port := range []string{":6443", ":22623", ":443"} {
			x.health(node+port, &cert)
		}
		x.health(node+":1936", nil)
		x.health(node+":80", nil).name = name
	}
}

// tlsName is the cluster that a client reaches by a name; empty: none.
func (x *trial) tlsName(from, addr, name string) string {
	x.Helper()
	who, _ := speakTLS(x.dialFrom(from, addr), name)
	return who
}

// speakTLS gives the name in the certificate of the server.
func speakTLS(c net.Conn, name string) (string, error) {
	defer c.Close()
	t := tls.Client(c, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err := t.Handshake(); err != nil {
		return "", err
	}
	return t.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

// awaitName waits until a name leads to a cluster: its node is down until it was checked.
func (x *trial) awaitName(addr, name, want string) {
	x.Helper()
	who := ""
	defer func() {
		if x.Failed() {
			x.Logf("%s at %s is served by %q", name, addr, who)
		}
	}()
	x.await(name+" leads to "+want, func() bool {
		who = x.tlsName("", addr, name)
		return who == want
	})
}

func (x *trial) awaitHost(host, want string) {
	x.Helper()
	x.await(host+" leads to "+want, func() bool {
		c := x.dial(webPort)
		defer c.Close()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
		return c.web() == want
	})
}

// web reads an answer and gives the name of who gave it; empty: none came.
func (c *client) web() string {
	var head strings.Builder
	for {
		line := lineOf(c)
		if line == "" {
			return ""
		}
		if head.WriteString(line); line == "\r\n" {
			break
		}
	}
	_, after, _ := strings.Cut(head.String(), "Server: ")
	who, _, _ := strings.Cut(after, "\r\n")
	return who
}

// pieces sends a few bytes at a time.
type pieces struct{ net.Conn }

func (p *pieces) Write(b []byte) (int, error) {
	for i := 0; i < len(b); i += 3 {
		if _, err := p.Conn.Write(b[i:min(i+3, len(b))]); err != nil {
			return i, err
		}
		time.Sleep(2 * time.Millisecond)
	}
	return len(b), nil
}

// records cuts the first message of TLS in two: the second record begins within it (RFC 8446, section 5.1).
type records struct {
	net.Conn
	cut bool
}

func (r *records) Write(b []byte) (int, error) {
	if r.cut {
		return r.Conn.Write(b)
	}
	r.cut = true
	const first = 40
	body := b[5:]
	var out bytes.Buffer
	for _, part := range [][]byte{body[:first], body[first:]} {
		out.Write(b[:3])
		out.Write([]byte{byte(len(part) >> 8), byte(len(part))})
		out.Write(part)
	}
	_, err := r.Conn.Write(out.Bytes())
	return len(b), err
}
