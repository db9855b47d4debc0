package lb

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"helperd/internal/netns"
	"helperd/test/rig"
)

// A testCase is one thing that the balancer does.
type testCase struct {
	name string
	// lb is the section of helper.yaml; more are sections beside it, such as clusters.
	lb, more string
	// proof drives clients and servers, and fails when the balancer does otherwise.
	proof func(x *trial)
	// differs says why HAProxy does not pass proof; theirs proves what it does instead.
	differs string
	theirs  func(x *trial)
}

// groups of cases, in the order of a connection's life.
var groups = []struct {
	name  string
	cases []testCase
}{
	{"data", dataCases},
	{"end", endCases},
	{"balance", balanceCases},
	{"limits", limitCases},
	{"retries", retryCases},
	{"checks", checkCases},
	{"probes", probeCases},
	{"proxy out", proxyOutCases},
	{"proxy in", proxyInCases},
	{"rules", ruleCases},
	{"names", nameCases},
	{"timeouts", timeoutCases},
	{"addresses", addressCases},
	{"reload", reloadCases},
	{"admin", adminCases},
}

// TestMain lets many cases run at once: they wait most of their time.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "16")
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "helperd-lb-ca-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = writeAuthority(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// TestConformance runs every case against helperd and against haproxy.
func TestConformance(t *testing.T) {
	netns.Tools(t, "haproxy")
	program := rig.Binary(t, t.TempDir())
	number := 0
	for _, g := range groups {
		for _, c := range g.cases {
			if (c.differs == "") != (c.theirs == nil) {
				t.Errorf("%s/%s: differs and theirs belong together", g.name, c.name)
			}
			for _, b := range []balancer{&helperd{program: program}, &haproxy{}} {
				n := number
				number++
				t.Run(g.name+"/"+c.name+"/"+b.name(), func(t *testing.T) {
					t.Parallel()
					x := newTrial(t, n, b)
					x.config = x.file(c.lb, c.more)
					if _, other := b.(*haproxy); other && c.theirs != nil {
						c.theirs(x)
						return
					}
					c.proof(x)
				})
			}
		}
	}
	if number > maxTrials {
		t.Fatalf("%d trials, and networks for %d", number, maxTrials)
	}
}
