package lb

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// serving is an lb section with the frontend's address and the servers, such as "one two".
func serving(listen, servers string) string {
	var list []string
	for _, name := range strings.Fields(servers) {
		list = append(list, fmt.Sprintf("{name: %s, address: %q}", name, map[string]string{"one": one, "two": two, "three": three}[name]))
	}
	return join(`
frontends: [{name: f, listen: "%s", backend: b}]
backends:
  - {name: b, check: {type: none}, servers: [%s]}`, listen, strings.Join(list, ", "))
}

var reloadCases = []testCase{
	{name: "a new server is used", lb: serving(front, "one"), proof: func(x *trial) {
		x.trio()
		x.awaitOnly(front, "one")
		x.reload(serving(front, "one two three"))
		x.awaitOnly(front, "one", "two", "three")
	}},
	{name: "tunnels of a server that leaves live on", lb: serving(front, "one two"), proof: func(x *trial) {
		s := x.trio()
		held := x.hold(6)
		x.reload(serving(front, "two"))
		x.awaitOnly(front, "two")
		before := s[0].total.Load()
		x.share(front, 20)
		if n := s[0].total.Load(); n != before {
			x.Errorf("the server that left got %d more connections", n-before)
		}
		for name, clients := range held {
			for _, c := range clients {
				c.echo("alive at " + name)
			}
		}
	}},
	{name: "no connection is refused or lost", lb: serving(front, "one two"), proof: reloadUnderLoad},
	{name: "a frontend moves, its tunnels live on", lb: serving(front, "one"), proof: func(x *trial) {
		x.trio()
		c := x.dial(front)
		c.expect("one\n")
		x.reload(serving("127.0.0.1:7001", "one"))
		x.awaitOnly("127.0.0.1:7001", "one")
		x.awaitRefused(front)
		c.echo("alive")
	}},
	{name: "an address more, and one less", lb: listens(`"127.0.0.1:7000", "127.0.0.2:7000"`), proof: func(x *trial) {
		x.trio()
		x.awaitOnly("127.0.0.2:7000", "one")
		x.reload(listens(`"127.0.0.1:7000", "127.0.0.3:7000"`))
		x.awaitOnly(front, "one")
		x.awaitOnly("127.0.0.3:7000", "one")
		x.awaitRefused("127.0.0.2:7000")
	}},
	{name: "a frontend gets another backend", lb: backends("b"), proof: func(x *trial) {
		x.trio()
		c := x.dial(front)
		c.expect("one\n")
		x.reload(backends("c"))
		x.awaitOnly(front, "two")
		c.echo("alive")
	}},
	{name: "a weight changes", lb: trioOf("", "", "", ""), proof: func(x *trial) {
		x.trio()
		x.shares(30, 10, 10, 10)
		x.reload(trioOf("", ", weight: 2", ", weight: 0", ", weight: 1"))
		x.awaitOnly(front, "one", "three")
		x.shares(30, 20, 0, 10)
	}},
	{name: "a server moves to another address", lb: serving(front, "one"), proof: func(x *trial) {
		x.trio()
		c := x.dial(front)
		c.expect("one\n")
		x.reload(strings.Replace(serving(front, "one"), one, two, 1))
		x.awaitOnly(front, "two")
		c.echo("alive")
	}},
	{name: "allow changes for new connections", lb: serving(front, "one"), proof: func(x *trial) {
		x.trio()
		c := x.dialFrom(outsider, front)
		c.expect("one\n")
		x.reload(strings.Replace(serving(front, "one"), "backend: b", "backend: b, allow: [127.0.0.0/24]", 1))
		x.await("outsiders are closed", func() bool { return x.whoFrom(outsider, front) == "" })
		x.awaitOnly(front, "one")
		c.echo("alive")
	}},
	{name: "a check changes", lb: checked("type: http, port: 7100, path: /old, " + often), proof: func(x *trial) {
		h, _ := x.checkedPair()
		x.reload(checked("type: http, port: 7100, path: /new, " + often))
		x.await("checks ask for the new path", func() bool {
			q := h.questions()
			return len(q) > 0 && q[len(q)-1].path == "/new"
		})
		x.awaitOnly(front, "one", "two")
	}},
	{name: "a broken file changes nothing", lb: serving(front, "one"), proof: func(x *trial) {
		x.trio()
		c := x.dial(front)
		c.expect("one\n")
		if err := x.balancer.reload(x, x.file("frontends: [{name: f, listen: no address, backend: b}]", "")); err == nil {
			x.Error("the file was taken")
		}
		x.awaitOnly(front, "one")
		c.echo("alive")
	}},
	{
		name: "a server that is down stays down", lb: checked("type: http, port: 7100, interval: 5s, fast_interval: 200ms, timeout: 1s, fall: 2, rise: 2"),
		proof: func(x *trial) {
			for _, who := range downOverReload(x) {
				if who != "two" {
					x.Errorf("after the reload served by %q", who)
				}
			}
		},
		differs: "HAProxy starts with every server up unless a file of states is loaded",
		theirs: func(x *trial) {
			if who := strings.Join(downOverReload(x), " "); !strings.Contains(who, "one") {
				x.Errorf("after the reload served by %s", who)
			}
		},
	},
}

// listens is serving by server one with a list of addresses.
func listens(list string) string {
	return strings.Replace(serving("X", "one"), `"X"`, "["+list+"]", 1)
}

// backends has two of them, of which the frontend uses one.
func backends(used string) string {
	return join(`
frontends: [{name: f, listen: "127.0.0.1:7000", backend: %s}]
backends:
  - {name: b, check: {type: none}, servers: [{name: one, address: "127.0.0.11:7000"}]}
  - {name: c, check: {type: none}, servers: [{name: two, address: "127.0.0.12:7000"}]}`, used)
}

// awaitRefused waits until nobody listens at an address.
func (x *trial) awaitRefused(addr string) {
	x.Helper()
	x.await(addr+" refuses", func() bool {
		c, err := net.Dial("tcp", x.at(addr))
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
}

// reloadUnderLoad has clients connect and speak all the time while servers come and go.
func reloadUnderLoad(x *trial) {
	x.trio()
	var done, lost atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop.Store(true)
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				c, err := x.tryFrom("", front)
				if err != nil || c.who() == "" {
					lost.Add(1)
				}
				if err == nil {
					_ = c.Close()
				}
				done.Add(1)
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	for _, servers := range []string{"one", "one two three", "two", "three one", "one two"} {
		x.reload(serving(front, servers))
		now := done.Load()
		x.await("load goes on", func() bool { return done.Load() > now+100 })
	}
	stop.Store(true)
	wg.Wait()
	if n := lost.Load(); n > 0 {
		x.Errorf("%d of %d connections were lost in 5 reloads", n, done.Load())
	}
}

// downOverReload takes server one down, reloads, and says who serves right after.
func downOverReload(x *trial) []string {
	h, _ := x.checkedPair()
	h.answer(503)
	x.awaitOnly(front, "two")
	h.stop()
	x.serve(health1, sink) // no check says anything for the next 4 s
	x.reload(checked("type: http, port: 7100, interval: 5s, fast_interval: 200ms, timeout: 4s, fall: 2, rise: 2"))
	var served []string
	for range 10 {
		served = append(served, x.who(front))
	}
	return served
}
