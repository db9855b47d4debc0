package dns

import (
	"net/netip"
	"strings"
	"testing"

	"helperd/internal/netns"
)

// A real client on a network of its own: over IPv4 and IPv6, UDP and TCP, from
// an address that may recurse and from one that may not.
func TestDig(t *testing.T) {
	netns.Tools(t, "dig")
	server, client := netns.New(t), netns.New(t)
	netns.Link(t, server, client, "192.0.2.1/24", "192.0.2.2/24")
	server.IP(t, "address", "add", "fd00::1/64", "dev", "eth0")
	client.IP(t, "address", "add", "fd00::2/64", "dev", "eth0")
	client.IP(t, "address", "add", "192.0.2.3/24", "dev", "eth0")
	up := newUpstream(t)
	r := newRig(t)
	p := r.plan(up.addr)
	p.DNS.Listen = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("[fd00::1]:53")}
	p.DNS.Allow = []netip.Prefix{netip.MustParsePrefix("192.0.2.2/32"), netip.MustParsePrefix("fd00::/64")}
	server.Do(t, func() { r.apply(p) })

	for _, c := range []struct {
		name string
		args string
		want []string
		not  []string
	}{
		{"address", "@192.0.2.1 helper.ocp4.example.com", []string{"status: NOERROR", "flags: qr aa rd ra;", "192.168.67.2", "udp: 1232"}, nil},
		{"wildcard over TCP", "@192.0.2.1 +tcp x.y.apps.ocp4.example.com", []string{"status: NOERROR", "aa", "192.168.67.2", "(TCP)"}, nil},
		{"over IPv6", "@fd00::1 -x 192.168.67.2", []string{"status: NOERROR", "PTR\thelper.ocp4.example.com."}, nil},
		{"no such name", "@192.0.2.1 nobody.ocp4.example.com", []string{"status: NXDOMAIN", "AUTHORITY: 1", "\t60\tIN\tSOA\t"}, nil},
		{"no data", "@192.0.2.1 helper.ocp4.example.com AAAA", []string{"status: NOERROR", "ANSWER: 0", "SOA"}, nil},
		{"any", "@192.0.2.1 helper.ocp4.example.com ANY +notcp", []string{"HINFO\t\"RFC8482\" \"\""}, nil},
		{"forwarded", "@192.0.2.1 -b 192.0.2.2 www.example.org", []string{"status: NOERROR", "203.0.113.7", "ra"}, []string{" aa"}},
		{"forwarded over IPv6", "@fd00::1 www.example.org +tcp", []string{"status: NOERROR", "203.0.113.7"}, nil},
		{"chased", "@192.0.2.1 -b 192.0.2.2 far.ocp4.example.com", []string{"CNAME\twww.example.org.", "203.0.113.7"}, nil},
		{"not for everybody", "@192.0.2.1 -b 192.0.2.3 www.example.org", []string{"status: REFUSED", "recursion requested but not available"}, []string{"203.0.113.7"}},
		{"our names are", "@192.0.2.1 -b 192.0.2.3 helper.ocp4.example.com", []string{"status: NOERROR", "192.168.67.2"}, []string{" ra"}},
		{"no transfer", "@192.0.2.1 ocp4.example.com AXFR", []string{"Transfer failed"}, []string{"192.168.67.2"}},
		{"no version", "@192.0.2.1 version.bind CH TXT", []string{"status: REFUSED"}, nil},
		{"unknown EDNS version", "@192.0.2.1 +edns=1 +noednsneg helper.ocp4.example.com", []string{"status: BADVERS", "version: 0"}, nil},
		{"unknown opcode", "@192.0.2.1 +opcode=15 helper.ocp4.example.com", []string{"status: NOTIMP"}, nil},
		{"unknown key", "@192.0.2.1 -y hmac-sha256:k:c2VjcmV0 helper.ocp4.example.com", []string{"status: NOTAUTH", "BADKEY"}, nil},
		{"large over UDP, then TCP", "@192.0.2.1 -b 192.0.2.2 big.example.org TXT", []string{"Truncated, retrying in TCP mode", "ANSWER: 40"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := client.Exec("dig", append(strings.Fields(c.args), "+time=5", "+tries=1")...).CombinedOutput()
			if err != nil && !strings.Contains(c.args, "AXFR") {
				t.Fatalf("dig %s: %v\n%s", c.args, err, out)
			}
			for _, want := range c.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
			for _, not := range c.not {
				if strings.Contains(string(out), not) {
					t.Errorf("%q in\n%s", not, out)
				}
			}
			for _, warning := range []string{"malformed", "WARNING: extra", "Warning: query response not set", "mismatch"} {
				if strings.Contains(strings.ToLower(string(out)), strings.ToLower(warning)) {
					t.Errorf("dig complains:\n%s", out)
				}
			}
		})
	}
}
