package http

import (
	"bufio"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"strings"
	"testing"
	"time"

	"helperd/timeline"
)

// flood opens n connections from a that send the begin of a header and no more.
// It gives those that the server has not cut yet.
func (g *rig) flood(t *testing.T, a string, n int) (open []net.Conn) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(a)}}
	for range n {
		c, err := d.DialContext(t.Context(), "tcp", g.server.String())
		if err != nil {
			continue // cut while it was opened
		}
		t.Cleanup(func() { c.Close() })
		io.WriteString(c, "GET / HTTP/1.1\r\nX: ")
		open = append(open, c)
	}
	return open
}

// boots walks a node's boot and fails when a step takes long.
func (g *rig) boots(t *testing.T) {
	t.Helper()
	begun := time.Now()
	for _, path := range []string{"/boot/52-54-00-00-00-02.ipxe", kernelPath, rootfsPath} {
		if a := g.do(t, "GET", workerAddr, path); a.StatusCode != 200 {
			t.Errorf("%s: %s", path, a.Status)
		}
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("the boot took %s", took)
	}
}

// Neither one address nor all of them together, with headers that never end,
// keep a node from booting.
func TestSlowlorisHoldsNobody(t *testing.T) {
	t.Parallel()
	g := newRig(t, func(g *rig) { g.header = 10 * time.Minute }) // TestSlowHeader shows that it ends
	held := g.flood(t, poolAddr, 300)
	eventually(t, "one address has its share", func() bool { return g.clients.Open() == maxPerClient })
	g.boots(t)
	if a := g.do(t, "GET", farAddr, kernelPath); a.StatusCode != 200 {
		t.Errorf("another stranger: %s", a.Status)
	}
	for host := 0; len(held) < maxConnections+1000 && g.clients.Open() < maxStrangers; host++ {
		held = append(held, g.flood(t, fmt.Sprintf("127.7.%d.%d", host/250, 1+host%250), 200)...)
	}
	eventually(t, "strangers have their share", func() bool { return g.clients.Open() >= maxStrangers })
	if _, err := from(farAddr).Get("http://" + g.server.String() + kernelPath); err == nil {
		t.Error("a stranger is served although the share of strangers is used up: the test tests nothing")
	}
	g.boots(t)
	if err := g.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if all := g.events.Since(0); len(all) > 20 {
		t.Errorf("%d events of the flood push out those of nodes", len(all))
	}
	for _, c := range held {
		c.Close()
	}
	eventually(t, "nothing is counted any more", func() bool { return g.clients.Open() == 0 })
	if a := g.do(t, "GET", farAddr, kernelPath); a.StatusCode != 200 {
		t.Errorf("a stranger afterwards: %s", a.Status)
	}
}

// A client that takes a little before each deadline is cut all the same.
func TestTrickle(t *testing.T) {
	t.Parallel()
	g := newRig(t, func(g *rig) { g.stall = time.Second })
	g.put(t, "rootfs.img", 64<<20)
	c := g.dial(t, workerAddr, "GET "+rootfsPath+" HTTP/1.1\r\nHost: x\r\n\r\n")
	buf := make([]byte, 1<<10)
	eventually(t, "the client is cut", func() bool {
		io.ReadFull(c, buf)
		time.Sleep(100 * time.Millisecond)
		return g.clients.Open() == 0
	})
	if e := g.seen(t, timeline.HTTPFailed, rootfsPath); !strings.Contains(e.Detail, "less than 64 KiB") || e.Bytes == 0 {
		t.Errorf("event %+v", e)
	}
}

// Requests that come all at once are answered in their order.
func TestPipelining(t *testing.T) {
	t.Parallel()
	g := newRig(t, nil)
	paths := []string{"/small", kernelPath, "/nope", "/page", "/sub", "/largest", kernelPath, "/small", "/page"}
	for name, size := range map[string]int{"small": 10, "page": 4 << 10, "largest": maxCached} { // header and body are written in one to three pieces
		want := string(g.put(t, "root/"+name, size))
		eventually(t, "the file is cached", func() bool {
			a := g.do(t, "GET", poolAddr, "/"+name)
			return a.body == want && g.state.Load().cache.find("/"+name) != nil
		})
		if a := g.do(t, "GET", poolAddr, "/"+name); a.body != want {
			t.Errorf("%s: %d bytes, want %d; or they differ", name, len(a.body), size)
		}
	}
	var all strings.Builder
	var want []string
	for range 20 {
		for _, p := range paths {
			fmt.Fprintf(&all, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", p)
			want = append(want, g.do(t, "GET", poolAddr, p).body)
		}
	}
	c := g.dial(t, poolAddr, all.String())
	r := bufio.NewReader(c)
	for i := range want {
		resp, err := nethttp.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != want[i] {
			t.Errorf("answer %d: %s, %d bytes, %v", i, resp.Status, len(body), err)
		}
	}
}
