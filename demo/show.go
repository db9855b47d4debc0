package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"helperd/api"
	"helperd/ghost"
)

// show writes what happens, one line each, from several goroutines.
type show struct {
	Options
	mu      sync.Mutex
	started time.Time
}

func newShow(opt Options) *show { return &show{Options: opt, started: time.Now()} }

// line is one line of JSON output.
type line struct {
	Seconds float64     `json:"seconds"` // since the start
	Node    string      `json:"node,omitempty"`
	Stage   ghost.Stage `json:"stage,omitempty"`
	Detail  string      `json:"detail"`
	Took    float64     `json:"took_seconds,omitempty"`
	Error   string      `json:"error,omitempty"`
}

func (s *show) write(l line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.Seconds = time.Since(s.started).Seconds()
	if s.JSON {
		_ = json.NewEncoder(s.Out).Encode(l)
		return
	}
	if l.Error != "" {
		l.Detail = "STUCK: " + l.Error
	}
	_, _ = fmt.Fprintf(s.Out, "%7.2fs  %-10s %-10s %s\n", l.Seconds, l.Node, l.Stage, l.Detail)
}

// step shows what a node did.
func (s *show) step(st ghost.Step) {
	l := line{Node: st.Node, Stage: st.Stage, Detail: st.Detail, Took: st.Took.Seconds()}
	if st.Err != nil {
		l.Error = st.Err.Error()
	} else if st.Took > time.Millisecond {
		l.Detail += " (" + short(st.Took) + ")"
	}
	s.write(l)
}

// note shows what the demonstration did.
func (s *show) note(format string, args ...any) {
	s.write(line{Node: "demo", Detail: fmt.Sprintf(format, args...)})
}

// tail shows the last warnings of the daemon's log.
func (s *show) tail(path string) {
	const most = 10
	b, err := os.ReadFile(path)
	if err != nil {
		return
	}
	var lines []string
	for l := range strings.Lines(string(b)) {
		if !strings.Contains(l, "level=INFO") {
			lines = append(lines, strings.TrimSpace(l))
		}
	}
	for _, l := range lines[max(0, len(lines)-most):] {
		s.note("daemon's log: %s", l)
	}
}

// short rounds d for people.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}

func names(services []api.Service) string {
	var list []string
	for _, s := range services {
		list = append(list, s.Name)
	}
	return strings.Join(list, ", ")
}

// table closes the demonstration: one line a node, with what the daemon itself
// saw of it beside what the node went through. The error says where the two differ.
func (d *demo) table(ctx context.Context) error {
	seen := map[string]api.Node{}
	nodes, err := d.client.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		seen[n.Name] = n
	}
	var differ []string
	d.fleet.mu.Lock()
	defer d.fleet.mu.Unlock()
	for _, m := range d.fleet.machines {
		if n := seen[m.Name]; m.err == nil && n.IP != m.Address() {
			differ = append(differ, fmt.Sprintf("%s has %s and the file says %s", m.Name, m.Address(), n.IP))
		}
	}
	if !d.JSON {
		d.show.mu.Lock()
		d.printTable(seen)
		d.show.mu.Unlock()
	}
	if len(differ) > 0 {
		return fmt.Errorf("wrong addresses: %s", strings.Join(differ, "; "))
	}
	return nil
}

func (d *demo) printTable(seen map[string]api.Node) {
	_, _ = fmt.Fprintln(d.Out)
	w := tabwriter.NewWriter(d.Out, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "NODE\tROLE\tFIRMWARE\tADDRESS\tDHCP\tLOADER\tKERNEL\tROOTFS\tIGNITION\tDNS\tJOINING\tTOTAL\tRESULT\tHELPERD SAYS")
	for _, m := range d.fleet.machines {
		result := "up"
		if m.err != nil {
			result = "STUCK"
		}
		n := seen[m.Name]
		says := string(n.Story.Stage)
		if n.Story.Hint != "" {
			says += ": " + n.Story.Hint
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.Name, m.role, m.Firmware, m.Address(),
			short(m.took(ghost.StageDHCP, ghost.StageLive, ghost.StageInstalled)), short(m.took(ghost.StageLoader)), short(m.took(ghost.StageKernel)),
			short(m.took(ghost.StageRootfs)), short(m.took(ghost.StageIgnition)), short(m.took(ghost.StageDNS)),
			short(m.took(ghost.StageJoining, ghost.StageReady)), short(m.ended.Sub(m.started)), result, says)
	}
	_ = w.Flush()
}
