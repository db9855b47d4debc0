package runtimeapi

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"helperd/services/lb/stats"
)

// What we say that we are: clients choose by it what they may ask. The dash is what
// client-native looks for in a version.
const (
	name        = "HAProxy"
	version     = "2.6.12-helperd"
	releaseDate = "2023/03/28" // of the HAProxy whose runtime API this is
	build       = "helperd with the runtime API of HAProxy 2.6"
)

// infoLayout has the fields of "show info" of HAProxy 2.6: number, tag, kind, name.
const infoLayout = `
0 POS str Name
1 POS str Version
2 POS str Release_date
3 CGS u32 Nbthread
4 CGS u32 Nbproc
5 KGP u32 Process_num
6 SGP u32 Pid
7 MDP str Uptime
8 MDP u32 Uptime_sec
9 CLP u32 Memmax_MB
10 MGP u32 PoolAlloc_MB
11 MGP u32 PoolUsed_MB
12 MCP u32 PoolFailed
13 CLP u32 Ulimit-n
14 CLP u32 Maxsock
15 CLP u32 Maxconn
16 CLP u32 Hard_maxconn
17 MGP u32 CurrConns
18 MCP u32 CumConns
19 MCP u32 CumReq
20 MMP u32 MaxSslConns
21 MGP u32 CurrSslConns
22 MCP u32 CumSslConns
23 CLP u32 Maxpipes
24 MGP u32 PipesUsed
25 MGP u32 PipesFree
26 MRP u32 ConnRate
27 CLP u32 ConnRateLimit
28 MMP u32 MaxConnRate
29 MRP u32 SessRate
30 CLP u32 SessRateLimit
31 MRP u32 MaxSessRate
32 MRP u32 SslRate
33 CLP u32 SslRateLimit
34 MMP u32 MaxSslRate
35 MGP u32 SslFrontendKeyRate
36 MMP u32 SslFrontendMaxKeyRate
37 MGP u32 SslFrontendSessionReuse_pct
38 MRP u32 SslBackendKeyRate
39 MMP u32 SslBackendMaxKeyRate
40 MCP u32 SslCacheLookups
41 MCP u32 SslCacheMisses
42 MRP u32 CompressBpsIn
43 MRP u32 CompressBpsOut
44 CLP u32 CompressBpsRateLim
47 MGP u32 Tasks
48 MGP u32 Run_queue
49 MaP u32 Idle_pct
50 COS str node
52 MGP u32 Stopping
53 MGP u32 Jobs
54 MGP u32 Unstoppable Jobs
55 MGP u32 Listeners
56 MGP u32 ActivePeers
57 MGP u32 ConnectedPeers
58 MGP u32 DroppedLogs
59 MGP u32 BusyPolling
60 MGP u32 FailedResolutions
61 MGP u64 TotalBytesOut
62 MGP u64 TotalSplicdedBytesOut
63 MRP u64 BytesOutRate
64 MGP u32 DebugCommandsIssued
65 MCP u32 CumRecvLogs
66 POS str Build info
67 CLP u32 Memmax_bytes
68 MGP u64 PoolAlloc_bytes
69 MGP u64 PoolUsed_bytes
70 MDP u32 Start_time_sec
71 SGP str Tainted
`

type infoField struct {
	number int
	tag    string
	kind   string
	name   string
}

var infoFields = parseInfoLayout()

func parseInfoLayout() []infoField {
	var fields []infoField
	for line := range strings.Lines(strings.TrimSpace(infoLayout)) {
		f := strings.SplitN(strings.TrimSpace(line), " ", 4)
		n, _ := strconv.Atoi(f[0])
		fields = append(fields, infoField{n, f[1], f[2], f[3]})
	}
	return fields
}

// info gives the values of "show info" by name; those that are not there are 0.
func (s *Server) info() map[string]string {
	total, t, now := s.balancer.Totals(), s.balancer.Current(), time.Now()
	up := now.Sub(total.Started)
	host, _ := os.Hostname()
	var files unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &files)
	var rate, most uint64
	listeners := 0
	for _, f := range t.Frontends {
		rate += f.Counters.Rate.Rate(now.Unix())
		most = max(most, f.Counters.Rate.Max())
		listeners += len(f.Config.Listen)
	}
	most = max(most, rate)
	idle, bytesRate := s.usage.since(now, total)
	whole, used := memory()
	v := map[string]string{
		"Name": name, "Version": version, "Release_date": releaseDate, "Build info": build, "node": host,
		"Uptime": uptime(up),
	}
	for field, n := range map[string]int64{
		"Nbthread": int64(total.Workers), "Nbproc": 1, "Process_num": 1, "Pid": int64(os.Getpid()), "Uptime_sec": int64(up / time.Second),
		"PoolAlloc_MB": whole >> 20, "PoolUsed_MB": used >> 20, "PoolAlloc_bytes": whole, "PoolUsed_bytes": used,
		"Ulimit-n": int64(min(files.Cur, 1<<31)), "Maxsock": int64(min(files.Cur, 1<<31)), "Maxconn": stats.Limit(t), "Hard_maxconn": min(total.Limit, math.MaxUint32),
		"CurrConns": max(total.Active, 0), "CumConns": int64(total.Connections), "CumReq": int64(total.Connections),
		"ConnRate": int64(rate), "MaxConnRate": int64(most), "SessRate": int64(rate), "MaxSessRate": int64(most),
		"Tasks": int64(runtime.NumGoroutine()), "Idle_pct": int64(idle), "Jobs": max(total.Active, 0) + int64(listeners), "Listeners": int64(listeners),
		"TotalBytesOut": int64(total.BytesOut), "BytesOutRate": int64(bytesRate), "Start_time_sec": total.Started.Unix(),
	} {
		v[field] = strconv.FormatInt(n, 10)
	}
	return v
}

// uptime is as 0d 0h01m02s.
func uptime(d time.Duration) string {
	n := int(d / time.Second)
	return fmt.Sprintf("%dd %dh%02dm%02ds", n/86400, n/3600%24, n/60%60, n%60)
}

// memory is what the Go runtime has of the system, and what of it is in use.
func memory() (whole, used int64) {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64()), int64(samples[1].Value.Uint64())
}

// usage remembers what was used when it was asked before.
type usage struct {
	at    time.Time
	cpu   time.Duration
	bytes uint64
}

type usageMeter struct {
	mu         sync.Mutex
	usage      usage
	idle, rate uint64
}

// since gives the idle share of all processors in percent and the bytes a second to
// clients, both of the time since the call before, or the start.
func (u *usageMeter) since(now time.Time, t Totals) (idle, rate uint64) {
	var r unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &r)
	next := usage{now, time.Duration(r.Utime.Nano() + r.Stime.Nano()), t.BytesOut}
	u.mu.Lock()
	defer u.mu.Unlock()
	last := u.usage
	if last.at.IsZero() {
		last.at = t.Started
	}
	passed := next.at.Sub(last.at)
	if passed < time.Second { // too short to say anything: as before
		return u.idle, u.rate
	}
	busy := float64(next.cpu-last.cpu) / float64(passed) / float64(runtime.NumCPU())
	u.usage, u.idle = next, uint64(100*max(1-busy, 0))
	u.rate = uint64(float64(next.bytes-last.bytes) / passed.Seconds())
	return u.idle, u.rate
}

// showInfo answers "show info [typed|json|desc]".
func showInfo(c *client, args []string) {
	values := c.server.info()
	format := ""
	for _, a := range args {
		if a == "typed" || a == "json" {
			format = a
		}
	}
	separator := "["
	for _, f := range infoFields {
		text, ok := values[f.name]
		if !ok {
			text = "0"
		}
		switch format {
		case "typed":
			fmt.Fprintf(c.out, "%d.%s.1:%s:%s:%s\n", f.number, f.name, f.tag, f.kind, text)
		case "json":
			_, _ = c.out.WriteString(separator + "{")
			stats.JSONField(c.out, f.number, f.name, f.tag, f.kind, text)
			separator = ","
		default:
			fmt.Fprintf(c.out, "%s: %s\n", f.name, text)
		}
	}
	if format == "json" {
		_, _ = c.out.WriteString("]\n")
	}
}
