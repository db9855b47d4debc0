package ghost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// ask puts one question to the node's DNS servers, as a stub resolver does:
// by UDP, again by TCP when the answer is truncated, the next server on silence.
func (r *run) ask(ctx context.Context, name string, kind uint16) ([]dns.RR, error) {
	if len(r.lease.dns) == 0 {
		return nil, errors.New("the lease gives no DNS server (option 6)")
	}
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	q.SetEdns0(1232, false)
	var errs []error
	for range 2 {
		for _, server := range r.lease.dns {
			answer, err := r.exchange(ctx, "udp", server, q)
			if err == nil && answer.Truncated {
				answer, err = r.exchange(ctx, "tcp", server, q)
			}
			switch {
			case ctx.Err() != nil:
				return nil, ctx.Err()
			case err != nil:
				errs = append(errs, fmt.Errorf("ask %s for %s %s: %w", server, name, dns.TypeToString[kind], err))
			case answer.Rcode != dns.RcodeSuccess:
				return nil, fmt.Errorf("%s says %s for %s %s", server, dns.RcodeToString[answer.Rcode], name, dns.TypeToString[kind])
			default:
				return answer.Answer, nil
			}
		}
	}
	return nil, errors.Join(errs...)
}

func (r *run) exchange(ctx context.Context, network string, server netip.Addr, q *dns.Msg) (*dns.Msg, error) {
	c, err := r.link.Dial(ctx, network, net.JoinHostPort(server.String(), "53"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	asker := dns.Client{Net: network, Timeout: 2 * time.Second, UDPSize: 1232}
	answer, _, err := asker.ExchangeWithConnContext(ctx, q, &dns.Conn{Conn: c})
	return answer, err
}

// lookup gives the IPv4 addresses of name.
func (r *run) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	answer, err := r.ask(ctx, name, dns.TypeA)
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, rr := range answer {
		if a, ok := rr.(*dns.A); ok {
			addrs = append(addrs, addr(a.A))
		}
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%s has no address (A record)", name)
	}
	return addrs, nil
}

// fqdn is the node's full name, from options 12 and 15.
func (r *run) fqdn() string {
	if strings.Contains(r.lease.host, ".") || r.lease.domain == "" {
		return r.lease.host
	}
	return r.lease.host + "." + r.lease.domain
}

// zone is the cluster's zone: what follows the node's own name.
func (r *run) zone() string {
	_, zone, _ := strings.Cut(r.fqdn(), ".")
	return zone
}

// names resolves all that an OpenShift node needs to resolve.
func (r *run) names(ctx context.Context) (string, error) {
	own, zone := r.fqdn(), r.zone()
	addrs, err := r.lookup(ctx, own)
	if err != nil {
		return "", err
	}
	if addrs[0] != r.addr {
		return "", fmt.Errorf("%s resolves to %s and the node has %s", own, addrs[0], r.addr)
	}
	reverse, err := dns.ReverseAddr(r.addr.String())
	if err != nil {
		return "", err
	}
	answer, err := r.ask(ctx, reverse, dns.TypePTR)
	if err != nil {
		return "", err
	}
	if len(answer) != 1 {
		return "", fmt.Errorf("%s has %d PTR records; it should have one", r.addr, len(answer))
	}
	if ptr, ok := answer[0].(*dns.PTR); !ok || ptr.Ptr != dns.Fqdn(own) {
		return "", fmt.Errorf("the PTR of %s is %s and the node is %s: it would come up with the wrong name", r.addr, answer[0], own)
	}
	wanted := []string{"api." + zone, "api-int." + zone, "console-openshift-console.apps." + zone}
	known := "api, api-int, *.apps"
	if r.Outside != "" {
		wanted = append(wanted, r.Outside)
		known += ", " + r.Outside
	}
	for _, name := range wanted {
		if _, err := r.lookup(ctx, name); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("is %s both ways; %s resolve", own, known), nil
}
