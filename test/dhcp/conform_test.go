package dhcp

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"helperd/internal/netns"
)

// A testCase is one thing that the server does.
type testCase struct {
	name string
	rfc  string // and the section, such as "2131 4.3.1"
	// proof speaks with the server, and fails when it does otherwise.
	proof func(x *trial)
	// differs says why a peer does not pass proof, by its name.
	differs map[string]string
	// alone says why the RFC is enough where neither peer passes.
	alone string
}

// groups of cases, in the order of a client's life.
var groups = []struct {
	name  string
	cases []testCase
}{
	{"offer", offerCases},
	{"address", addressCases},
	{"way", wayCases},
	{"relay", relayCases},
	{"request", requestCases},
	{"nak", nakCases},
	{"end", endCases},
	{"rapid commit", rapidCases},
	{"BOOTP", bootpCases},
	{"options", optionCases},
	{"sizes", sizeCases},
	{"boot", bootCases},
	{"malformed", malformedCases},
}

// TestMain lets many cases run at once: they wait most of their time.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "32")
	flag.Parse()
	os.Exit(m.Run())
}

const pass = "pass"

// results of the cases, for the table.
type results struct {
	mu   sync.Mutex
	each map[string]map[string]string // case, server
}

func (r *results) set(name, server, result string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.each[name] == nil {
		r.each[name] = map[string]string{}
	}
	r.each[name][server] = result
}

// TestConformance runs every case against helperd and the peers. All cases share one server.
func TestConformance(t *testing.T) {
	netns.Require(t)
	netns.Tools(t, dhcpd, dnsmasq)
	res := &results{each: map[string]map[string]string{}}
	t.Cleanup(func() { t.Log(res.table()) })
	for _, server := range []string{helperd, dhcpd, dnsmasq} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			l := newLink(t)
			start(t, server, l)
			must(t, (&trial{l}).alive())
			for _, g := range groups {
				for _, c := range g.cases {
					t.Run(g.name+"/"+c.name, func(t *testing.T) {
						t.Parallel()
						c.judge(t, server, l, func(result string) { res.set(g.name+"/"+c.name, server, result) })
					})
				}
			}
		})
	}
}

// judge runs the case against a server.
func (c *testCase) judge(t *testing.T, server string, l *link, note func(string)) {
	x := &trial{l}
	failed, because := x.run(c.proof), c.differs[server]
	switch {
	case server == helperd && because != "":
		t.Error("helperd has no excuse")
	case c.differs[dhcpd] != "" && c.differs[dnsmasq] != "" && c.alone == "":
		t.Error("no peer passes: the case must say why the RFC is enough")
	case failed == "" && because != "":
		t.Errorf("it passes, and should not, because %s", because)
	case failed == "":
		note(pass)
	case because != "":
		t.Logf("differs as said: %s", failed)
		note("differs")
	default:
		note("FAIL")
		t.Errorf("RFC %s: %s", c.rfc, failed)
	}
}

// table shows how each server did in each case, and why one does otherwise.
func (r *results) table() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b, why strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	passed := map[string]int{}
	number := 0
	fmt.Fprintf(w, "\ncase\tRFC\t%s\t%s\t%s\n", helperd, dhcpd, dnsmasq)
	for _, g := range groups {
		for _, c := range g.cases {
			name := g.name + "/" + c.name
			got := r.each[name]
			if got == nil {
				continue
			}
			number++
			for server, result := range got {
				if result == pass {
					passed[server]++
				}
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", name, c.rfc, got[helperd], got[dhcpd], got[dnsmasq])
			for _, peer := range []string{dhcpd, dnsmasq} {
				if c.differs[peer] != "" {
					fmt.Fprintf(&why, "%s: %s: %s\n", name, peer, c.differs[peer])
				}
			}
			if c.alone != "" {
				fmt.Fprintf(&why, "%s: the RFC is enough: %s\n", name, c.alone)
			}
		}
	}
	fmt.Fprintf(w, "%d cases, passed\t\t%d\t%d\t%d\n", number, passed[helperd], passed[dhcpd], passed[dnsmasq])
	_ = w.Flush()
	return b.String() + "\nwhy a peer differs:\n" + why.String()
}
