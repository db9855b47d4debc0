package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"helperd/plan"
	"helperd/services/dhcp6/engine"
	"helperd/services/leasing"
	"helperd/state"
	"helperd/timeline"
)

// A Place is where messages can come from.
type Place struct {
	Via   string           // as in leasing.Answer
	Link  []*engine.Subnet // the networks of the interface
	Relay netip.Addr       // link address of the relay agent; not valid: none is between
}

// Relayed is the place behind a relay agent.
func Relayed(relay netip.Addr) Place {
	return Place{Via: "through relay " + relay.String(), Relay: relay}
}

// Behind is the place that only relays reach: network n.
func Behind(n *engine.Subnet) Place {
	return Place{Via: "through a relay", Relay: n.Prefix.Masked().Addr().Next()}
}

// Ask says what the machine of q gets in each of the places that q is about, by
// the engine of each trial, at Unix time now.
func Ask(trial func() *engine.Engine, places []Place, q *leasing.Question, now int64) (out []leasing.Answer) {
	for _, at := range places {
		d := &dialogue{engine: trial(), at: at, q: q, now: now}
		d.before = d.engine.Leases(now)
		d.iaid, d.duid = identity(q, d.before)
		if a, ok := d.answer(); ok {
			out = append(out, a)
		}
	}
	return out
}

// dialogue is what a machine and the server say to each other.
type dialogue struct {
	engine *engine.Engine
	at     Place
	q      *leasing.Question
	now    int64
	iaid   [4]byte
	duid   dhcpv6.DUID
	before []state.Lease    // what was leased before it asked
	events []timeline.Event // of all that was said
}

// identity is how the machine calls itself: as its client id says, if that is one of
// RFC 4361; as in the lease that it has; or by its MAC.
func identity(q *leasing.Question, leases []state.Lease) (iaid [4]byte, duid dhcpv6.DUID) {
	id := q.ClientID
	if len(id) > 5 && id[0] == 0xff {
		id = id[1:]
	} else {
		id = nil
		for i := range leases {
			if leases[i].MAC == q.MAC && leases[i].State == state.Bound {
				id = leases[i].ClientID
			}
		}
	}
	if len(id) > 4 {
		if d, err := dhcpv6.DUIDFromBytes(id[4:]); err == nil {
			return [4]byte(id), d
		}
	}
	return [4]byte(q.MAC[2:]), &dhcpv6.DUIDLL{HWType: 1, LinkLayerAddr: q.MAC[:]}
}

// answer walks the way of a system to its address, and then asks as each
// firmware. False: the question is not about this place.
func (d *dialogue) answer() (a leasing.Answer, ok bool) {
	offer, network := d.say(dhcpv6.MessageTypeSolicit)
	n := d.engine.Policy().At(network)
	if n == nil || !d.concerns(n) {
		return a, false
	}
	a = leasing.Answer{Network: network, Via: d.at.Via, Outcome: leasing.Refused}
	if addr, _ := addressOf(offer); addr.IsValid() {
		reply, _ := d.say(dhcpv6.MessageTypeRequest, dhcpv6.WithOption(offer.Options.GetOne(dhcpv6.OptionServerID)))
		d.replied(&a, n, reply)
	}
	if !a.Address.IsValid() {
		a.Reason = d.refusal()
	}
	for _, f := range d.q.Asked() {
		a.Boot = append(a.Boot, d.boot(&f))
	}
	for _, l := range d.before {
		if l.State == state.Declined && l.MAC == d.q.MAC {
			a.Warnings = append(a.Warnings, fmt.Sprintf("%s is declined until %s: this machine found it in use, or uses it without a lease", l.Address, l.Expires.UTC().Format(time.RFC3339)))
		}
	}
	return a, true
}

func (d *dialogue) concerns(n *engine.Subnet) bool {
	p := d.engine.Policy()
	return d.q.Relay.IsValid() || d.q.Wants(n.Prefix, p.Reserved(d.q.MAC, n) != nil, p.Knows(d.q.MAC)) ||
		d.q.Network.IsValid() && slices.ContainsFunc(d.at.Link, func(n *engine.Subnet) bool { return n.Prefix == d.q.Network })
}

func (d *dialogue) replied(a *leasing.Answer, n *engine.Subnet, m *dhcpv6.Message) {
	if a.Address, a.Lease = addressOf(m); !a.Address.IsValid() {
		return
	}
	a.Options, a.Outcome = options(m), leasing.FromPool
	a.Reason = fmt.Sprintf("no node or host of helper.yaml has this MAC in %s; pool %s is for such machines", n.Prefix, n.Pool)
	for _, l := range d.before {
		if l.Address == a.Address && l.State == state.Bound {
			a.Reason += fmt.Sprintf("; it has this address already, until %s", l.Expires.UTC().Format(time.RFC3339))
		}
	}
	if r := d.engine.Policy().Reserved(d.q.MAC, n); r != nil {
		a.Outcome, a.Node, a.Hostname = leasing.FromReservation, r.Node, r.Hostname
		a.Reason = fmt.Sprintf("helper.yaml gives %s to %s", r.Address, cmp.Or(r.Hostname, "this MAC"))
	}
}

// addressOf is the address that a message gives, and for how long.
func addressOf(m *dhcpv6.Message) (netip.Addr, time.Duration) {
	if m == nil {
		return netip.Addr{}, 0
	}
	for _, ia := range m.Options.IANA() {
		for _, a := range ia.Options.Addresses() {
			if addr, ok := netip.AddrFromSlice(a.IPv6Addr); ok && a.ValidLifetime > 0 {
				return addr, a.ValidLifetime
			}
		}
	}
	return netip.Addr{}, 0
}

// refusal is why the machine got nothing, by the events of it.
func (d *dialogue) refusal() string {
	for i := len(d.events) - 1; i >= 0; i-- {
		if e := &d.events[i]; e.Trouble() {
			return e.Detail
		}
	}
	return "it gets no answer"
}

// boot asks as one firmware.
func (d *dialogue) boot(f *leasing.Firmware) leasing.Boot {
	b, before := leasing.Boot{Firmware: f.Name}, len(d.events)
	d.now++ // the engine tells the same only once a second
	if m, _ := d.say(dhcpv6.MessageTypeSolicit, firmware(f)...); m != nil {
		b.Loads = m.Options.BootFileURL()
		b.Over = leasing.Over(b.Loads)
	}
	for _, e := range d.events[before:] {
		if b.Loads == "" && e.Trouble() {
			b.Reason = e.Detail
		}
	}
	if b.Loads == "" && b.Reason == "" {
		b.Reason = "there is nothing to boot for this machine"
	}
	return b
}

// firmware is what firmware adds to a message (RFC 5970, UEFI specification section 24.7.3).
func firmware(f *leasing.Firmware) []dhcpv6.Modifier {
	class := "PXEClient"
	if f.HTTP {
		class = "HTTPClient"
	}
	add := func(code dhcpv6.OptionCode, b []byte) dhcpv6.Modifier {
		return dhcpv6.WithOption(&dhcpv6.OptionGeneric{OptionCode: code, OptionData: b})
	}
	mods := []dhcpv6.Modifier{
		add(dhcpv6.OptionClientArchType, []byte{byte(f.Arch >> 8), byte(f.Arch)}),
		dhcpv6.WithOption(&dhcpv6.OptVendorClass{EnterpriseNumber: 343, Data: [][]byte{fmt.Appendf(nil, "%s:Arch:%05d:UNDI:003016", class, f.Arch)}}),
	}
	if f.IPXE {
		mods = append(mods, add(dhcpv6.OptionUserClass, []byte("\x00\x04iPXE")))
	}
	return mods
}

// say hands a message to the engine, and gives its answer or nil, and where it counts.
func (d *dialogue) say(kind dhcpv6.MessageType, mods ...dhcpv6.Modifier) (*dhcpv6.Message, netip.Prefix) {
	req := &engine.Request{
		Data: d.message(kind, mods...), From: netip.AddrPortFrom(linkLocal(d.q.MAC), dhcpv6.DefaultClientPort), Multicast: true, Link: d.at.Link,
		Neighbour: d.q.MAC, Asked: true, // so that its own address tells it as a look at the link would
	}
	if d.at.Relay.IsValid() {
		req.Data = d.relayed(req.From.Addr(), req.Data)
		req.From = netip.AddrPortFrom(d.at.Relay, dhcpv6.DefaultServerPort)
	}
	a := d.engine.Handle(req, d.now)
	d.events = append(d.events, a.Events...)
	b := a.Message
	if len(b) > 0 && d.at.Relay.IsValid() {
		around, err := dhcpv6.RelayMessageFromBytes(b)
		if err != nil || around.Options.RelayMessage() == nil {
			return nil, a.Network
		}
		b = around.Options.RelayMessage().ToBytes()
	}
	got, err := dhcpv6.MessageFromBytes(b)
	if err != nil {
		return nil, a.Network
	}
	return got, a.Network
}

// message is one of the machine.
func (d *dialogue) message(kind dhcpv6.MessageType, mods ...dhcpv6.Modifier) []byte {
	m := &dhcpv6.Message{MessageType: kind, TransactionID: dhcpv6.TransactionID{1, 2, 3}}
	m.AddOption(dhcpv6.OptClientID(d.duid))
	m.AddOption(&dhcpv6.OptIANA{IaId: d.iaid})
	m.AddOption(dhcpv6.OptRequestedOption(wanted()...))
	for _, mod := range mods {
		mod(m)
	}
	return m.ToBytes()
}

// relayed is a message as a relay agent hands it on that says whose it is (RFC 6939).
func (d *dialogue) relayed(peer netip.Addr, message []byte) []byte {
	m := &dhcpv6.RelayMessage{MessageType: dhcpv6.MessageTypeRelayForward, LinkAddr: d.at.Relay.AsSlice(), PeerAddr: peer.AsSlice()}
	m.AddOption(dhcpv6.OptClientLinkLayerAddress(1, d.q.MAC[:]))
	m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRelayMsg, OptionData: message})
	return m.ToBytes()
}

// linkLocal is the address that a machine makes of its MAC (RFC 4291 appendix A).
func linkLocal(m plan.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}

// Warn adds to the answers that the machine sends so much that it is not answered, if it does.
func Warn(s *engine.Snapshot, q *leasing.Question, answers []leasing.Answer) []leasing.Answer {
	for i := range answers {
		if s.Limited(linkLocal(q.MAC)) {
			answers[i].Warnings = append(answers[i].Warnings, "it asks too often, and its last messages were not answered for that; see what its DHCP client or firmware does")
		}
	}
	return answers
}

// Plan answers from a plan alone, as if the server had just started.
func Plan(p *plan.Plan, q *leasing.Question, now int64) ([]leasing.Answer, error) {
	policy, err := engine.Compile(&p.DHCP6, nil)
	if err != nil {
		return nil, err
	}
	trial := func() *engine.Engine {
		e := engine.New(&dhcpv6.DUIDLL{HWType: 1, LinkLayerAddr: make([]byte, 6)}, nil)
		e.Adopt(policy, now)
		return e
	}
	var places []Place
	for _, n := range policy.Subnets() {
		places = append(places, Place{Via: "(by the file alone)", Link: []*engine.Subnet{n}})
	}
	if q.Relay.IsValid() {
		places = []Place{Relayed(q.Relay)}
	}
	return Ask(trial, places, q, now), nil
}
