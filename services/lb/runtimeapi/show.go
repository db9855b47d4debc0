package runtimeapi

import (
	"fmt"
	"runtime"
	"time"

	"helperd/services/lb/engine"
	"helperd/services/lb/stats"
	"helperd/services/lb/table"
)

func showVersion(c *client, _ []string) { c.say(info, version) }

func showLevel(c *client, _ []string) { c.say(info, c.level) }

func showSockets(c *client, _ []string) {
	c.printf("# socket lvl processes\nunix@%s admin all\n", c.server.Path())
}

func showBackend(c *client, _ []string) {
	c.printf("# name\n")
	for _, g := range c.server.balancer.Current().Groups {
		c.printf("%s\n", g.Name)
	}
}

// groups are those that are asked for: all, or the one that is named.
func (c *client) groups(args []string) ([]*table.Group, bool) {
	groups := c.server.balancer.Current().Groups
	if len(args) == 0 {
		return groups, true
	}
	for _, g := range groups {
		if g.Name == args[0] {
			return []*table.Group{g}, true
		}
	}
	c.fail("Can't find backend.")
	return nil, false
}

const stateHeader = "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change " +
	"srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord " +
	"srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port"

// Parts of the state of a check, and its results.
const (
	checkConfigured, checkEnabled, checkPaused = 2, 4, 8
	resultUnknown, resultFailed, resultPassed  = 0, 2, 3
)

// showServersState answers with version 1 of HAProxy's server state format.
func showServersState(c *client, args []string) {
	groups, ok := c.groups(args)
	if !ok {
		return
	}
	c.printf("1\n%s\n", stateHeader)
	now := time.Now()
	for _, g := range groups {
		for i := range g.Members {
			m := &g.Members[i]
			be, srv := c.server.stats.Numbers(g, m)
			k := stats.ConditionOf(g, m)
			_, since := m.State()
			_, slow := g.Throttle(m, now)
			status, result, check := stats.NotChecked, resultUnknown, 0
			if last := m.Last(); k.Checked {
				status = stats.StatusOf(last)
				check = checkConfigured | checkEnabled
				if k.Maint {
					check |= checkPaused
				}
				switch {
				case last == nil, last.Outcome == table.Unmade:
				case last.OK:
					result = resultPassed
				default:
					result = resultFailed
				}
			}
			c.printf("%d %s %d %s %s %d %d %d %d %d %d %d %d %d 0 0 0 - %d - 0 %d - - 0\n",
				be, g.Name, srv, m.Name, m.Address.Addr(), k.Operational(slow), k.Admin(), m.Weight(), m.Config.Weight, max(now.Sub(since), 0)/time.Second,
				status.Number, result, k.Health, check, m.Address.Port(), g.Config.Check.Port)
		}
	}
}

func showServersConn(c *client, args []string) {
	groups, ok := c.groups(args)
	if !ok {
		return
	}
	workers := c.server.balancer.Totals().Workers
	c.printf("# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb safe_nb idle_lim idle_cur idle_per_thr[%d]\n", workers)
	for _, g := range groups {
		for i := range g.Members {
			m := &g.Members[i]
			be, srv := c.server.stats.Numbers(g, m)
			c.printf("%s/%s %d/%d %s %d - 0 %d %d 0 0 0 -1 0", g.Name, m.Name, be, srv, m.Address.Addr(), m.Address.Port(), max(m.Active.Load(), 0), m.MaxActive.Load())
			for range workers {
				c.printf(" 0")
			}
			c.printf("\n")
		}
	}
}

// showSessions answers "show sess [ID|all]".
func showSessions(c *client, args []string) {
	sessions := c.server.balancer.Sessions()
	if len(args) == 0 {
		for i := range sessions {
			c.sessionLine(&sessions[i])
		}
		return
	}
	id, one := sessionID(args[0])
	found := false
	for i := range sessions {
		if !one || sessions[i].ID == id {
			found = true
			c.sessionDetail(&sessions[i], time.Now())
		}
	}
	if one && !found {
		c.printf("Session not found.\n")
	}
}

func protocol(s *engine.Session) string {
	if s.Client.Addr().Unmap().Is4() {
		return "tcpv4"
	}
	return "tcpv6"
}

func or(s, none string) string {
	if s == "" {
		return none
	}
	return s
}

// sessionLine has HAProxy's fields; those of its own insides are empty or 0.
func (c *client) sessionLine(s *engine.Session) {
	c.printf("0x%x: proto=%s src=%s fe=%s be=%s srv=%s ts=00 epoch=0x0 age=%s calls=0 rate=0 cpu=0 lat=0 "+
		"rq[f=0h,i=0,an=00h,rx=,wx=,ax=] rp[f=0h,i=0,an=00h,rx=,wx=,ax=] scf=[8,0h,fd=-1] scb=[8,1h,fd=-1] exp= rc=0 c_exp= phase=%s idle=%s in=%d out=%d\n",
		s.ID, protocol(s), s.Client, s.Frontend, or(s.Backend, "<NONE>"), or(s.Server, "<none>"), short(s.Age), s.Phase, short(s.Idle), s.In, s.Out)
}

func (c *client) sessionDetail(s *engine.Session, now time.Time) {
	c.printf("0x%x: [%s] id=%d proto=%s source=%s\n", s.ID, now.Add(-s.Age).Format("02/Jan/2006:15:04:05.000000"), s.ID, protocol(s), s.Client)
	c.printf("  flags=0x0, phase=%s age=%s idle=%s\n", s.Phase, short(s.Age), short(s.Idle))
	c.printf("  frontend=%s (id=%d mode=tcp), listener=? (id=1) addr=%s\n", s.Frontend, c.server.stats.Number(stats.Frontend, s.Frontend), s.Local)
	if s.Backend == "" {
		c.printf("  backend=<NONE> (id=-1 mode=-)\n")
	} else {
		c.printf("  backend=%s (id=%d mode=tcp)\n", s.Backend, c.server.stats.Number(stats.Backend, s.Backend))
	}
	if s.Server == "" {
		c.printf("  server=<NONE> (id=-1)\n")
	} else {
		c.printf("  server=%s addr=%s\n", s.Server, s.ServerAddr)
	}
	c.printf("  req: total=%d\n  res: total=%d\n", s.In, s.Out)
}

// short is a time in its two largest units, as 1h2m.
func short(d time.Duration) string {
	n := int(max(d, 0) / time.Second)
	switch {
	case n >= 86400:
		return fmt.Sprintf("%dd%dh", n/86400, n/3600%24)
	case n >= 3600:
		return fmt.Sprintf("%dh%dm", n/3600, n/60%60)
	case n >= 60:
		return fmt.Sprintf("%dm%ds", n/60, n%60)
	}
	return fmt.Sprintf("%ds", n)
}

func showErrors(c *client, _ []string) {
	c.printf("Total events captured on [%s] : 0\n", time.Now().Format("02/Jan/2006:15:04:05.000"))
}

func showEvents(c *client, args []string) {
	if len(args) > 0 {
		c.fail("No such event sink")
		return
	}
	c.printf("Supported events sinks are listed below. Add -w(wait), -n(new). Any key to stop\n")
}

// showTable lists the stick tables: none.
func showTable(c *client, args []string) {
	if len(args) > 0 {
		c.fail("No such table")
	}
}

func showPools(c *client, _ []string) {
	whole, used := memory()
	c.printf("Dumping pools usage.\nTotal: 0 pools, %d bytes allocated, %d used (~0 by thread caches).\n", whole, used)
}

func showActivity(c *client, _ []string) {
	total, now := c.server.balancer.Totals(), time.Now()
	c.printf("thread_id: 1 (1..%d)\ndate_now: %d.%06d\nctxsw: 0\ntasksw: 0\n", total.Workers, now.Unix(), now.Nanosecond()/1000)
	c.printf("tasks: %d\naccepted: %d\nactive: %d\n", runtime.NumGoroutine(), total.Connections, total.Active)
}
