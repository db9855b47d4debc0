package check

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"helperd/internal/socket"
	"helperd/plan"
	"helperd/services/lb/proxyproto"
	"helperd/services/lb/table"
)

// headerMax bounds what is read of an answer, in bytes.
const headerMax = 64 << 10

// Probe asks a server once. server is the address that it is balanced to. The
// connection is shown to hold, whose caller may close it to end the probe early.
func Probe(ctx context.Context, c plan.Check, path string, server netip.AddrPort, hold func(net.Conn)) table.Result {
	r := table.Result{At: time.Now()}
	r.Outcome, r.Status, r.Detail = probe(ctx, c, path, server, hold)
	r.Took, r.OK = time.Since(r.At), verdictOf(r.Outcome) == OK
	return r
}

// probe gives the status of an HTTP answer, or 0, and a text for people, such as "HTTP 503".
func probe(ctx context.Context, c plan.Check, path string, server netip.AddrPort, hold func(net.Conn)) (o table.Outcome, status int, detail string) {
	if c.Port != 0 {
		server = netip.AddrPortFrom(server.Addr(), uint16(c.Port))
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", server.String())
	if err != nil {
		o, detail = connectFailed(err, c.Timeout)
		return o, 0, detail
	}
	defer conn.Close()
	if c.Type != plan.CheckHTTP && c.Type != plan.CheckHTTPS {
		return table.Connected, 0, "connected"
	}
	hold(conn)
	if ctx.Err() != nil {
		return table.Unmade, 0, ctx.Err().Error()
	}
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return table.Unmade, 0, err.Error()
	}
	host := c.Host
	if host == "" {
		host = server.String()
	}
	if c.SendProxy != "" {
		if _, err := conn.Write(proxyproto.Header(c.SendProxy, netip.AddrPort{}, netip.AddrPort{})); err != nil {
			o, detail = answerFailed(err, c.Timeout, table.AnswerLate, table.AnswerFailed)
			return o, 0, "PROXY header: " + detail
		}
	}
	if c.Type == plan.CheckHTTPS {
		secure := tls.Client(conn, tlsConfig(c, server))
		if err := secure.Handshake(); err != nil {
			o, detail = answerFailed(err, c.Timeout, table.TLSLate, table.TLSFailed)
			return o, 0, "TLS: " + detail
		}
		conn = secure
	}
	status, err = ask(conn, host, path)
	want := c.Status
	if want == 0 {
		want = http.StatusOK
	}
	switch {
	case err != nil:
		o, detail = answerFailed(err, c.Timeout, table.AnswerLate, table.AnswerFailed)
		return o, 0, "HTTP: " + detail
	case status != want:
		o = table.WrongStatus
	default:
		o = table.Answered
	}
	return o, status, fmt.Sprintf("HTTP %d", status)
}

// tlsConfig trusts anybody unless told otherwise: the cluster's certificate authority is its own.
func tlsConfig(c plan.Check, server netip.AddrPort) *tls.Config {
	name := c.Host
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	if name == "" {
		name = server.Addr().String()
	}
	return &tls.Config{ServerName: name, InsecureSkipVerify: !c.Verify, MinVersion: tls.VersionTLS12}
}

// ask sends a GET request and gives the status of the answer.
func ask(conn net.Conn, host, path string) (int, error) {
	if path == "" {
		path = "/"
	}
	_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: helperd\r\nAccept: */*\r\nConnection: close\r\n\r\n", path, host)
	if err != nil {
		return 0, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, headerMax)), nil)
	if err != nil {
		return 0, err
	}
	return answer.StatusCode, nil
}

// connectFailed tells a dead server from trouble of this machine.
func connectFailed(err error, timeout time.Duration) (table.Outcome, string) {
	switch {
	case socket.Lacking(err), errors.Is(err, context.Canceled):
		return table.Unmade, err.Error()
	case late(err):
		return table.ConnectLate, fmt.Sprintf("no answer to a TCP connect within %s", timeout)
	case errors.Is(err, syscall.ENETUNREACH):
		return table.Unreachable, "network is unreachable"
	case errors.Is(err, syscall.ECONNREFUSED):
		return table.ConnectFailed, "connection refused"
	}
	return table.ConnectFailed, last(err)
}

// answerFailed tells a server that is slow from one that answers what it should not.
func answerFailed(err error, timeout time.Duration, slow, wrong table.Outcome) (table.Outcome, string) {
	if late(err) {
		return slow, fmt.Sprintf("no answer within %s", timeout)
	}
	return wrong, last(err)
}

func late(err error) bool {
	var timed net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timed) && timed.Timeout()
}

// last is the innermost text of a chain of wrapped errors, whose outer ones repeat addresses.
func last(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return strings.TrimPrefix(err.Error(), "tls: ")
		}
		err = inner
	}
}
