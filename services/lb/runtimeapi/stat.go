package runtimeapi

import (
	"strconv"
	"time"

	"helperd/services/lb/stats"
)

// showStat answers "show stat [IID|PROXY TYPE SID] [json|typed|desc] [up|no-maint]".
func showStat(c *client, args []string) {
	var q stats.Query
	if len(args) >= 3 {
		q.Proxy = args[0]
		q.Kinds, _ = strconv.Atoi(args[1])
		q.SID, _ = strconv.Atoi(args[2])
		args = args[3:]
	}
	write := stats.WriteCSV
	for _, a := range args {
		switch a {
		case "json":
			write = stats.WriteJSON
		case "typed":
			write = stats.WriteTyped
		case "up":
			q.Up = true
		case "no-maint":
			q.NoMaint = true
		}
	}
	rows, err := q.Select(c.server.stats.Rows(c.server.balancer.Current(), time.Now()))
	if err != nil {
		c.fail("No such proxy.")
		return
	}
	write(c.out, rows)
}
