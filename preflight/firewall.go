package preflight

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"helperd/plan"
)

// firewalld asks the zone of each interface for what it lets through.
func firewalld(ctx context.Context, p *plan.Plan, env *Env) []Finding {
	state, err := env.Command(ctx, "firewall-cmd", "--state")
	if err != nil || strings.TrimSpace(state) != "running" {
		return nil // not there, or not running
	}
	have, err := env.Interfaces()
	if err != nil {
		return nil // said by addresses
	}
	var found []Finding
	seen := map[string]bool{}
	for _, n := range p.Networks {
		device := deviceOf(n, have)
		zone, err := env.Command(ctx, "firewall-cmd", "--get-zone-of-interface="+device)
		if zone = strings.TrimSpace(zone); err != nil || zone == "" {
			// An interface in no zone is in the default one.
			zone, _ = env.Command(ctx, "firewall-cmd", "--get-default-zone")
			zone = strings.TrimSpace(zone)
		}
		if seen[zone] {
			continue
		}
		seen[zone] = true
		found = append(found, firewalldZone(ctx, p, env, zone, device))
	}
	return found
}

func firewalldZone(ctx context.Context, p *plan.Plan, env *Env, zone, device string) Finding {
	f := Finding{Level: OK, Check: "firewall", Where: fmt.Sprintf("firewalld zone %s (%s)", zone, device), What: "lets all ports through"}
	if target, err := env.Command(ctx, "firewall-cmd", "--permanent", "--zone="+zone, "--get-target"); err == nil && strings.TrimSpace(target) == "ACCEPT" {
		return f
	}
	open, err := env.Command(ctx, "firewall-cmd", "--zone="+zone, "--list-ports")
	if err != nil {
		f.Level, f.What, f.Why = Skipped, "firewall-cmd gives no answer", err.Error()
		return f
	}
	services, _ := env.Command(ctx, "firewall-cmd", "--zone="+zone, "--list-services")
	rules := strings.Fields(open)
	for _, s := range strings.Fields(services) {
		info, _ := env.Command(ctx, "firewall-cmd", "--permanent", "--service="+s, "--get-ports")
		rules = append(rules, strings.Fields(info)...)
	}
	closed := closedBy(rules, portSpecs(p))
	if len(closed) == 0 {
		return f
	}
	f.Level, f.What, f.Why = Problem, "closes "+strings.Join(closed, " "), "nodes do not get through"
	f.Do = fmt.Sprintf("firewall-cmd --permanent --zone=%s --add-port={%s} && firewall-cmd --reload", zone, strings.Join(closed, ","))
	return f
}

// closedBy gives the ports that no rule opens. A rule is PORT/PROTOCOL or FIRST-LAST/PROTOCOL.
func closedBy(rules, ports []string) []string {
	var closed []string
	for _, want := range ports {
		if !slices.ContainsFunc(rules, func(rule string) bool { return opens(rule, want) }) {
			closed = append(closed, want)
		}
	}
	return closed
}

// opens reports whether the rule holds all of the ports.
func opens(rule, ports string) bool {
	lo, hi, protocol, ok1 := parseSpec(rule)
	first, last, want, ok2 := parseSpec(ports)
	return ok1 && ok2 && protocol == want && lo <= first && last <= hi
}

// parseSpec reads PORT/PROTOCOL or FIRST-LAST/PROTOCOL.
func parseSpec(s string) (first, last int, protocol string, ok bool) {
	span, protocol, _ := strings.Cut(s, "/")
	lo, hi, ranged := strings.Cut(span, "-")
	if !ranged {
		hi = lo
	}
	first, err1 := strconv.Atoi(lo)
	last, err2 := strconv.Atoi(hi)
	return first, last, protocol, err1 == nil && err2 == nil
}

// ufw looks whether Ubuntu's firewall is on and names our ports.
func ufw(ctx context.Context, p *plan.Plan, env *Env) []Finding {
	out, err := env.Command(ctx, "ufw", "status")
	if err != nil || !strings.Contains(out, "Status: active") {
		return nil
	}
	var rules []string
	for line := range strings.Lines(out) {
		w := strings.Fields(line)
		if len(w) < 3 || !slices.Contains(w, "ALLOW") {
			continue
		}
		rule := strings.ReplaceAll(w[0], ":", "-")
		if rule == "Anywhere" {
			return []Finding{{Level: OK, Check: "firewall", Where: "ufw", What: "lets some sources through on all ports"}}
		}
		if !strings.Contains(rule, "/") {
			rules = append(rules, rule+"/udp", rule+"/tcp")
			continue
		}
		rules = append(rules, rule)
	}
	closed := closedBy(rules, portSpecs(p))
	if len(closed) == 0 {
		return []Finding{{Level: OK, Check: "firewall", Where: "ufw", What: "lets all ports through"}}
	}
	return []Finding{{
		Level: Problem, Check: "firewall", Where: "ufw", What: "closes " + strings.Join(closed, " "), Why: "nodes do not get through",
		Do: "for each network: ufw allow from " + networkList(p) + "; DHCP comes from 0.0.0.0: ufw allow 67/udp",
	}}
}

func networkList(p *plan.Plan) string {
	var list []string
	for _, n := range p.Networks {
		list = append(list, n.Prefix.Masked().String())
	}
	return strings.Join(list, ", ")
}

// nftables looks for an input chain that drops by default. What its rules let
// through is not worked out, so this is a warning, and none where firewalld
// or ufw, which write such rules, were asked themselves.
func nftables(ctx context.Context, p *plan.Plan, env *Env) []Finding {
	if len(firewalld(ctx, p, env))+len(ufw(ctx, p, env)) > 0 {
		return nil
	}
	out, err := env.Command(ctx, "nft", "list", "ruleset")
	switch {
	case errors.Is(err, exec.ErrNotFound): // the kernel may filter all the same, by rules of iptables-legacy: rare by now
		return []Finding{{Level: OK, Check: "firewall", What: "no firewall tool is installed"}}
	case err != nil:
		return []Finding{{Level: Skipped, Check: "firewall", Where: "nftables", What: "the rules cannot be listed", Why: err.Error(), Do: "run preflight as root"}}
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, "hook input") && strings.Contains(line, "policy drop") {
			return []Finding{{
				Level: Warning, Check: "firewall", Where: "nftables", What: "incoming packets are dropped unless a rule lets them through",
				Why: "nodes must reach " + strings.Join(portSpecs(p), " "), Do: "look for these ports in: nft list ruleset",
			}}
		}
	}
	return []Finding{{Level: OK, Check: "firewall", What: "none closes ports"}}
}
