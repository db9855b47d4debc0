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
)

// headerMax bounds what is read of an answer, in bytes.
const headerMax = 64 << 10

// Probe asks a server once. server is the address that it is balanced to. The
// text says what was seen, such as "HTTP 503". The connection is shown to
// hold, whose caller may close it to end the probe early.
func Probe(ctx context.Context, c plan.Check, path string, server netip.AddrPort, hold func(net.Conn)) (Verdict, string) {
	if c.Port != 0 {
		server = netip.AddrPortFrom(server.Addr(), uint16(c.Port))
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", server.String())
	if err != nil {
		return connectFailed(err, c.Timeout)
	}
	defer conn.Close()
	if c.Type != plan.CheckHTTP && c.Type != plan.CheckHTTPS {
		return OK, "connected"
	}
	hold(conn)
	if ctx.Err() != nil {
		return Unknown, ctx.Err().Error()
	}
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return Unknown, err.Error()
	}
	host := c.Host
	if host == "" {
		host = server.String()
	}
	if c.SendProxy != "" {
		if _, err := conn.Write(proxyproto.Header(c.SendProxy, netip.AddrPort{}, netip.AddrPort{})); err != nil {
			return Red, "PROXY header: " + answerFailed(err, c.Timeout)
		}
	}
	if c.Type == plan.CheckHTTPS {
		secure := tls.Client(conn, tlsConfig(c, server))
		if err := secure.Handshake(); err != nil {
			return Red, "TLS: " + answerFailed(err, c.Timeout)
		}
		conn = secure
	}
	status, err := ask(conn, host, path)
	want := c.Status
	if want == 0 {
		want = http.StatusOK
	}
	switch {
	case err != nil:
		return Red, "HTTP: " + answerFailed(err, c.Timeout)
	case status != want:
		return Red, fmt.Sprintf("HTTP %d", status)
	}
	return OK, fmt.Sprintf("HTTP %d", status)
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
func connectFailed(err error, timeout time.Duration) (Verdict, string) {
	if socket.Lacking(err) || errors.Is(err, context.Canceled) {
		return Unknown, err.Error()
	}
	var timed net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timed) && timed.Timeout():
		return Refused, fmt.Sprintf("no answer to a TCP connect within %s", timeout)
	case errors.Is(err, syscall.ENETUNREACH):
		// Our own network is gone, perhaps for a moment: open connections may well live on.
		return Red, "network is unreachable"
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused, "connection refused"
	}
	return Refused, last(err)
}

func answerFailed(err error, timeout time.Duration) string {
	var timed net.Error
	if errors.As(err, &timed) && timed.Timeout() {
		return fmt.Sprintf("no answer within %s", timeout)
	}
	return last(err)
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
