package clients_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"helperd/internal/netns"
	"helperd/services/leasing"
	"helperd/test/rig"
)

// TestReleaseAndExplain: what a person is told is what machines get, and a lease that a person ended stays ended.
func TestReleaseAndExplain(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "busybox", "dhclient")
	r := rig.New(t, rig.Options{Edit: func(text string) string { return rig.OnlyIPv6(text, "worker-1") }})
	r.Start(t)
	explain := func(args ...string) map[netip.Prefix]leasing.Answer {
		t.Helper()
		var all []leasing.Answer
		if err := json.Unmarshal([]byte(r.Ask(t, append([]string{"dhcp", "explain", "-o", "json"}, args...)...)), &all); err != nil {
			t.Fatal(err)
		}
		out := map[netip.Prefix]leasing.Answer{}
		for _, a := range all {
			out[a.Network] = a
		}
		return out
	}
	lan, lan6 := netip.MustParsePrefix("192.168.67.0/24"), netip.MustParsePrefix("fd00:67::/64")

	const mac = "52:54:00:aa:00:01"
	said := explain(mac)
	if a := said[lan]; a.Outcome != leasing.FromPool || a.Via != "on eth0" {
		t.Errorf("%+v", a)
	}
	m := client6(t, r.Stranger(t, mac), "eui64")
	first6 := dhclient6(t, m, t.TempDir(), "")["new_ip6_address"]
	first4 := udhcpc(t, m)["ip"] // whose script flushes the interface
	if first4 != said[lan].Address.String() {
		t.Errorf("it got %s, and %s was said", first4, said[lan].Address)
	}
	for prefix, a := range explain(mac) {
		if want := map[netip.Prefix]string{lan: first4, lan6: first6}[prefix]; want != "" && (a.Address.String() != want || !strings.Contains(a.Reason, "it has this address already")) {
			t.Errorf("of a machine with %s: %+v", want, a)
		}
	}
	node := explain(r.Node(t, "worker-0").MAC)
	if a := node[lan]; len(node) != 2 || node[lan6].Outcome != leasing.FromPool || a.Outcome != leasing.FromReservation || a.Hostname != "worker-0.ocp4.example.com" {
		t.Errorf("of a node: %+v", node)
	}
	if a := explain(r.Node(t, "worker-1").MAC)[lan6]; a.Address.String() != "fd00:67::22" {
		t.Errorf("of a node that has IPv6 alone: %+v", a)
	}

	if err := r.Refuse(t, "leases", "release", "192.168.67.21"); !strings.Contains(err, "belongs to worker-0.ocp4.example.com") {
		t.Errorf("to release a reservation: %s", err)
	}
	if err := r.Refuse(t, "leases", "release", "192.168.67.250"); !strings.Contains(err, "nobody has a lease") {
		t.Errorf("to release what nobody has: %s", err)
	}
	out := r.Ask(t, "leases", "release", mac)
	if !strings.Contains(out, first4+" is free") || !strings.Contains(out, first6+" is free") {
		t.Errorf("released:\n%s", out)
	}
	r.Kill(t)
	r.Start(t)
	for _, l := range r.Leases(t) {
		if l.Kind == "pool" {
			t.Errorf("after a power failure %s has %s again", l.MAC, l.Address)
		}
	}
}
