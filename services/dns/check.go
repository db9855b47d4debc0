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

// Check implements services.Service: every address that is on this machine and
// bound is asked for the SOA of the first zone, or for the first single name.
func (s *Service) Check(ctx context.Context) error {
	st := s.state.Load()
	name, qtype := st.probe()
	var errs []error
	for _, sock := range st.sockets {
		if sock.Key.Network == "udp" && sock.Status().Bound && local(sock.Key.Addr.Addr()) {
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
	client := &dns.Client{Timeout: checkTimeout}
	var err error
	for range checkTries { // a packet may be lost
		var reply *dns.Msg
		if reply, _, err = client.ExchangeContext(ctx, m, addr.String()); err != nil {
			continue
		}
		if name != "" && (!reply.Authoritative || len(reply.Answer) == 0) {
			return fmt.Errorf("dns: %s answers %s for %s %s: expected the record", addr, dns.RcodeToString[reply.Rcode], name, dns.Type(qtype))
		}
		return nil
	}
	return fmt.Errorf("dns: %s does not answer: %w", addr, err)
}

// local reports whether addr is on this machine. Sockets may be bound to an
// address that comes later, and a question to it would leave the machine.
func local(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if p, ok := a.(*net.IPNet); ok {
			if have, ok := netip.AddrFromSlice(p.IP); ok && have.Unmap() == addr.Unmap() {
				return true
			}
		}
	}
	return false
}
