package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

const (
	checkTries   = 3
	checkTimeout = 500 * time.Millisecond
)

// Check implements services.Service: every address that is bound is asked for
// the SOA of the first zone, or for the first single name. A question that this
// machine cannot send says nothing of the server.
func (s *Service) Check(ctx context.Context) error {
	st := s.state.Load()
	name, qtype := st.probe()
	var errs []error
	for _, sock := range st.sockets {
		if sock.Key.Network == "udp" && sock.Status().Bound {
			errs = append(errs, check(ctx, sock.Key.Addr, name, qtype))
		}
	}
	return errors.Join(errs...)
}

// probe is a question that the state answers with authority. Without a name of our own, any reply will do.
func (st *state) probe() (name string, qtype uint16) {
	if len(st.plan.Zones) > 0 {
		return st.plan.Zones[0].Name, dns.TypeSOA
	}
	if len(st.plan.Names) > 0 {
		return st.plan.Names[0].Name, dns.StringToType[st.plan.Names[0].Type]
	}
	return "", dns.TypeNone
}

func check(ctx context.Context, addr netip.AddrPort, name string, qtype uint16) error {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	if name == "" {
		m.SetQuestion(".", dns.TypeAXFR) // always refused, never asked elsewhere
	}
	// Sockets may be bound to an address that comes later, or whose link is down: asked
	// from itself, it is not reached by way of other machines.
	own := net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr.Addr(), 0))
	client := &dns.Client{Timeout: checkTimeout, Dialer: &net.Dialer{LocalAddr: own}}
	var failure error
	for range checkTries { // a packet may be lost
		conn, err := client.DialContext(ctx, addr.String())
		if err != nil { // no such address here, no descriptor
			break
		}
		reply, _, err := client.ExchangeWithConnContext(ctx, m, conn)
		_ = conn.Close()
		if failure = err; err != nil {
			continue
		}
		if name != "" && (!reply.Authoritative || len(reply.Answer) == 0 && !reply.Truncated) {
			return fmt.Errorf("dns: %s answers %s for %s %s: expected the record", addr, dns.RcodeToString[reply.Rcode], name, dns.Type(qtype))
		}
		return nil
	}
	if failure != nil {
		return fmt.Errorf("dns: %s does not answer: %w", addr, failure)
	}
	return nil
}
