package clients_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/services"
	"helperd/test/rig"
)

// chronyd runs in a namespace, without touching the clock, until the test or the function it gives ends it.
func chronyd(t *testing.T, ns *netns.NS, lines ...string) (stop func()) {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "chrony.conf")
	lines = append(lines, "bindcmdaddress /", "bindcmdaddress 127.0.0.1", "pidfile "+filepath.Join(dir, "pid"), "driftfile "+filepath.Join(dir, "drift"))
	must(t, os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o644))
	cmd := ns.Exec("chronyd", "-x", "-d", "-u", "root", "-f", conf)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	must(t, cmd.Start())
	done := false
	stop = func() {
		if !done {
			done = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if t.Failed() {
				t.Logf("chronyd:\n%s", log.String())
			}
		}
	}
	t.Cleanup(stop)
	return stop
}

// ntp is what status says of the time server.
func ntp(t *testing.T, r *rig.Rig) services.Status {
	t.Helper()
	for _, s := range r.Status(t).Services {
		if s.Name == "ntp" {
			return s.Status
		}
	}
	t.Fatal("status has no ntp")
	return services.Status{}
}

// eventually waits for ok; no clock of these tests is quicker than a few seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(45 * time.Second); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come: " + what)
		}
	}
}

// ntpdigLine is such as "2026-11-27 15:07:20.578890 (+0000) -0.000006 +/- 0.000113 192.168.67.2 s10 no-leap".
var ntpdigLine = regexp.MustCompile(`([-+][0-9.]+) \+/- ([0-9.]+) .* s([0-9]+) (no-leap|add-leap|del-leap|unsync)`)

// stratum asks the helper by ntpdig.
func stratum(t *testing.T, m *rig.Machine) string {
	t.Helper()
	out, err := m.Exec("timeout", "20", "ntpdig", "-t", "5", rig.HelperIP).CombinedOutput()
	found := ntpdigLine.FindStringSubmatch(string(out))
	if err != nil || found == nil {
		t.Fatalf("ntpdig: %v\n%s", err, out)
	}
	return found[3]
}

func TestNTP(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, "chronyd", "ntpdate", "ntpdig", "rdate", "busybox")
	r := rig.New(t, rig.Options{})
	r.Start(t)
	m := r.Machine(t, "worker-0")

	t.Run("clients", func(t *testing.T) {
		for _, c := range []struct{ want, command string }{
			{"System clock wrong by [-0.]", "chronyd -Q -t 20 'server " + rig.HelperIP + " iburst'"},
			{"System clock wrong by [-0.]", "chronyd -Q -t 20 'server " + rig.HelperIP + " iburst version 3'"},
			{rig.HelperIP + " s[0-9]+ no-leap", "timeout 20 ntpdate -q " + rig.HelperIP},
			{rig.HelperIP + " s[0-9]+ no-leap", "timeout 20 ntpdig -t 5 " + rig.HelperIP},
			{" 20[0-9][0-9]", "timeout 20 rdate -n -p " + rig.HelperIP},
		} {
			out, err := m.Exec("sh", "-c", c.command).CombinedOutput()
			if err != nil || !regexp.MustCompile(c.want).Match(out) {
				t.Errorf("%s: %v, no %s in\n%s", c.command, err, c.want, out)
			}
		}
		if err := exec.Command("busybox", "ntpd", "--help").Run(); err == nil { // not every build has it
			out, err := m.Exec("timeout", "30", "busybox", "ntpd", "-n", "-q", "-w", "-d", "-p", rig.HelperIP).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "reply from "+rig.HelperIP) {
				t.Errorf("busybox ntpd: %v\n%s", err, out)
			}
		}
		if n := ntp(t, r).Counters["answered"]; n < 5 {
			t.Errorf("%d answers", n)
		}
	})

	t.Run("stranger", func(t *testing.T) {
		out, err := r.Outsider(t).Exec("timeout", "10", "ntpdig", "-t", "2", rig.HelperIP).CombinedOutput()
		if err == nil && ntpdigLine.Match(out) {
			t.Errorf("an address outside of the networks got the time:\n%s", out)
		}
	})

	blank := r.Blank(t, "worker-1")
	given := func(t *testing.T) string { return udhcpc(t, blank)["ntpsrv"] }
	t.Run("option 42 while somebody answers", func(t *testing.T) {
		eventually(t, "the helper in option 42", func() bool { return given(t) == rig.HelperIP })
		r.Apply(t, func(text string) string { return text + "ntp: {enabled: false}\n" })
		eventually(t, "no option 42", func() bool { return given(t) == "" })
		stop := chronyd(t, r.Helper, "local stratum 6", "allow 192.168.67.0/24")
		eventually(t, "option 42 by chronyd", func() bool { return given(t) == rig.HelperIP })
		if s := stratum(t, m); s != "6" {
			t.Errorf("stratum %s, and chronyd's is 6", s)
		}
		r.Apply(t, func(text string) string { return strings.Replace(text, "ntp: {enabled: false}\n", "", 1) })
		eventually(t, "a note of the holder", func() bool {
			st := ntp(t, r)
			return st.State == services.Up && len(st.Notes) == 1 && strings.Contains(st.Notes[0], "is held by chronyd, which serves time")
		})
		stop()
		eventually(t, "the port", func() bool { return ntp(t, r).Listeners[0].Bound })
		eventually(t, "option 42 by helperd", func() bool { return given(t) == rig.HelperIP })
	})

	t.Run("clock kept by chronyd", func(t *testing.T) {
		chronyd(t, r.Router, "local stratum 4", "allow 192.168.67.0/24")
		stop := chronyd(t, r.Helper, "port 0", fmt.Sprintf("server %s iburst minpoll 0 maxpoll 0", rig.RouterIP))
		eventually(t, "stratum 5", func() bool { return stratum(t, m) == "5" })
		if notes := ntp(t, r).Notes; len(notes) != 0 {
			t.Errorf("notes %q", notes)
		}
		stop()
		eventually(t, "another stratum", func() bool { return stratum(t, m) != "5" })
	})
}
