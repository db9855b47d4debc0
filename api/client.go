package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"helperd/artifacts"
	"helperd/timeline"
)

// ErrUnreachable means that no daemon answers on the socket.
var ErrUnreachable = errors.New("the daemon is not reachable")

// ErrRefused means that the daemon answered with an error.
var ErrRefused = errors.New("refused")

// answerTime is how long the daemon may take to answer: longer than it waits for a reload.
const answerTime = 30 * time.Second

// Client talks to a daemon.
type Client struct {
	socket    string
	http      http.Client
	transport *http.Transport
}

// NewClient gives a client of the daemon that listens on the unix socket.
func NewClient(socket string) *Client {
	c := &Client{socket: socket, transport: &http.Transport{ResponseHeaderTimeout: answerTime}}
	c.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	c.http.Transport = c.transport
	return c
}

func (c *Client) do(ctx context.Context, method, path string) (io.ReadCloser, error) {
	return c.send(ctx, &c.http, method, path, nil)
}

// send asks with a body; nil: none.
func (c *Client) send(ctx context.Context, by *http.Client, method, path string, content io.Reader) (io.ReadCloser, error) {
	resp, err := c.answer(ctx, by, method, path, content)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// answer gives an answer that is no error. The caller closes its body.
func (c *Client) answer(ctx context.Context, by *http.Client, method, path string, content io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://helperd"+path, content)
	if err != nil {
		return nil, err
	}
	resp, err := by.Do(req)
	if err != nil {
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			return nil, fmt.Errorf("%w on %s: %w; is it running (systemctl status helperd), and may you read the socket?", ErrUnreachable, c.socket, dial.Err)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("ask the daemon on %s: %w", c.socket, err)
		}
		return nil, fmt.Errorf("%w on %s: it took the question and does not answer: %w; see journalctl -u helperd", ErrUnreachable, c.socket, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	var e Error
	if json.NewDecoder(resp.Body).Decode(&e) != nil || e.Error == "" {
		e.Error = resp.Status
	}
	return nil, fmt.Errorf("%w: %s", ErrRefused, e.Error)
}

// ask gets what is at path.
func ask[T any](ctx context.Context, c *Client, path string) (T, error) {
	return decoded[T](ctx, c, http.MethodGet, path)
}

// tell orders something, and gives what became of it.
func tell[T any](ctx context.Context, c *Client, path string) (T, error) {
	return decoded[T](ctx, c, http.MethodPost, path)
}

func decoded[T any](ctx context.Context, c *Client, method, path string) (v T, err error) {
	body, err := c.do(ctx, method, path)
	if err != nil {
		return v, err
	}
	defer func() { _ = body.Close() }()
	if err := json.NewDecoder(body).Decode(&v); err != nil {
		return v, fmt.Errorf("answer of the daemon to %s: %w", path, err)
	}
	return v, nil
}

// Status asks for the state of the daemon.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return ask[Status](ctx, c, "/v1/status")
}

// Nodes asks for all nodes in the order of the file.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) { return ask[[]Node](ctx, c, "/v1/nodes") }

// Leases asks for all leases.
func (c *Client) Leases(ctx context.Context) ([]Lease, error) {
	return ask[[]Lease](ctx, c, "/v1/leases")
}

// Balancer asks for the balancer's table.
func (c *Client) Balancer(ctx context.Context) (json.RawMessage, error) {
	return ask[json.RawMessage](ctx, c, "/v1/lb")
}

// OrderServers makes servers of the balancer ready, drain or maint: those that
// name stands for, which is BACKEND/SERVER, a node, or a server.
func (c *Client) OrderServers(ctx context.Context, name, order string) (Ordered, error) {
	return tell[Ordered](ctx, c, "/v1/lb/servers/"+url.PathEscape(name)+"/"+url.PathEscape(order))
}

// Artifacts asks for the files that nodes boot.
func (c *Client) Artifacts(ctx context.Context) ([]artifacts.Row, error) {
	return ask[[]artifacts.Row](ctx, c, "/v1/artifacts")
}

// Import sends a tar archive and gives what became of its files.
func (c *Client) Import(ctx context.Context, archive io.Reader) (v Import, err error) {
	patient := c.transport.Clone()
	patient.ResponseHeaderTimeout = 0 // the daemon brings gigabytes to a slow disk
	defer patient.CloseIdleConnections()
	body, err := c.send(ctx, &http.Client{Transport: patient}, http.MethodPost, "/v1/artifacts/import", archive)
	if err != nil {
		return v, err
	}
	defer func() { _ = body.Close() }()
	if err := json.NewDecoder(body).Decode(&v); err != nil {
		return v, fmt.Errorf("answer of the daemon to the import: %w", err)
	}
	return v, nil
}

// CA asks for the certificate that clients of the helper are to trust.
func (c *Client) CA(ctx context.Context) (CA, error) { return ask[CA](ctx, c, "/v1/ca") }

// Plan asks for the plan that is served, as text.
func (c *Client) Plan(ctx context.Context) (string, error) { return ask[string](ctx, c, "/v1/plan") }

// Events asks for the kept events after a sequence number.
func (c *Client) Events(ctx context.Context, since uint64) ([]timeline.Event, error) {
	return ask[[]timeline.Event](ctx, c, "/v1/events?since="+strconv.FormatUint(since, 10))
}

// Follow calls each with every event after since as it happens, until ctx ends or the daemon goes.
func (c *Client) Follow(ctx context.Context, since uint64, each func(timeline.Event) error) error {
	body, err := c.do(ctx, http.MethodGet, "/v1/events?follow=1&since="+strconv.FormatUint(since, 10))
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		var e timeline.Event
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("event of the daemon: %w", err)
		}
		if err := each(e); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (c *Client) post(ctx context.Context, path string) error {
	body, err := c.do(ctx, http.MethodPost, path)
	if err != nil {
		return err
	}
	return body.Close()
}

// Reload makes the daemon read its file now.
func (c *Client) Reload(ctx context.Context) error { return c.post(ctx, "/v1/reload") }

// Upgrade makes the daemon go on as the program at path, which is empty for the
// file that it was started from. It returns when that has begun, or with the reason why it has not.
func (c *Client) Upgrade(ctx context.Context, path string) error {
	return c.post(ctx, "/v1/upgrade?binary="+url.QueryEscape(path))
}

// Reinstall makes the next network boot of a node install it.
func (c *Client) Reinstall(ctx context.Context, node string) error {
	return c.post(ctx, "/v1/nodes/"+url.PathEscape(node)+"/reinstall")
}

// Arm opens the gate of a node's ignition file to its address, and gives when it closes.
func (c *Client) Arm(ctx context.Context, node string) (time.Time, error) {
	a, err := tell[Armed](ctx, c, "/v1/nodes/"+url.PathEscape(node)+"/arm")
	return a.Until, err
}

// ISO orders a node to be installed and gives the ISO that does it, and its size
// in bytes. The caller closes it. It ends with io.ErrUnexpectedEOF when the daemon goes.
func (c *Client) ISO(ctx context.Context, node string) (io.ReadCloser, int64, error) {
	resp, err := c.answer(ctx, &c.http, http.MethodGet, "/v1/iso/"+url.PathEscape(node), nil)
	if err != nil {
		return nil, 0, err
	}
	return resp.Body, resp.ContentLength, nil
}

// ISOURL orders a node to be installed and gives the URL of the ISO that does it, with its token.
func (c *Client) ISOURL(ctx context.Context, node string) (string, error) {
	return tell[string](ctx, c, "/v1/iso/"+url.PathEscape(node)+"/url")
}

// Panic makes the next packet of a service panic. The daemon refuses unless it was started with test hooks.
func (c *Client) Panic(ctx context.Context, service string) error {
	return c.post(ctx, "/v1/test/panic/"+url.PathEscape(service))
}
