package runtimeapi

import (
	"math"
	"strconv"
)

// checking suspends the checks of a server, or takes them up again.
func checking(on bool) func(*client, []string) {
	return func(c *client, args []string) {
		g, m := c.find(args)
		switch {
		case m == nil:
		case g.Checked(m):
			c.failed(c.server.balancer.SetChecking(g.Name, m.Name, on))
		case on:
			c.fail("Health check was not configured on this server, cannot enable.")
		}
	}
}

// agent answers those who ask for agent checks.
func agent(on bool) func(*client, []string) {
	return func(c *client, args []string) {
		if _, m := c.find(args); m != nil && on {
			c.fail("Agent was not configured on this server, cannot enable.")
		}
	}
}

// maxLimit is the highest number of connections that HAProxy takes.
const maxLimit = math.MaxInt32

func limitServer(c *client, args []string) {
	g, m := c.find(args)
	if m == nil {
		return
	}
	if len(args) < 2 {
		c.fail("Require <maxconn>.")
		return
	}
	n, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		c.fail("maxconn string empty or preceded by garbage")
		return
	}
	if n < 0 || n > maxLimit {
		c.fail("Value out of range.")
		return
	}
	if n == int64(m.Config.MaxConnections) {
		n = 0 // that of the file
	}
	c.failed(c.server.balancer.SetLimit(g.Name, m.Name, n))
}

func limitFrontend(c *client, args []string) {
	f := c.frontend(args)
	if f == nil {
		return
	}
	n, ok := c.connections(args[1:], "Integer value expected.")
	if !ok {
		return
	}
	if n == int64(f.Config.MaxConnections) {
		n = 0
	}
	c.failed(c.server.balancer.SetFrontendLimit(f.Config.Name, n))
}

func limitAll(c *client, args []string) {
	n, ok := c.connections(args, "Expects an integer value.")
	if !ok {
		return
	}
	switch most := c.server.balancer.Totals().Limit; {
	case n > most:
		c.fail("Value out of range.")
		return
	case n == most:
		n = 0
	}
	c.failed(c.server.balancer.SetTotalLimit(n))
}

// connections reads a number of them, or says what is wrong.
func (c *client) connections(args []string, none string) (n int64, ok bool) {
	if len(args) == 0 {
		c.fail(none)
		return 0, false
	}
	n, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil || n < 0 || n > maxLimit {
		c.fail("Value out of range.")
		return 0, false
	}
	return n, true
}
