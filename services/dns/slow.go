package dns

import (
	"bytes"
	"context"
	"errors"
	"net"
	"time"

	"github.com/miekg/dns"

	"helperd/services/dns/chain"
	"helperd/services/dns/wire"
	"helperd/services/dns/zone"
)

// askFor is how long the forwarders have. Clients ask again after 5 s.
const askFor = 6 * time.Second

// A question is one for the forwarders. wire.Answer has found it well formed.
type question struct {
	msg    []byte
	base   []byte // our part of the reply; it ends in a CNAME to target
	target string // presentation form; empty: the question's own name is asked for
	client wire.Client
	from   net.Addr
	limit  int // bytes of the largest reply
}

func newQuestion(msg, base []byte, target string, c wire.Client, from net.Addr, limit int) *question {
	return &question{msg: bytes.Clone(msg), base: bytes.Clone(base), target: target, client: c, from: from, limit: limit}
}

// later answers q in a goroutine, unless too many questions wait already. done is called when it is through.
func (s *Service) later(ctx context.Context, q *question, done func(), send func([]byte), count *counters) bool {
	select {
	case s.slow <- struct{}{}:
	default:
		return false
	}
	s.host.Guard.Go("dns question", func() {
		defer done()
		defer func() { <-s.slow }()
		reply := s.ask(ctx, q)
		if reply == nil {
			count.dropped.Add(1)
			return
		}
		count.slow.Add(1)
		count.rcodes[reply[3]&15].Add(1)
		send(reply)
	})
	return true
}

// ask gives the reply to q, or nil if there is none.
func (s *Service) ask(ctx context.Context, q *question) []byte {
	var base *dns.Msg
	if q.target != "" {
		base = new(dns.Msg)
		if base.Unpack(q.base) != nil || base.Truncated {
			return q.base // no room for the CNAMEs: the client has to come over TCP
		}
	}
	request := new(dns.Msg)
	if err := request.Unpack(q.msg); err != nil {
		return q.pack(new(dns.Msg).SetRcode(request, dns.RcodeFormatError), request, nil)
	}
	upstream := forwardable(request, q.target)
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	reply, err := s.resolve(ctx, q.from, upstream)
	if err != nil {
		reply = new(dns.Msg).SetRcode(upstream, dns.RcodeServerFailure)
	}
	if reply.Rcode == dns.RcodeNameError && s.state.Load().single(upstream.Question[0].Name) {
		// The name exists, here. Whoever asks for A and AAAA must not be told that it does not.
		reply.Rcode = dns.RcodeSuccess
	}
	return q.pack(reply, request, base)
}

// resolve asks the chain; when it was replaced in this moment, its successor.
func (s *Service) resolve(ctx context.Context, from net.Addr, m *dns.Msg) (*dns.Msg, error) {
	for {
		c := s.state.Load().chain
		if c == nil {
			return new(dns.Msg).SetRcode(m, dns.RcodeRefused), nil
		}
		reply, err := c.Ask(ctx, from, m)
		if !errors.Is(err, chain.ErrStopped) || s.state.Load().chain == c {
			return reply, err
		}
	}
}

// forwardable is what the forwarders are asked: the question, with our payload size and no options of the client.
func forwardable(request *dns.Msg, target string) *dns.Msg {
	m := new(dns.Msg)
	m.Id = dns.Id()
	m.RecursionDesired, m.CheckingDisabled = true, request.CheckingDisabled
	m.Question = []dns.Question{request.Question[0]}
	if target != "" {
		m.Question[0].Name = target
	}
	if opt := request.IsEdns0(); opt != nil {
		m.SetEdns0(min(max(opt.UDPSize(), dns.MinMsgSize), wire.MaxUDP), opt.Do())
	}
	return m
}

// pack makes the forwarders' reply that of request, behind our part of it.
func (q *question) pack(reply, request, base *dns.Msg) []byte {
	out := &dns.Msg{
		Answer: reply.Answer, Ns: reply.Ns, Question: request.Question,
		MsgHdr: dns.MsgHdr{
			Id: request.Id, Response: true, Rcode: reply.Rcode, Truncated: reply.Truncated,
			RecursionDesired: request.RecursionDesired, CheckingDisabled: request.CheckingDisabled, RecursionAvailable: true,
		},
		Compress: true,
	}
	if base != nil { // RFC 6604: AA is that of the first name, the code that of the last
		out.Authoritative = true
		out.Answer = append(base.Answer, reply.Answer...)
	}
	for _, rr := range reply.Extra {
		if rr.Header().Rrtype != dns.TypeOPT {
			out.Extra = append(out.Extra, rr)
		}
	}
	if opt := request.IsEdns0(); opt != nil {
		out.SetEdns0(wire.MaxUDP, opt.Do())
	} else if out.Rcode > 15 {
		out.Rcode = dns.RcodeServerFailure // needs an OPT record to be said
	}
	out.Truncate(q.limit)
	b, err := out.Pack()
	if err != nil {
		return nil
	}
	return b
}

// single reports whether name is one of ours outside the zones.
func (st *state) single(name string) bool {
	var q wire.Query
	if !q.SetName(name) {
		return false
	}
	_, kind := st.table.Find(q.Name(), q.Labels(), dns.TypeNone)
	return kind == zone.Single
}
