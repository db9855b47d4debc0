package lb

import (
	"github.com/prometheus/client_golang/prometheus"

	"helperd/services/lb/table"
)

// collector gives the counters to Prometheus when it asks. Labels are names of the
// file: frontends, backends and servers.
type collector struct{ service *Service }

var (
	frontendConnections = desc("helperd_lb_frontend_connections_total", "Connections accepted.", "frontend")
	frontendActive      = desc("helperd_lb_frontend_active_connections", "Open connections.", "frontend")
	frontendRefused     = desc("helperd_lb_frontend_refused_total", "Connections of clients that are not allowed.", "frontend")
	frontendTooFast     = desc("helperd_lb_frontend_too_fast_total", "Connections of clients above their rate.", "frontend")
	frontendAtLimit     = desc("helperd_lb_frontend_at_limit_total", "Times that accepting stopped at the limit of the frontend.", "frontend")
	frontendUnnamed     = desc("helperd_lb_frontend_unnamed_total", "Connections closed because no cluster has the name they ask for and they come from no node.", "frontend")
	frontendBadHead     = desc("helperd_lb_frontend_bad_proxy_headers_total", "Connections closed because they do not begin with the PROXY protocol as they must.", "frontend")
	backendRetries      = desc("helperd_lb_backend_retries_total", "Tries after a failed one, at the same server or another.", "backend")
	backendNoServer     = desc("helperd_lb_backend_no_server_total", "Connections closed because no server took them.", "backend")
	backendQueued       = desc("helperd_lb_backend_queued_connections", "Connections that wait for a server with room.", "backend")
	serverUp            = desc("helperd_lb_server_up", "1 while the server takes connections by its check.", "backend", "server")
	backendDowntime     = desc("helperd_lb_backend_down_seconds_total", "Time that no server took connections.", "backend")
	backendFalls        = desc("helperd_lb_backend_falls_total", "Times that the last server was lost.", "backend")
	serverAdmin         = desc("helperd_lb_server_admin", "1 for what the administrator wants of the server: ready, drain or maint.", "backend", "server", "admin")
	serverWeight        = desc("helperd_lb_server_weight", "Weight in force.", "backend", "server")
	serverChecksFailed  = desc("helperd_lb_server_checks_failed_total", "Checks that were not answered well.", "backend", "server")
	serverCheckSeconds  = desc("helperd_lb_server_check_duration_seconds", "Time that the last check took.", "backend", "server")
	serverFalls         = desc("helperd_lb_server_falls_total", "Times that the server was up and is not any more.", "backend", "server")
	serverDowntime      = desc("helperd_lb_server_down_seconds_total", "Time that the server was down or in maintenance.", "backend", "server")
	serverActive        = desc("helperd_lb_server_active_connections", "Open connections.", "backend", "server")
	serverConnections   = desc("helperd_lb_server_connections_total", "Connections made.", "backend", "server")
	serverFailed        = desc("helperd_lb_server_failed_total", "Connections that could not be made, after all tries.", "backend", "server")
	serverRedispatches  = desc("helperd_lb_server_redispatches_total", "Connections that went to another server because this one failed.", "backend", "server")
	serverIn            = desc("helperd_lb_server_received_bytes_total", "Bytes from clients.", "backend", "server")
	serverOut           = desc("helperd_lb_server_sent_bytes_total", "Bytes to clients.", "backend", "server")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe names the metrics.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		frontendConnections, frontendActive, frontendRefused, frontendTooFast, frontendAtLimit, frontendUnnamed, frontendBadHead, backendRetries, backendNoServer,
		backendDowntime, backendFalls, backendQueued, serverAdmin, serverWeight, serverChecksFailed, serverCheckSeconds, serverFalls, serverDowntime,
		serverUp, serverActive, serverConnections, serverFailed, serverRedispatches, serverIn, serverOut,
	} {
		ch <- d
	}
}

// Collect gives their values.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	value := func(kind prometheus.ValueType, d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		value(prometheus.CounterValue, d, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v int64, labels ...string) {
		value(prometheus.GaugeValue, d, float64(v), labels...)
	}
	o := c.service.Table()
	for _, f := range o.Frontends {
		count(frontendConnections, f.Total, f.Name)
		gauge(frontendActive, f.Active, f.Name)
		count(frontendRefused, f.Refused, f.Name)
		count(frontendTooFast, f.TooFast, f.Name)
		count(frontendAtLimit, f.AtLimit, f.Name)
		count(frontendUnnamed, f.Unnamed, f.Name)
		count(frontendBadHead, f.BadHead, f.Name)
	}
	for _, b := range o.Backends {
		count(backendRetries, b.Retries, b.Name)
		count(backendNoServer, b.NoServer, b.Name)
		gauge(backendQueued, b.Queued, b.Name)
		count(backendFalls, b.Falls, b.Name)
		value(prometheus.CounterValue, backendDowntime, b.Downtime.Seconds(), b.Name)
		for i := range b.Servers {
			s := &b.Servers[i]
			up := int64(0)
			if s.State == table.Up.String() {
				up = 1
			}
			gauge(serverUp, up, b.Name, s.Name)
			gauge(serverAdmin, 1, b.Name, s.Name, s.Admin.String())
			gauge(serverWeight, int64(s.Weight), b.Name, s.Name)
			count(serverChecksFailed, s.ChecksFailed, b.Name, s.Name)
			if s.Last != nil {
				value(prometheus.GaugeValue, serverCheckSeconds, s.Last.Took.Seconds(), b.Name, s.Name)
			}
			count(serverFalls, s.Falls, b.Name, s.Name)
			value(prometheus.CounterValue, serverDowntime, s.Downtime.Seconds(), b.Name, s.Name)
			gauge(serverActive, s.Active, b.Name, s.Name)
			count(serverConnections, s.Total, b.Name, s.Name)
			count(serverFailed, s.Failed, b.Name, s.Name)
			count(serverRedispatches, s.Redispatches, b.Name, s.Name)
			count(serverIn, s.BytesIn, b.Name, s.Name)
			count(serverOut, s.BytesOut, b.Name, s.Name)
		}
	}
}
