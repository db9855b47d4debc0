package http

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/test/bench"
)

const (
	clients  = 64
	small    = "/small"    // a boot script, a public key
	ignition = "/ignition" // as large as a bootstrap machine's
	image    = "/rootfs.img"

	smallBytes    = 4 << 10
	ignitionBytes = 300_000
	partBytes     = 4 << 20
)

// imageBytes is the size of the image.
func imageBytes() int64 {
	if bench.Full() {
		return 1 << 30
	}
	return 64 << 20
}

// last is how long a load takes.
func last() time.Duration {
	if bench.Full() {
		return 4 * time.Second
	}
	return time.Second
}

// site is a folder that all servers serve.
type site struct {
	lab    *bench.Lab
	root   string
	script string // of wrk
}

// script makes wrk say what it did as JSON.
const script = `done = function(summary)
  local e = summary.errors
  io.write(string.format('\n{"requests": %d, "us": %d, "errors": %d}\n', summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout))
end
`

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{lab: bench.NewLab(t)}
	s.root = filepath.Join(s.lab.Dir, "www")
	if err := os.Mkdir(s.root, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int64{small: smallBytes, ignition: ignitionBytes, image: imageBytes()} {
		b := make([]byte, n)
		_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b) // never fails
		if err := os.WriteFile(filepath.Join(s.root, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.script = filepath.Join(s.lab.Dir, "wrk.lua")
	if err := os.WriteFile(s.script, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

// ready gives nil when the server sends a file.
func (s *site) ready(addr netip.Addr) error {
	a := ask{server: netip.AddrPortFrom(addr, port), path: small, size: smallBytes, clients: 1, last: 100 * time.Millisecond}
	n, _, err := a.run(s.lab.Clients)
	if err == nil && n == 0 {
		err = fmt.Errorf("nothing came")
	}
	return err
}

// wrk gives the load of many requests for a small file.
func (s *site) wrk(path string) func(testing.TB, netip.Addr) bench.Work {
	return func(t testing.TB, addr netip.Addr) bench.Work {
		t.Helper()
		url := fmt.Sprintf("http://%s:%d%s", addr, port, path)
		cmd := s.lab.Clients.Exec("wrk", "-t1", fmt.Sprintf("-c%d", clients), fmt.Sprintf("-d%d", int(last().Seconds())), "-s", s.script, url)
		out, err := cmd.CombinedOutput()
		var did struct{ Requests, US, Errors int64 }
		if err == nil {
			err = json.Unmarshal(lastLine(out), &did)
		}
		if err != nil || did.Errors > 0 || did.Requests == 0 {
			t.Errorf("wrk %s: %v, %+v\n%s", url, err, did, out)
			return bench.Work{}
		}
		return bench.Work{Amount: float64(did.Requests), Elapsed: time.Duration(did.US) * time.Microsecond}
	}
}

func lastLine(b []byte) []byte {
	end := len(b)
	for end > 0 && b[end-1] == '\n' {
		end--
	}
	begin := end
	for begin > 0 && b[begin-1] != '\n' {
		begin--
	}
	return b[begin:end]
}

// fetch gives the load of the image; part 0: whole.
func (s *site) fetch(part int64) func(testing.TB, netip.Addr) bench.Work {
	return func(t testing.TB, addr netip.Addr) bench.Work {
		t.Helper()
		a := ask{server: netip.AddrPortFrom(addr, port), path: image, size: imageBytes(), part: part, clients: clients, last: last()}
		n, took, err := a.run(s.lab.Clients)
		if err != nil {
			t.Errorf("fetch %s: %v", image, err)
			return bench.Work{}
		}
		return bench.Work{Amount: float64(n) * 8 / 1e9, Elapsed: took}
	}
}

func TestCompareRequests(t *testing.T) {
	netns.Tools(t, "nginx", "apache2", "wrk")
	s := newSite(t)
	c := bench.Comparison{
		Units:   bench.Units{Rate: "requests/s", CPU: "CPU us/request", Per: 1e6},
		Servers: []bench.Server{s.helperd(t), s.nginx(t), s.apache(t)},
		Loads: []bench.Load{
			{Name: "4 KB, 64 clients", Run: s.wrk(small), Bars: []bench.Bar{{Peer: "nginx", CPU: 3.5}}},
			{Name: "300 KB, 64 clients", Run: s.wrk(ignition)},
		},
	}
	c.Run(t, s.lab)
}

func TestCompareImage(t *testing.T) {
	netns.Tools(t, "nginx", "apache2")
	s := newSite(t)
	c := bench.Comparison{
		Units:   bench.Units{Rate: "Gbit/s", CPU: "CPU s/GB", Per: 8},
		Servers: []bench.Server{s.helperd(t), s.nginx(t), s.apache(t)},
		Loads: []bench.Load{
			{Name: "1 GB whole, 64 clients", Run: s.fetch(0), Bars: []bench.Bar{{Peer: "nginx", CPU: 1.7}}},
			{Name: "4 MB ranges of it", Run: s.fetch(partBytes), Bars: []bench.Bar{{Peer: "nginx", CPU: 1.7}}},
		},
	}
	c.Run(t, s.lab)
}
