package clients_test

import (
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/services/lb"
	"helperd/test/rig"
	"helperd/timeline"
)

// sharedIP is where both clusters of examples/two-clusters.yaml are.
const sharedIP = "10.20.0.2"

// mirrored is an artifact's part that the example downloads.
var mirrored = regexp.MustCompile(`\{url: "http://mirror\.example\.com/([^"]*)", +sha256: "[0-9]*"\}`)

// withWorkers gives each cluster of the example a worker, which runs its routers,
// and takes the place of the mirror, which is not there.
func withWorkers(text string) string {
	text = mirrored.ReplaceAllString(text, "{file: /srv/rhcos/$1}")
	return strings.NewReplacer(
		"      - {name: m0,", `      - {name: ew, role: worker, mac: "52:54:00:11:00:14", ip: 10.20.1.14}`+"\n      - {name: m0,",
		"      - {name: n0,", `      - {name: sw, role: worker, mac: "52:54:00:22:00:14", ip: 10.30.8.14}`+"\n      - {name: n0,",
	).Replace(text)
}

// TestSharedAddress: real clients find each of two clusters at one address.
func TestSharedAddress(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "curl", "openssl", "ncat")
	r := rig.New(t, rig.Options{Example: "two-clusters.yaml", Edit: withWorkers})
	r.Start(t)
	machines := map[string]*rig.Machine{}
	for _, name := range []string{"m0", "ew", "n0", "sw"} {
		machines[name] = r.Machine(t, name)
		machines[name].Serve(t)
	}
	client, outsider := r.Neighbour(t, "52:54:00:cc:00:02", "10.20.0.78"), r.Outsider(t)
	up := map[string]bool{}
	r.AwaitEvent(t, "lb.up of all in both their backends", 60*time.Second, func(e *timeline.Event) bool {
		if e.Kind == timeline.LBUp {
			up[e.Detail] = true
		}
		return len(up) == 2*len(machines)
	})
	// who gives the name of the machine that answered curl, or the status in brackets.
	who := func(m *rig.Machine, url string) string {
		status, body := curl(t, m, "--connect-to", "::"+sharedIP+":", url)
		if status != "200" {
			return "(" + status + ")"
		}
		name, _, _ := strings.Cut(body, " ")
		return name
	}
	const closed = "(000)"
	for _, tt := range []struct {
		name   string
		from   *rig.Machine
		url    string
		answer string
	}{
		{"api", client, "https://api.edge.lab.example.com:6443/", "m0"},
		{"api of the other", client, "https://api.sno.lab.example.com:6443/", "n0"},
		{"api-int from a stranger", outsider, "https://api-int.sno.lab.example.com:6443/", "n0"},
		{"in capital letters", client, "https://API.SNO.lab.example.com:6443/", "n0"},
		{"machine config", client, "https://api-int.edge.lab.example.com:22623/", "m0"},
		{"machine config of the other", client, "https://api-int.sno.lab.example.com:22623/", "n0"},
		{"machine config from a node of the other", machines["sw"], "https://api-int.edge.lab.example.com:22623/", "m0"},
		{"machine config from a stranger", outsider, "https://api-int.sno.lab.example.com:22623/", closed},
		{"ingress", client, "https://console.apps.edge.lab.example.com/", "ew"},
		{"ingress two labels down", client, "https://a.b.apps.sno.lab.example.com/", "sw"},
		{"ingress by HTTP", client, "http://console.apps.sno.lab.example.com/", "sw"},
		{"ingress by HTTP of the other", client, "http://console.apps.edge.lab.example.com/", "ew"},
		{"an address from a node", machines["ew"], "https://" + sharedIP + ":6443/", "m0"},
		{"an address from a node of the other", machines["sw"], "https://" + sharedIP + ":6443/", "n0"},
		{"an unknown name from a node", machines["sw"], "https://api.example.net:6443/", "n0"},
		{"an unknown host from a node", machines["m0"], "http://www.example.net/", "ew"},
		{"an address from a stranger", client, "https://" + sharedIP + ":6443/", closed},
		{"an unknown name from a stranger", outsider, "https://api.example.net:6443/", closed},
		{"an unknown host from a stranger", client, "http://www.example.net/", closed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := who(tt.from, tt.url); got != tt.answer {
				t.Errorf("answered by %s, want %s", got, tt.answer)
			}
		})
	}
	t.Run("openssl in fragments", func(t *testing.T) {
		for name, machine := range map[string]string{"edge": "m0", "sno": "n0"} {
			for _, version := range []string{"-tls1_2", "-tls1_3"} {
				cmd := client.Exec("openssl", "s_client", "-connect", sharedIP+":6443", "-servername", "api."+name+".lab.example.com",
					version, "-max_send_frag", "512", "-alpn", strings.Repeat("some-protocol-name,", 40)+"h2")
				if out := output(t, cmd); !strings.Contains(out, "CN = "+machine) && !strings.Contains(out, "CN="+machine) {
					t.Errorf("%s %s:\n%s", name, version, out)
				}
			}
		}
	})
	t.Run("ncat in slow pieces", func(t *testing.T) {
		cmd := client.Exec("sh", "-c", `(printf 'GET /who HT'; sleep 1; printf 'TP/1.1\r\nConnection: close\r\nHo'; sleep 1
			printf 'st: x.apps.sno.lab.example.com\r\n\r\n'; sleep 1) | ncat -i 10 `+sharedIP+" 80")
		if out := output(t, cmd); !strings.Contains(out, "200 OK") || !strings.Contains(out, "sw 80 /who ") {
			t.Errorf("ncat:\n%s", out)
		}
	})
	t.Run("what was turned away is shown", func(t *testing.T) {
		var o lb.Overview
		if err := json.Unmarshal([]byte(r.Balancer(t)), &o); err != nil {
			t.Fatal(err)
		}
		got := map[string]lb.FrontendStatus{}
		for _, f := range o.Frontends {
			got[f.Name] = f
		}
		for name, want := range map[string]struct {
			refused, unnamed uint64
			hint             string
		}{
			"machine-config": {1, 0, "add its network under networks"},
			"api":            {0, 2, `it asked for "api.example.net"`},
			"ingress-http":   {0, 1, `it asked for "www.example.net"`},
		} {
			f := got[name]
			if f.Refused != want.refused || f.Unnamed != want.unnamed || f.Stray == nil || !strings.Contains(f.Stray.Detail, want.hint) {
				t.Errorf("%s: refused %d, unnamed %d, last %+v", name, f.Refused, f.Unnamed, f.Stray)
			}
		}
		r.AwaitEvent(t, "lb.refused", 5*time.Second, func(e *timeline.Event) bool { return e.Kind == timeline.LBRefused })
	})
}

// output is what cmd says; openssl's exit code is of no interest.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, _ := cmd.CombinedOutput()
	return string(out)
}
