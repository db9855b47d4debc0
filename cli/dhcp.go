package cli

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"helperd/api"
	explain4 "helperd/services/dhcp/explain"
	explain6 "helperd/services/dhcp6/explain"
	"helperd/services/leasing"
)

func (a *app) dhcpCmd() *cobra.Command {
	c := &cobra.Command{Use: "dhcp", Short: "Ask the DHCP servers", Args: noArgs}
	c.AddCommand(a.explainCmd())
	return c
}

// explainArgs are what was typed.
type explainArgs struct{ file, arch, relay, network, clientID string }

func (a *app) explainCmd() *cobra.Command {
	var x explainArgs
	c := a.talks(&cobra.Command{
		Use:   "explain MAC",
		Short: "Say what a machine would get by DHCP if it asked now, and why",
		Long: "Say what a machine would get by DHCP over IPv4 and IPv6 if it asked now, and why: address, name, lease, options,\n" +
			"and what each kind of firmware would load. The servers decide as they would for the machine, and nothing changes.\n" +
			"With --file the daemon need not run: the answer is that of a server without leases.\n" +
			"The exit code is 5 when the machine gets nothing anywhere.",
		Example: "  helperd dhcp explain 52:54:00:60:72:67\n  helperd dhcp explain 52:54:00:60:72:67 --arch uefi-arm64 --network 192.168.67.0/24\n" +
			"  helperd dhcp explain 52:54:00:60:72:67 --file /etc/helper.yaml",
		Args: oneArg("MAC"),
		RunE: func(c *cobra.Command, args []string) error {
			q, err := x.question(args[0])
			if err != nil {
				return usageError("%w", err)
			}
			answers, err := a.explain(c, &q, x.file)
			if err != nil {
				return err
			}
			if err := a.show(c.OutOrStdout(), answers, func(t *table) { explainLines(t, &q, answers) }); err != nil {
				return err
			}
			if !slices.ContainsFunc(answers, func(a leasing.Answer) bool { return a.Outcome != leasing.Refused }) {
				return &ExitError{Code: exitRefused}
			}
			return nil
		},
	})
	c.Flags().StringVar(&x.file, "file", "", "answer from this file, without the daemon")
	c.Flags().StringVar(&x.arch, "arch", "", "only this firmware, and why it loads nothing: "+strings.Join(leasing.Names(), ", "))
	c.Flags().StringVar(&x.network, "network", "", "where the machine is: a network of the file, such as 192.168.67.0/24")
	c.Flags().StringVar(&x.relay, "relay", "", "address of the relay agent that its requests come through")
	c.Flags().StringVar(&x.clientID, "client-id", "", "option 61 that it sends, in hexadecimal digits")
	// It only fails for a flag that is not there.
	_ = c.RegisterFlagCompletionFunc("arch", cobra.FixedCompletions(leasing.Names(), cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (x *explainArgs) question(mac string) (leasing.Question, error) {
	if x.network != "" && x.relay != "" {
		return leasing.Question{}, errors.New("--network and --relay are both given; write one of them: a relay is of one network")
	}
	return leasing.ParseQuestion(url.Values{
		"mac": {mac}, "client_id": {x.clientID}, "arch": {x.arch}, "relay": {x.relay}, "network": {x.network},
	})
}

func (a *app) explain(c *cobra.Command, q *leasing.Question, file string) ([]leasing.Answer, error) {
	if file == "" {
		answers, err := a.client().ExplainDHCP(c.Context(), q)
		if errors.Is(err, api.ErrUnreachable) {
			err = fmt.Errorf("%w; --file %s answers without it", err, defaultConfig)
		}
		return answers, err
	}
	p, err := loadPlan(file, c.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	now := time.Now().Unix()
	answers, err := explain4.Plan(p, q, now)
	if err != nil {
		return nil, err
	}
	more, err := explain6.Plan(p, q, now)
	return q.Relevant(append(append([]leasing.Answer{}, answers...), more...)), err
}

func explainLines(t *table, q *leasing.Question, answers []leasing.Answer) {
	if len(answers) == 0 {
		where := "anywhere"
		if q.Network.IsValid() {
			where = "on network " + q.Network.String()
		} else if q.Relay.IsValid() {
			where = "through relay " + q.Relay.String()
		}
		t.line("%s gets nothing: no DHCP is served %s", q.MAC, where)
	}
	for i := range answers {
		if i > 0 {
			t.line("")
		}
		answerLines(t, q, &answers[i])
	}
}

// answerLines tell of one place. Facts are a table of names and values.
func answerLines(t *table, q *leasing.Question, a *leasing.Answer) {
	t.line("%s %s: %s", a.Network, a.Via, outcomeWords(a))
	fact := func(name, value string) {
		if value == "" {
			return
		}
		for i, part := range wrap(value, factWidth) {
			if i == 0 {
				t.row("  "+name, part)
			} else {
				t.more(2, part)
			}
		}
	}
	fact("why", a.Reason)
	fact("node", a.Node)
	if a.Address.IsValid() {
		fact("address", a.Address.String())
		fact("name", cmp.Or(a.Hostname, "it keeps its own"))
		fact("lease", span(a.Lease))
	}
	for _, o := range a.Options {
		if o.Name != "host name" { // said
			fact(o.Name, o.Value)
		}
	}
	for _, w := range a.Warnings {
		fact("attention", w)
	}
	bootFacts(fact, q, a)
}

// factWidth is what a terminal of 80 columns has beside the names of facts.
const factWidth = 54

// wrap breaks a sentence between words into lines of at most width characters,
// if its words are not longer.
func wrap(s string, width int) (lines []string) {
	for _, word := range strings.Fields(s) {
		if last := len(lines) - 1; last >= 0 && utf8.RuneCountInString(lines[last])+1+utf8.RuneCountInString(word) <= width {
			lines[last] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}

func outcomeWords(a *leasing.Answer) string {
	switch a.Outcome {
	case leasing.FromReservation:
		return "it gets its reserved address"
	case leasing.FromPool:
		return "it gets an address from the pool"
	case leasing.BootOnly:
		return "it gets boot files; its address comes from another server"
	}
	return "it gets nothing"
}

// bootFacts tell what firmware loads; what loads nothing is told of only if it was asked for.
func bootFacts(fact func(name, value string), q *leasing.Question, a *leasing.Answer) {
	loads := 0
	for _, b := range a.Boot {
		switch {
		case b.Loads != "":
			loads++
			fact(b.Firmware+" loads", bootWords(&b))
		case q.Firmware != "":
			fact(b.Firmware+" loads", "nothing: "+b.Reason)
		}
	}
	switch {
	case q.Firmware != "" || a.Outcome == leasing.Refused:
	case loads == 0:
		fact("firmware loads", "nothing, of whatever kind; --arch says why")
	case loads < len(a.Boot):
		fact("others load", "nothing; --arch says why")
	}
}

func bootWords(b *leasing.Boot) string {
	if b.From.IsValid() {
		return fmt.Sprintf("%s by %s from %s", b.Loads, b.Over, b.From)
	}
	return b.Loads
}
