package dhcp

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/test/bench"
)

// site is a network that all servers serve, behind the clients' relay.
type site struct {
	*bench.Lab
	pool string // FIRST-LAST
	next uint32 // machine, of those that no storm had
}

const (
	network = "10.67.0.0/16"
	relay   = "10.67.255.250"
	big     = "10.67.1.0-10.67.250.255" // 64,000 addresses
	small   = "10.67.1.0-10.67.1.249"
)

func newSite(t *testing.T, pool string) *site {
	t.Helper()
	s := &site{Lab: bench.NewLab(t), pool: pool}
	s.Clients.IP(t, "address", "add", relay+"/32", "dev", "eth0") // where perfdhcp looks for it
	s.Servers.IP(t, "route", "add", network, "via", bench.ClientIP, "dev", "eth0", "onlink")
	return s
}

// servers are helperd and those peers that are installed. They have leases of an hour,
// and what makes the peers faster: no ping, no DNS updates, no log of each message.
func (s *site) servers(t testing.TB) []bench.Server {
	t.Helper()
	ours := s.Helperd(t, fmt.Sprintf("  - {cidr: %s, gateway: 10.67.0.1, dhcp: {pool: %s, lease: 1h}}\nlb: {enabled: false}", network, s.pool))
	ours.Note = "a pool lease is on disk before its ACK, one fdatasync for all that wait; a repeat within a quarter of the lease needs none"
	up := ours.Ready
	ours.Ready = func(addr netip.Addr) error {
		if err := up(addr); err != nil {
			return err
		}
		return s.ready(addr)
	}
	out := []bench.Server{ours}
	for _, peer := range []struct {
		name, program, note string
		command             func(testing.TB, string, netip.Addr) []string
	}{
		{"dhcpd", "dhcpd", "one fsync before each ACK; a repeat within a quarter of the lease needs none (dhcp-cache-threshold)", s.dhcpd},
		{"kea", "kea-dhcp4", "memfile: never a sync, a power cut loses acknowledged leases", s.kea},
		{"dnsmasq", "dnsmasq", "the whole file is written again and synced before each ACK", s.dnsmasq},
	} {
		path, err := exec.LookPath(peer.program)
		if err != nil {
			t.Logf("%s is not compared: %s is not installed, see test/packages.sh", peer.name, peer.program)
			continue
		}
		out = append(out, bench.Server{Name: peer.name, Note: peer.note, Ready: s.ready, Command: func(addr netip.Addr) []string {
			return peer.command(t, path, addr)
		}})
	}
	if len(out) == 1 {
		netns.SkipOrFail(t, "no other DHCP server is installed: see test/packages.sh")
	}
	return out
}

// ready gives nil when the server gives an address.
func (s *site) ready(addr netip.Addr) error {
	out, err := s.storm(addr, s.strangers(), storm{machines: 1, total: 1, limit: patience / 2})
	if err == nil && out.done == 0 {
		err = fmt.Errorf("no answer from %s", addr)
	}
	return err
}

// strangers is the first of a million machines that no storm had before.
func (s *site) strangers() uint32 {
	s.next += 1 << 20
	return s.next
}

// storm runs a storm of the machines from first on.
func (s *site) storm(addr netip.Addr, first uint32, st storm) (out *outcome, err error) {
	st.server, st.relay = addr, netip.MustParseAddr(relay)
	err = s.Clients.Call(func() error { out, err = st.run(first); return err })
	return out, err
}

// folder makes an empty folder for a peer, with a copy of its program: where
// AppArmor has a profile of the installed one, it may not use our folders.
func (s *site) folder(t testing.TB, name, program string) (dir, own string) {
	t.Helper()
	dir = filepath.Join(s.Dir, name)
	must(t, os.RemoveAll(dir))
	must(t, os.Mkdir(dir, 0o777))
	b, err := os.ReadFile(program)
	must(t, err)
	own = filepath.Join(dir, filepath.Base(program))
	must(t, os.WriteFile(own, b, 0o755))
	return dir, own
}

// write fills a configuration in and gives its path.
func (s *site) write(t testing.TB, dir, text string, addr netip.Addr) string {
	t.Helper()
	first, last, _ := strings.Cut(s.pool, "-")
	file := filepath.Join(dir, "conf")
	text = strings.NewReplacer("DIR", dir, "FIRST", first, "LAST", last, "ADDRESS", addr.String()).Replace(text)
	must(t, os.WriteFile(file, []byte(text), 0o644))
	return file
}

const (
	dhcpdConf = `authoritative; ping-check false; default-lease-time 3600; max-lease-time 3600; ddns-update-style none;
server-identifier ADDRESS;
subnet 192.0.2.0 netmask 255.255.255.0 { }
subnet 10.67.0.0 netmask 255.255.0.0 {
  range FIRST LAST;
  option routers 10.67.0.1; option domain-name-servers ADDRESS; option domain-name "ocp4.example.com"; option ntp-servers ADDRESS;
}
`
	keaConf = `{"Dhcp4": {
"interfaces-config": {"interfaces": ["eth0/ADDRESS"], "dhcp-socket-type": "udp"},
"lease-database": {"type": "memfile", "persist": true, "name": "DIR/leases.csv", "lfc-interval": 0},
"valid-lifetime": 3600, "authoritative": true,
"subnet4": [{"id": 1, "subnet": "10.67.0.0/16", "pools": [{"pool": "FIRST - LAST"}], "option-data": [
  {"name": "routers", "data": "10.67.0.1"}, {"name": "domain-name-servers", "data": "ADDRESS"},
  {"name": "domain-name", "data": "ocp4.example.com"}, {"name": "ntp-servers", "data": "ADDRESS"}]}],
"loggers": [{"name": "kea-dhcp4", "severity": "ERROR", "output_options": [{"output": "stderr"}]}]}}
`
	dnsmasqConf = `port=0
no-ping
interface=eth0
bind-interfaces
dhcp-authoritative
dhcp-lease-max=70000
dhcp-range=FIRST,LAST,255.255.0.0,1h
dhcp-option=3,10.67.0.1
dhcp-option=6,ADDRESS
dhcp-option=42,ADDRESS
domain=ocp4.example.com
quiet-dhcp
dhcp-leasefile=DIR/leases
pid-file=DIR/pid
user=root
`
)

func (s *site) dhcpd(t testing.TB, program string, addr netip.Addr) []string {
	dir, program := s.folder(t, "dhcpd", program)
	leases := filepath.Join(dir, "leases")
	must(t, os.WriteFile(leases, nil, 0o644))
	return []string{program, "-4", "-q", "-f", "-cf", s.write(t, dir, dhcpdConf, addr), "-lf", leases, "-pf", filepath.Join(dir, "pid"), "eth0"}
}

func (s *site) kea(t testing.TB, program string, addr netip.Addr) []string {
	dir, program := s.folder(t, "kea", program)
	return []string{"env", "KEA_PIDFILE_DIR=" + dir, "KEA_LOCKFILE_DIR=" + dir, program, "-c", s.write(t, dir, keaConf, addr)}
}

func (s *site) dnsmasq(t testing.TB, program string, addr netip.Addr) []string {
	dir, program := s.folder(t, "dnsmasq", program)
	return []string{program, "-k", "-C", s.write(t, dir, dnsmasqConf, addr)}
}

// long gives a shorter time for the form of the tests.
func long(d time.Duration) time.Duration {
	if bench.Full() {
		return d
	}
	return d / 10
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
