package ghost

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// User agents of the stages of a boot.
const (
	agentFirmware  = "UefiHttpBoot/1.0"
	agentIPXE      = "iPXE/1.21.1+"
	agentGRUB      = "GRUB 2.12"
	agentCurl      = "curl/7.76.1" // the live system's rootfs fetcher
	agentInstaller = "coreos-installer/0.23.0"
	agentIgnition  = "Ignition/2.20.0"
)

// A statusError is an HTTP answer that is not 200.
type statusError struct {
	url  string // without its query, which may hold a token
	code int
	text string // begin of the body, where servers say why
}

func newStatusError(url string, code int, text string) *statusError {
	url, _, _ = strings.Cut(url, "?")
	return &statusError{url, code, text}
}

func (e *statusError) Error() string {
	if e.text == "" {
		return fmt.Sprintf("%s: HTTP %d %s", e.url, e.code, http.StatusText(e.code))
	}
	return fmt.Sprintf("%s: HTTP %d: %s", e.url, e.code, e.text)
}

// client gives an HTTP client in the node's namespace that asks the node's own
// DNS server for names. What ghosts serve is signed by nobody, so certificates
// are not verified.
func (r *run) client() *http.Client {
	return &http.Client{
		// Each connection is new: the balancer chooses a server for a connection, not for a request.
		Transport: &http.Transport{
			DisableCompression: true, DisableKeepAlives: true, ResponseHeaderTimeout: 10 * time.Second,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12},
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				host, port, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				if _, err := netip.ParseAddr(host); err != nil {
					addrs, err := r.lookup(ctx, host)
					if err != nil {
						return nil, err
					}
					host = addrs[0].String()
				}
				return r.link.Dial(ctx, network, net.JoinHostPort(host, port))
			},
		},
	}
}

// body is what came from a GET.
type body struct {
	bytes  int64
	text   []byte // the first 16 MiB, when asked for
	server string // X-Ghost: which ghost answered
}

// get reads url whole. Text keeps the body; else it is counted and thrown away.
func (r *run) get(ctx context.Context, agent, url string, text bool) (body, error) {
	res, err := r.do(ctx, http.MethodGet, agent, url)
	if err != nil {
		return body{}, err
	}
	defer func() { _ = res.Body.Close() }()
	b := body{server: res.Header.Get(servedBy)}
	c := r.check(url, io.Discard)
	if text || res.StatusCode != http.StatusOK {
		b.text, err = io.ReadAll(io.TeeReader(io.LimitReader(res.Body, 16<<20), c))
		b.bytes = int64(len(b.text))
	} else {
		b.bytes, err = io.Copy(c, res.Body)
	}
	switch {
	case res.StatusCode != http.StatusOK:
		return b, newStatusError(url, res.StatusCode, firstLine(b.text))
	case err != nil:
		return b, fmt.Errorf("%s broke off after %d bytes: %w", url, b.bytes, err)
	case res.ContentLength >= 0 && res.ContentLength != b.bytes:
		return b, fmt.Errorf("%s: %d of %d bytes came", url, b.bytes, res.ContentLength)
	}
	return b, c.done()
}

// head asks for the size of url in bytes; -1: the server does not say.
func (r *run) head(ctx context.Context, agent, url string) (int64, error) {
	res, err := r.do(ctx, http.MethodHead, agent, url)
	if err != nil {
		return 0, err
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return 0, newStatusError("HEAD "+url, res.StatusCode, "")
	}
	return res.ContentLength, nil
}

func (r *run) do(ctx context.Context, method, agent, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", agent)
	return r.client().Do(req)
}

func firstLine(b []byte) string {
	const most = 300
	for i, c := range b {
		if c == '\n' || i == most {
			return string(b[:i])
		}
	}
	return string(b)
}

// again says whether coreos-installer and Ignition would try once more after
// err: they do for no connection, 408, 429 and 5xx, and give up on other 4xx.
func again(err error) bool {
	var s *statusError
	return !errors.As(err, &s) || s.code == http.StatusRequestTimeout || s.code == http.StatusTooManyRequests || s.code >= 500
}

// retry calls fn until it succeeds, the error is one to give up on, or ctx
// ends. What keeps the node waiting is reported: that there is no answer once,
// and every new answer.
func (r *run) retry(ctx context.Context, stage Stage, pause time.Duration, fn func() error) error {
	said := ""
	for {
		err := fn()
		if err == nil || !again(err) {
			return err
		}
		why := "no answer"
		var status *statusError
		if errors.As(err, &status) {
			why = err.Error()
		}
		if said != why && ctx.Err() == nil {
			said = why
			r.report(Step{Node: r.Name, Stage: stage, Detail: "waits: " + err.Error(), At: time.Now()})
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; gave up: %w", err, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}
