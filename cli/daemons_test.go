package cli_test

import (
	"errors"
	"net/netip"
	"strings"
	"time"

	"helperd/api"
	"helperd/artifacts"
	"helperd/internal/socket"
	"helperd/nodes"
	"helperd/plan"
	"helperd/services"
	"helperd/services/lb"
	"helperd/services/lb/table"
	"helperd/state"
	"helperd/timeline"
)

// before is a time that is shown as hours and minutes ago, which stay the same while a test runs.
func before(hours, minutes int) time.Time {
	return time.Now().Add(-time.Duration(hours)*time.Hour - time.Duration(minutes)*time.Minute - 20*time.Second)
}

func bound(network, address string) socket.Status {
	return socket.Status{Network: network, Address: address, Bound: true}
}

func healthy() *daemon {
	addr := netip.MustParseAddr
	mac := plan.MAC{0x52, 0x54, 0, 0x60, 0x72, 0x67}
	return &daemon{
		status: api.Status{
			Version: "v1.2.3", PID: 4711, Started: before(50, 10), Generation: 7,
			Configuration: api.Configuration{
				Path: "/etc/helper.yaml", State: api.Applied, Applied: before(2, 5),
				Hash: "3f2a9c5d10b4aa00000000000000000000000000000000000000000000000000",
			},
			Services: []api.Service{
				{Name: "dns", Status: services.Status{State: services.Up, Listeners: []socket.Status{
					bound("udp", "192.168.67.2:53"), bound("tcp", "192.168.67.2:53"),
				}, Counters: map[string]uint64{"queries": 12}}},
				{Name: "http", Status: services.Status{State: services.Up, Listeners: []socket.Status{bound("tcp", "192.168.67.2:8080")}}},
				{Name: "tftp", Status: services.Status{State: services.Disabled}},
				{Name: "lb", Status: services.Status{State: services.Up, Listeners: []socket.Status{
					bound("tcp", "192.168.67.2:80"), bound("tcp", "192.168.67.2:443"), bound("tcp", "192.168.67.2:6443"), bound("tcp", "192.168.67.2:22623"),
				}, Notes: []string{"by order of the administrator: git/g1 drain; `helperd lb ready` takes an order back"}}},
				{Name: "dhcp", Status: services.Status{State: services.Up, Listeners: []socket.Status{
					{Network: "udp", Address: "0.0.0.0:67", Device: "eth0", Bound: true},
				}}},
			},
			Unserved: []api.Unserved{{Service: "nfs", Reason: "exports are checked and not served by this version"}},
		},
		nodes: []api.Node{
			{
				Name: "bootstrap", FQDN: "bootstrap.ocp4.example.com", Cluster: "ocp4", Role: plan.Bootstrap, MACs: []plan.MAC{mac}, IP: addr("192.168.67.10"),
				Story: timeline.Story{Node: "bootstrap.ocp4.example.com", Stage: timeline.Ready, Since: before(3, 1), Last: before(1, 2)},
				Boot:  nodes.State{Node: "bootstrap.ocp4.example.com", Phase: nodes.Installed},
			},
			{
				Name: "master-0", FQDN: "master-0.ocp4.example.com", Cluster: "ocp4", Role: plan.Master, IP: addr("192.168.67.11"),
				Story: timeline.Story{Stage: timeline.Rootfs, Since: before(1, 9), Last: before(1, 4), Progress: "rootfs 43 %", Hint: "rootfs 43 % stopped 1h4m20s ago"},
				Boot:  nodes.State{Phase: nodes.Installing},
			},
			{
				Name: "worker-0", FQDN: "worker-0.ocp4.example.com", Cluster: "ocp4", Role: plan.Worker, IP6: addr("fd00::21"),
				Story: timeline.Story{Stage: timeline.Off}, Boot: nodes.State{Phase: nodes.Armed},
			},
		},
		leases: []api.Lease{
			{Kind: "reservation", Node: "bootstrap.ocp4.example.com", Lease: state.Lease{Address: addr("192.168.67.10"), MAC: mac, Hostname: "bootstrap.ocp4.example.com", State: state.Bound}},
			{Kind: "pool", Lease: state.Lease{Address: addr("192.168.67.100"), MAC: plan.MAC{2, 0, 0, 0, 0, 1}, Hostname: "laptop\x1b[2J", Expires: time.Now().Add(3*time.Hour + 7*time.Minute + 40*time.Second), State: state.Bound}},
			{Kind: "pool", Lease: state.Lease{Address: addr("192.168.67.101"), MAC: plan.MAC{2, 0, 0, 0, 0, 2}, Expires: before(0, 5), State: state.Bound}},
			{Kind: "pool", Lease: state.Lease{Address: addr("192.168.67.102"), MAC: plan.MAC{2, 0, 0, 0, 0, 3}, Expires: time.Now().Add(50*time.Hour + 40*time.Minute), State: state.Declined}},
			{Kind: "pool", Lease: state.Lease{Address: addr("fd00:67::1:2"), Hostname: "six", Expires: time.Now().Add(3*time.Hour + 7*time.Minute + 40*time.Second), State: state.Bound}},
		},
		balance: balance(),
		files:   files(),
		events:  events(),
	}
}

func files() []artifacts.Row {
	row := func(part string, state artifacts.State, use artifacts.Use) artifacts.Row {
		return artifacts.Row{
			Name: "rhcos", Arch: "x86_64", Version: "3f2a9c5d", File: part, State: state, Use: use,
			SHA256: strings.Repeat("ab", 32), Source: "https://mirror.example.com/" + part,
		}
	}
	kernel := row("kernel", artifacts.Present, artifacts.Next)
	kernel.Size, kernel.Done = 15<<20, 15<<20
	rootfs := row("rootfs", artifacts.Downloading, artifacts.Next)
	rootfs.Size, rootfs.Done, rootfs.Rate, rootfs.Detail = 1<<30, 1<<29, 10<<20, "50 % of 1.0 GiB downloaded"
	initramfs := row("initramfs", artifacts.Failed, artifacts.Next)
	initramfs.Detail = "the server answers 404 Not Found\x1b[2J"
	old := row("kernel", artifacts.Present, artifacts.Boots)
	old.Version, old.Size, old.Done = "11111111", 14<<20, 14<<20
	return []artifacts.Row{
		{Name: "rhcos", File: "stream", State: artifacts.Present, SHA256: strings.Repeat("cd", 32), Source: "https://mirror.example.com/stream.json"},
		kernel, initramfs, rootfs, old, row("iso", artifacts.OnDemand, artifacts.Boots),
		{Name: "old", Arch: "x86_64", File: "kernel", State: artifacts.Missing, Use: artifacts.Boots, Source: "/srv/old/kernel", Detail: "put the file there; it is served at once"},
	}
}

func balance() lb.Overview {
	at := netip.MustParseAddrPort
	return lb.Overview{
		MaxConnections: 100000, Active: 3,
		Frontends: []lb.FrontendStatus{
			{Name: "api.ocp4.example.com", Listen: []netip.AddrPort{at("192.168.67.2:6443")}, Backend: "api.ocp4.example.com", Active: 3, Total: 1200},
			{Name: "git", Listen: []netip.AddrPort{at("192.168.67.2:9418"), at("[fd00::2]:9418")}, Backend: "git", Refused: 4, Stray: &lb.StrayStatus{
				At: before(2, 0), Client: netip.MustParseAddr("10.9.8.7"), Detail: "its address is not among those that may connect (192.168.67.0/24); if it should be, add it to allow",
			}},
			{Name: "api", Listen: []netip.AddrPort{at("192.168.67.3:6443")}, Routes: []string{"edge-api", "sno-api"}, Paused: true, Unnamed: 2, BadHead: 1, TooFast: 3},
		},
		Backends: []lb.BackendStatus{
			{Name: "api.ocp4.example.com", Servers: []lb.ServerStatus{
				{
					Name: "bootstrap", Address: at("192.168.67.10:6443"), State: "up", Weight: 1, Since: before(3, 0), Active: 3, Total: 1200, Failed: 1,
					Last: &table.Result{At: before(1, 0), OK: true, Detail: "HTTP 200"}, Downtime: 65 * time.Second,
					History: []table.Result{{OK: true}, {OK: true}, {}, {}, {OK: true}},
				},
				{Name: "master-0", Address: at("192.168.67.11:6443"), State: "dead", Weight: 1, Since: before(30, 0), Last: &table.Result{At: before(1, 0), Detail: "connection refused"}},
			}},
			{Name: "git", Servers: []lb.ServerStatus{
				{Name: "g1", Address: at("192.168.67.31:9418"), State: "unready", Weight: 1, Fallback: true, Since: before(2, 0)},
				{Name: "g2", Address: at("192.168.67.32:9418"), State: "starting", Weight: 1, Backup: true},
				{Name: "g3", Address: at("192.168.67.33:9418"), State: "up", Weight: 1, Admin: table.Drain, Suspended: true, Since: before(2, 0)},
				{Name: "g4", Address: at("192.168.67.34:9418"), State: "starting", Weight: 1, Admin: table.Maint, Since: before(2, 0)},
				{Name: "g5", Address: at("192.168.67.35:9418"), State: "up", Since: before(2, 0)},
			}},
		},
	}
}

// events are of 4 March 2026, one a second and a half.
func events() *timeline.Timeline {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	tl := timeline.New(func() time.Time { now = now.Add(1500 * time.Millisecond); return now })
	mac, ip, node := plan.MAC{0x52, 0x54, 0, 0x60, 0x72, 0x67}, netip.MustParseAddr("192.168.67.10"), "bootstrap.ocp4.example.com"
	for _, e := range []timeline.Event{
		{Kind: timeline.ConfigApplied, Detail: "7 nodes"},
		{Kind: timeline.DHCPAck, Node: node, MAC: mac, Addr: ip, Detail: "snponly.efi"},
		{Kind: timeline.TFTPGet, Node: node, Addr: ip, File: "snponly.efi", Bytes: 177664, Total: 177664},
		{Kind: timeline.HTTPGet, Node: node, Addr: ip, File: "/artifacts/rhcos/rootfs", Bytes: 462 << 20, Total: 1 << 30},
		{Kind: timeline.DHCPRefused, MAC: plan.MAC{2, 0, 0, 0, 0, 9}, Detail: "this MAC is of no node\x1b[31m"},
		{Kind: timeline.DHCPRefused, MAC: plan.MAC{2, 0, 0, 0, 0, 9}, Detail: "this MAC is of no node\x1b[31m"},
		{Kind: timeline.HTTPMiss, Addr: netip.MustParseAddr("192.168.67.77"), File: "/favicon.ico", Detail: "there is no such file"},
	} {
		tl.Emit(e)
	}
	return tl
}

// daemons are those of serveAll by name.
func daemons() map[string]*daemon {
	all := map[string]*daemon{"healthy": healthy(), "held": healthy(), "broken": healthy(), "fresh": {
		status: api.Status{Version: "v1.2.3", PID: 1, Started: before(1, 0), Configuration: api.Configuration{
			Path: "/etc/helper.yaml", State: api.Missing, Errors: []string{"open /etc/helper.yaml: no such file or directory"},
		}},
		nodes: []api.Node{}, leases: []api.Lease{}, events: timeline.New(time.Now),
	}}
	all["healthy"].ca = api.CA{
		Subject: "CN=helperd CA of helper", Fingerprint: "3f2a9c", NotAfter: time.Unix(2_100_000_000, 0).UTC(),
		PEM: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
	}
	all["fresh"].noCA = errors.New("there is no certificate authority yet; write `tls_port: 8443` under `http:`")
	held := all["held"].status.Services
	held[0].Listeners[1].Bound, held[0].Listeners[1].Holder = false, "systemd-resolved (pid 812)"
	held[0].State, held[0].Problem = services.Degraded, "tcp 192.168.67.2:53 is held by systemd-resolved (pid 812): stop it, the port is taken as soon as it is free"
	held[1].State = services.Degraded
	held[1].Problem = strings.Join([]string{
		"kernel of artifact rhcos: /srv/rhcos/kernel is missing: copy it there",
		"master.ign of cluster ocp4: /srv/ignition/ocp4/master.ign cannot be read: chmod it",
	}, "\n")
	held[3].LastError, held[3].Panics = "panic: runtime error: index out of range [3] with length 3", 2

	broken := &all["broken"].status.Configuration
	broken.State = api.Broken
	broken.Errors = []string{
		`/etc/helper.yaml:11:5: networks[0]: unknown key "gatway"; did you mean "gateway"?`,
		`/etc/helper.yaml:35:43: node "worker-1": MAC 52:54:00:f4:26:a1 is already used by node "worker-0" (line 34)`,
	}
	broken.Warnings = []string{"/etc/helper.yaml:10:5: warning: network 192.168.67.0/24: no gateway"}
	return all
}
