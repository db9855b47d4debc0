package runtimeapi

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"helperd/services/lb/table"
)

// server finds the server that is called BACKEND/SERVER, or says what is wrong.
func (c *client) find(args []string) (*table.Group, *table.Member) {
	backend, name, ok := "", "", false
	if len(args) > 0 {
		backend, name, ok = strings.Cut(args[0], "/")
	}
	if !ok {
		c.fail("Require 'backend/server'.")
		return nil, nil
	}
	t := c.server.balancer.Current()
	g, m := t.Find(backend, name)
	switch {
	case m != nil:
		return g, m
	case slices.ContainsFunc(t.Groups, func(g *table.Group) bool { return g.Name == backend }):
		c.fail("No such server.")
	default:
		c.fail("No such backend.")
	}
	return nil, nil
}

func enableServer(on bool) func(*client, []string) {
	return func(c *client, args []string) {
		g, m := c.find(args)
		if m == nil {
			return
		}
		state := table.Maint
		if on {
			state = table.Ready
			if m.Admin() == table.Drain {
				return // it is not in maintenance
			}
		}
		c.failed(c.server.balancer.SetAdmin(g.Name, m.Name, state))
	}
}

func (c *client) failed(err error) {
	if err != nil {
		c.fail(err.Error())
	}
}

const serverUsage = "usage: set server <backend>/<server> state | weight | health"

func setServer(c *client, args []string) {
	g, m := c.find(args)
	if m == nil {
		return
	}
	if len(args) < 2 {
		c.fail(serverUsage)
		return
	}
	switch args[1] {
	case "state":
		a, err := table.ParseAdmin(strings.Join(args[2:], " "))
		if err != nil {
			c.fail("'set server <srv> state' expects 'ready', 'drain' and 'maint'.")
			return
		}
		c.failed(c.server.balancer.SetAdmin(g.Name, m.Name, a))
	case "weight":
		c.weigh(g, m, args[2:])
	case "health":
		switch strings.Join(args[2:], " ") {
		case "up":
			c.failed(c.server.balancer.SetHealth(g.Name, m.Name, true))
		case "stopping", "down":
			c.failed(c.server.balancer.SetHealth(g.Name, m.Name, false))
		default:
			c.fail("'set server <srv> health' expects 'up', 'stopping', or 'down'.")
		}
	case "agent":
		c.fail("agent checks are not enabled on this server.")
	case "addr", "fqdn", "ssl", "check-addr", "check-port", "agent-addr", "agent-port", "agent-send":
		c.fail(fmt.Sprintf("'set server %s' %s", args[1], inTheFile))
	default:
		c.fail(serverUsage)
	}
}

func setWeight(c *client, args []string) {
	if g, m := c.find(args); m != nil {
		c.weigh(g, m, args[1:])
	}
}

// weigh gives a server a weight: a number, or a share of that of the file in percent.
func (c *client) weigh(g *table.Group, m *table.Member, args []string) {
	if len(args) == 0 {
		c.fail("Require <weight> or <weight%>.")
		return
	}
	text, relative := strings.CutSuffix(args[0], "%")
	n, err := strconv.Atoi(text)
	switch {
	case err != nil:
		c.fail("Empty weight string empty or preceded by garbage")
		return
	case relative && n < 0:
		c.fail("Relative weight must be positive.")
		return
	case relative:
		n = min(m.Config.Weight*min(n, 100*maxWeight)/100, maxWeight)
	case n < 0 || n > maxWeight:
		c.fail("Absolute weight can only be between 0 and 256 inclusive.")
		return
	}
	if n == m.Config.Weight {
		n = -1 // when the file changes it, the file is right
	}
	c.failed(c.server.balancer.SetWeight(g.Name, m.Name, n))
}

const maxWeight = 256

func getWeight(c *client, args []string) {
	if _, m := c.find(args); m != nil {
		c.printf("%d (initial %d)\n", m.Weight(), m.Config.Weight)
	}
}

func pauseFrontend(pause bool) func(*client, []string) {
	return func(c *client, args []string) {
		f := c.frontend(args)
		if f == nil {
			return
		}
		b := c.server.balancer
		switch {
		case b.Paused(f.Config.Name) == pause && pause:
			c.say(notice, "All sockets are already disabled.")
		case b.Paused(f.Config.Name) == pause:
			c.say(notice, "All sockets are already enabled.")
		case pause:
			b.Pause(f.Config.Name)
		default:
			b.Resume(f.Config.Name)
		}
	}
}

func (c *client) frontend(args []string) *table.Frontend {
	if len(args) == 0 {
		c.fail("A frontend name is expected.")
		return nil
	}
	for _, f := range c.server.balancer.Current().Frontends {
		if f.Config.Name == args[0] {
			return f
		}
	}
	c.fail("No such frontend.")
	return nil
}

func clearCounters(c *client, args []string) {
	c.server.stats.Clear(c.server.balancer.Current(), len(args) > 0 && args[0] == "all")
}

func shutdownSession(c *client, args []string) {
	if len(args) == 0 {
		c.fail("Session pointer expected (use 'show sess').")
		return
	}
	if id, ok := sessionID(args[0]); !ok || !c.server.balancer.Shutdown(id) {
		c.fail("No such session (use 'show sess').")
	}
}

func shutdownServer(c *client, args []string) {
	if _, m := c.find(args); m != nil {
		c.server.balancer.ShutdownServer(m.Server)
	}
}

// sessionID reads the number of a session, decimal or as 0x1a.
func sessionID(s string) (uint64, bool) {
	id, err := strconv.ParseUint(s, 0, 64)
	return id, err == nil
}
