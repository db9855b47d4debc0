package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	connectTime  = 30 * time.Second
	mostRedirect = 10
)

// A Client asks web servers.
type Client struct {
	HTTP  *http.Client
	agent string
	stall time.Duration
}

// NewClient gives a client that obeys HTTP_PROXY, HTTPS_PROXY and NO_PROXY,
// trusts the certificates of the system, and has no limit for a whole download.
// It gives up when nothing comes for stall, or for header before the first answer.
func NewClient(agent string, stall, header time.Duration) *Client {
	dial := net.Dialer{Timeout: connectTime}
	return &Client{agent: agent, stall: stall, HTTP: &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment,
			// A dialler of our own keeps it at HTTP/1.1, where silence on the connection is silence of the download.
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := dial.DialContext(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				return &impatient{c, stall}, nil
			},
			TLSHandshakeTimeout:   connectTime,
			ResponseHeaderTimeout: header,
			IdleConnTimeout:       stall,
			DisableCompression:    true, // the checksum is of the bytes as they are stored
		},
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) > mostRedirect {
				return fmt.Errorf("more than %d redirects", mostRedirect)
			}
			return nil
		},
	}}
}

// impatient is a connection that breaks when the other side is silent for too long.
type impatient struct {
	net.Conn
	stall time.Duration
}

func (c *impatient) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *impatient) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Get asks for a URL with the headers; anything but a 2xx or one of also is a failure.
func (c *Client) Get(ctx context.Context, address string, header http.Header, also ...int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, &Failure{Kind: Standing, Slow: true, Text: "the url cannot be asked for; correct it in the configuration"}
	}
	if header != nil {
		req.Header = header
	}
	req.Header.Set("User-Agent", c.agent)
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, c.Broken(ctx, err)
	}
	for _, code := range append(also, http.StatusOK, http.StatusPartialContent) {
		if resp.StatusCode == code {
			return resp, nil
		}
	}
	_ = resp.Body.Close()
	return nil, refusal(resp)
}

// refusal says what a server's answer means.
func refusal(resp *http.Response) *Failure {
	f := &Failure{Kind: Passing, Text: "the server answers " + strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode)}
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		f.Kind, f.Slow = Standing, true
		f.Text += ": it does not have the file; correct the url in the configuration, or import the file"
	case http.StatusUnauthorized, http.StatusForbidden:
		f.Kind, f.Slow = Standing, true
		f.Text += ": it does not give the file away; correct the url in the configuration, or import the file"
	case http.StatusProxyAuthRequired:
		f.Kind, f.Slow = Standing, true
		f.Text += ": write user and password of the proxy into HTTPS_PROXY"
	}
	if after, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && after > 0 {
		f.After = time.Duration(min(after, 3600)) * time.Second
	}
	return f
}

// Broken says why no answer came, or why it broke off.
func (c *Client) Broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &Failure{Kind: Passing, Text: fmt.Sprintf("nothing came for %s", c.stall)}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
		return &Failure{Kind: Passing, Text: "the server or the network broke the connection off; what is here stays, and the rest is asked for"}
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the URL
	}
	if strings.HasPrefix(err.Error(), "invalid proxy address") { // what is wrong with it may be a part of the password
		return &Failure{Kind: Passing, Text: "the address of the proxy in HTTP_PROXY or HTTPS_PROXY is no URL; correct it and restart helperd"}
	}
	return &Failure{Kind: Passing, Text: ownPort.ReplaceAllString(secret.ReplaceAllString(err.Error(), "//"), "")}
}

// ownPort is this side of a connection. It is another at each attempt, and the same
// failure again would be news.
var ownPort = regexp.MustCompile(`\S+->`)

// secret is user and password of a URL. A password may have any letter.
var secret = regexp.MustCompile(`//[^\s"]*@`)
