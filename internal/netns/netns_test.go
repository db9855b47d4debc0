package netns_test

import (
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"helperd/internal/netns"
)

func TestLinkedNamespacesTalk(t *testing.T) {
	a, b := netns.New(t), netns.New(t)
	devA, devB := netns.Link(t, a, b, "192.0.2.1/24", "192.0.2.2/24")
	if devA != "eth0" || devB != "eth0" {
		t.Errorf("devices are %s and %s, want eth0 on both sides", devA, devB)
	}
	var l net.Listener
	a.Do(t, func() {
		var err error
		if l, err = net.Listen("tcp4", "192.0.2.1:7"); err != nil {
			t.Fatal(err)
		}
	})
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.WriteString(c, "hello")
		c.Close()
	}()
	var got []byte
	b.Do(t, func() {
		c, err := net.Dial("tcp4", "192.0.2.1:7")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got, err = io.ReadAll(c); err != nil {
			t.Fatal(err)
		}
	})
	if string(got) != "hello" {
		t.Errorf("read %q across the link, want hello", got)
	}
	if c, err := net.Dial("tcp4", "192.0.2.1:7"); err == nil {
		c.Close()
		t.Error("the address is reachable from outside the namespaces")
	}
}

func TestBridgeJoinsPorts(t *testing.T) {
	lan, a, b := netns.New(t), netns.New(t), netns.New(t)
	lanA, _ := netns.Link(t, lan, a, "", "192.0.2.1/24")
	lanB, _ := netns.Link(t, lan, b, "", "192.0.2.2/24")
	lan.Bridge(t, "lan0", "192.0.2.3/24", lanA, lanB)
	lan.Tap(t, "tap0", "lan0")
	if out := lan.Run(t, "ip", "-o", "link", "show", "master", "lan0"); strings.Count(out, "\n") != 3 {
		t.Errorf("the bridge has not three ports:\n%s", out)
	}
	for _, addr := range []string{"192.0.2.2:9", "192.0.2.3:9"} {
		a.Do(t, func() {
			if c, err := net.Dial("tcp4", addr); err == nil {
				c.Close()
			} else if !strings.Contains(err.Error(), "refused") { // nobody listens, but the machine answers
				t.Errorf("%s: %v", addr, err)
			}
		})
	}
}

func TestThreadComesHome(t *testing.T) {
	ns := netns.New(t)
	before, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	var inside string
	ns.Do(t, func() { inside, _ = os.Readlink("/proc/thread-self/ns/net") })
	after, _ := os.Readlink("/proc/thread-self/ns/net")
	if inside == before || after != before {
		t.Errorf("namespace before %s, inside %s, after %s", before, inside, after)
	}
}

func TestRemovedAtTheEnd(t *testing.T) {
	var path string
	t.Run("inner", func(t *testing.T) { path = netns.New(t).Path() })
	if path == "" {
		netns.SkipOrFail(t, "no namespace was made")
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", path, err)
	}
}
