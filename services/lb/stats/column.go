package stats

import "strings"

// A column of "show stat": its place is its number in typed output.
type column struct {
	name string
	tag  string // origin, nature and scope, as of "show stat typed"
	back string // the same in a backend's row
	kind string // str, s32, u32 or u64
	rows string // kinds of rows that have it; in lower case, those that have it at times
}

// layout has the columns of HAProxy 2.6, modules of HTTP included, which count nothing here:
// name, tag (that of backends after a slash), kind, rows.
const layout = `
pxname KNS str FBS
svname KNS str FBS
qcur MGP u32 BS
qmax MMP u32 BS
scur MGP u32 FBS
smax MMP u32 FBS
slim CLP u32 FBs
stot MCP u64 FBS
bin MCP u64 FBS
bout MCP u64 FBS
dreq MCP u64 FB
dresp MCP u64 FBS
ereq MCP u64 F
econ MCP u64 BS
eresp MCP u64 BS
wretr MCP u64 BS
wredis MCP u64 BS
status SGP str FBS
weight MaP u32 BS
act SGP/MGP u32 BS
bck SGP/MGP u32 BS
chkfail MCP u64 s
chkdown MCP u64 Bs
lastchg MAP u32 BS
downtime MCP u32 bs
qlimit CLS u32 s
pid KGP u32 FBS
iid KGS u32 FBS
sid KGS u32 FBS
throttle MaP u32 s
lbtot MCP u64 BS
tracked - - -
type CGS u32 FBS
rate MRP/MGP u32 FBS
rate_lim CLP u32 F
rate_max MMP/MGP u32 FBS
check_status MOP str s
check_code MOP u32 s
check_duration MDP u64 s
hrsp_1xx - - -
hrsp_2xx - - -
hrsp_3xx - - -
hrsp_4xx - - -
hrsp_5xx - - -
hrsp_other - - -
hanafail - - -
req_rate MRP u32 F
req_rate_max MMP u32 F
req_tot MCP u64 F
cli_abrt MCP u64 BS
srv_abrt MCP u64 BS
comp_in MCP u64 FB
comp_out MCP u64 FB
comp_byp MCP u64 FB
comp_rsp MCP u64 FB
lastsess MAP s32 BS
last_chk MOP str s
last_agt - - -
qtime MaP u32 BS
ctime MaP u32 BS
rtime MaP u32 BS
ttime MaP u32 BS
agent_status - - -
agent_code - - -
agent_duration - - -
check_desc MOP str s
agent_desc - - -
check_rise CGS u32 s
check_fall CGS u32 s
check_health CGS u32 s
agent_rise - - -
agent_fall - - -
agent_health - - -
addr CGS str S
cookie - - -
mode CGS str FBS
algo CGS str B
conn_rate MRP u32 F
conn_rate_max MMP u32 F
conn_tot MCP u64 F
intercepted - - -
dcon MCP u64 F
dses MCP u64 F
wrew MCP u64 FBS
connect MCP u64 BS
reuse MCP u64 BS
cache_lookups - - -
cache_hits - - -
srv_icur MGP u32 S
src_ilim - - -
qtime_max MMP u32 BS
ctime_max MMP u32 BS
rtime_max MMP u32 BS
ttime_max MMP u32 BS
eint MCP u64 FBS
idle_conn_cur MGP u32 S
safe_conn_cur MGP u32 S
used_conn_cur MGP u32 S
need_conn_est MGP u32 S
uweight MaP u32 BS
agg_server_status MGP u32 B
agg_server_check_status MGP u32 B
agg_check_status MGP u32 B
ssl_sess MCP u64 FBS
ssl_reused_sess MCP u64 FBS
ssl_failed_handshake MCP u64 FBS
h2_headers_rcvd MCP u64 FB
h2_data_rcvd MCP u64 FB
h2_settings_rcvd MCP u64 FB
h2_rst_stream_rcvd MCP u64 FB
h2_goaway_rcvd MCP u64 FB
h2_detected_conn_protocol_errors MCP u64 FB
h2_detected_strm_protocol_errors MCP u64 FB
h2_rst_stream_resp MCP u64 FB
h2_goaway_resp MCP u64 FB
h2_open_connections MGP u64 FB
h2_backend_open_streams MGP u64 FB
h2_total_connections MCP u64 FB
h2_backend_total_streams MCP u64 FB
h1_open_connections MGP u64 FB
h1_open_streams MGP u64 FB
h1_total_connections MCP u64 FB
h1_total_streams MCP u64 FB
h1_bytes_in MCP u64 FB
h1_bytes_out MCP u64 FB
h1_spliced_bytes_in MCP u64 FB
h1_spliced_bytes_out MCP u64 FB
`

// moduleColumn is the first column of HAProxy's modules: in CSV there is a "-" before it.
const moduleColumn = "ssl_sess"

var (
	columns = parseLayout()
	number  = numbers(columns) // of a column by its name
)

func parseLayout() []column {
	var cs []column
	for line := range strings.Lines(strings.TrimSpace(layout)) {
		f := strings.Fields(line)
		tag, back, other := strings.Cut(f[1], "/")
		if !other {
			back = tag
		}
		cs = append(cs, column{f[0], tag, back, f[2], f[3]})
	}
	return cs
}

func numbers(cs []column) map[string]int {
	m := make(map[string]int, len(cs))
	for i, c := range cs {
		m[c.name] = i
	}
	return m
}

// header is the first line of CSV.
func header() string {
	var b strings.Builder
	b.WriteString("# ")
	for _, c := range columns {
		if c.name == moduleColumn {
			b.WriteString("-,")
		}
		b.WriteString(c.name + ",")
	}
	return b.String()
}
