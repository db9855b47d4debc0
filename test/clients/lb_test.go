package clients_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/test/rig"
	"helperd/timeline"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// balanced asks a frontend once and gives the name of the machine that
// answered, or what happened in brackets.
func balanced(t *testing.T, m *rig.Machine, port, name string) string {
	t.Helper()
	status, body := curl(t, m, "--connect-to", "::"+rig.HelperIP+":", "https://"+name+":"+port+"/who")
	if status != "200" {
		return "(status " + status + ")"
	}
	who, _, _ := strings.Cut(body, " ")
	return who
}

// await waits until ok is true, and fails the test when that takes longer than patience.
func await(t *testing.T, what string, patience time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func TestBalancer(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "curl", "nc")
	r := rig.New(t, rig.Options{})
	r.Start(t)
	answers := map[string]*rig.Answers{}
	for _, name := range []string{"master-0", "master-1", "master-2", "worker-0", "worker-1"} {
		answers[name] = r.Machine(t, name).Serve(t)
	}
	client, outsider := r.Neighbour(t, "52:54:00:cc:00:02", "192.168.67.78"), r.Outsider(t)

	for _, name := range []string{"master-0", "master-1", "master-2", "worker-0", "worker-1"} {
		up := map[string]bool{} // BACKEND/SERVER: each is in two, of which one is up before the other
		r.AwaitEvent(t, "lb.up of "+name+" in both its backends", 40*time.Second, func(e *timeline.Event) bool {
			if e.Kind == timeline.LBUp && strings.HasSuffix(e.Detail, "/"+name) {
				up[e.Detail] = true
			}
			return len(up) == 2
		})
	}

	t.Run("API and machine config reach every master", func(t *testing.T) {
		for _, port := range []string{"6443", "22623"} {
			seen := map[string]bool{}
			// One that was down when it was looked at first gets its share slowly, within a minute.
			for end, n := time.Now().Add(time.Minute), 0; n < 60 || len(seen) < 3 && time.Now().Before(end); n++ {
				seen[balanced(t, client, port, "api-int.ocp4.example.com")] = true
			}
			if !seen["master-0"] || !seen["master-1"] || !seen["master-2"] || len(seen) != 3 {
				t.Errorf("port %s was answered by %v, want the three masters", port, seen)
			}
		}
	})
	t.Run("ingress by nc", func(t *testing.T) {
		cmd := client.Exec("nc", "-w", "5", rig.HelperIP, "80")
		cmd.Stdin = strings.NewReader("GET /app HTTP/1.0\r\nHost: app.apps.ocp4.example.com\r\n\r\n")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "200 OK") || !strings.Contains(string(out), " 80 /app ") {
			t.Errorf("nc: %v\n%s", err, out)
		}
	})
	t.Run("ingress keeps a client on one router", func(t *testing.T) {
		first := balanced(t, client, "443", "app.apps.ocp4.example.com")
		if !strings.HasPrefix(first, "worker-") {
			t.Errorf("port 443 was answered by %s, want a worker", first)
		}
		for range 10 {
			if next := balanced(t, client, "443", "app.apps.ocp4.example.com"); next != first {
				t.Errorf("the same client went to %s and to %s", first, next)
			}
		}
	})
	whole := t // what the second daemon serves
	t.Run("a drained node takes no new connection, also after a restart", func(t *testing.T) {
		router := func() string { return balanced(t, client, "443", "app.apps.ocp4.example.com") }
		first := router()
		r.Order(t, "lb", "drain", first)
		other := router()
		if other == first || !strings.HasPrefix(other, "worker-") {
			t.Fatalf("%s was drained, and %s answered", first, other)
		}
		r.Stop(t)
		r.Start(whole)
		await(t, "the routers are up again", 20*time.Second, func() bool { return strings.Count(r.Balancer(t), `"state": "up"`) >= 4 })
		for range 5 {
			if who := router(); who != other {
				t.Errorf("after a restart %s answered", who)
			}
		}
		r.Order(t, "lb", "ready", first)
		await(t, "the node that was drained is back", 20*time.Second, func() bool { return router() == first })
	})
	t.Run("machine config is closed to outsiders", func(t *testing.T) {
		if who := balanced(t, outsider, "22623", "api-int.ocp4.example.com"); strings.HasPrefix(who, "master-") {
			t.Errorf("an outsider reached the machine config server of %s", who)
		}
	})
	t.Run("a master that is not ready takes no new connection", func(t *testing.T) {
		answers["master-1"].SetReady(false)
		r.AwaitEvent(t, "lb.down of master-1", 20*time.Second, func(e *timeline.Event) bool {
			return e.Kind == timeline.LBDown && strings.Contains(e.Detail, "master-1")
		})
		await(t, "master-1 leaves port 6443", 15*time.Second, func() bool {
			before := answers["master-1"].Hits()
			for range 12 {
				balanced(t, client, "6443", "api.ocp4.example.com")
			}
			return answers["master-1"].Hits() == before
		})
	})
}
