package lb

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"helperd/internal/guard"
)

// Addresses that most cases use.
const (
	front = "127.0.0.1:7000"
	one   = "127.0.0.11:7000"
	two   = "127.0.0.12:7000"
	three = "127.0.0.13:7000"
)

const (
	// maxTrials is how many networks a test process has.
	maxTrials = 512
	// patience is how long anything may take on a slow machine.
	patience = 15 * time.Second
)

// A trial is one case against one balancer.
type trial struct {
	*testing.T
	guard    *guard.Group
	balancer balancer
	config   string // helper.yaml
	once     sync.Once
	dir      string
	network  string // "127.77.12.", which stands for 127.0.0.
	port     int    // of ::1 that stands for port 7000
}

func newTrial(t *testing.T, n int, b balancer) *trial {
	t.Helper()
	process := os.Getpid() % 100 // others may run these tests at the same time
	x := &trial{
		T: t, balancer: b,
		network: fmt.Sprintf("127.%d.%d.", 20+process*2+n/256, n%256),
		port:    10000 + process%2*8192 + n*16,
	}
	dir, err := os.MkdirTemp("", "helperd-lb-") // a short path: it holds unix sockets
	x.must(err)
	x.dir = dir
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	x.guard = guard.New(func(name string, v any, stack []byte) { t.Errorf("panic in %s: %v\n%s", name, v, stack) })
	t.Cleanup(x.guard.Wait)
	return x
}

var loopback6 = regexp.MustCompile(`\[::1\]:7(\d{3})`)

// at moves the addresses in a text to the trial's own network.
func (x *trial) at(text string) string {
	text = strings.ReplaceAll(text, "127.0.0.", x.network)
	return loopback6.ReplaceAllStringFunc(text, func(a string) string {
		n, _ := strconv.Atoi(a[len("[::1]:7"):])
		return fmt.Sprintf("[::1]:%d", x.port+n)
	})
}

// socket is the path of the runtime API.
func (x *trial) socket() string { return filepath.Join(x.dir, "lb.sock") }

// elsewhere turns off what is not tested here.
const elsewhere = `version: 1
helper: {address: 127.0.0.1}
networks: [{cidr: 127.0.0.0/24, dhcp: {mode: "off"}}]
dns: {enabled: false}
http: {enabled: false}
tftp: {enabled: false}
ftp: {enabled: false}
ntp: {enabled: false}
nfs: {enabled: false}
`

// file is the helper.yaml of a case.
func (x *trial) file(lb, more string) string {
	lb = strings.ReplaceAll(strings.TrimRight(lb, "\n\t "), "\n", "\n  ")
	return x.at(elsewhere + more + "\nlb:\n  stats_socket: " + x.socket() + "\n  " + strings.TrimSpace(lb) + "\n")
}

// begin starts the balancer. The first client does so: its servers are there by
// then, as HAProxy would take down those that are not.
func (x *trial) begin() {
	x.Helper()
	x.once.Do(func() { x.balancer.start(x, x.config) })
}

// reload puts another lb section in force.
func (x *trial) reload(lb string) {
	x.Helper()
	x.begin()
	x.must(x.balancer.reload(x, x.file(lb, "")))
}

func (x *trial) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

// await waits until ok is true.
func (x *trial) await(what string, ok func() bool) {
	x.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			x.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// receive waits for what another goroutine of the trial has to say.
func receive[T any](x *trial, what string, from <-chan T) T {
	x.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		x.Fatalf("not within %v: %s", patience, what)
		panic("not reached")
	}
}

// within fails unless since is about as long ago as said: never shorter, at most patience longer.
func (x *trial) within(what string, since time.Time, low time.Duration) {
	x.Helper()
	if took := time.Since(since); took < low || took > low+patience {
		x.Errorf("%s after %v, want %v or a little more", what, took.Round(time.Millisecond), low)
	}
}

// join formats lines of YAML: %s in the text, in their order.
func join(format string, args ...any) string { return fmt.Sprintf(format, args...) }
