package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/plan"
	"helperd/services/dhcp/engine"
	"helperd/services/dhcp/packet"
	"helperd/services/leasing"
	"helperd/state"
	"helperd/timeline"
)

// A Place is where requests can come from.
type Place struct {
	Via   string           // as in leasing.Answer
	Link  []*engine.Subnet // the networks of the interface
	Relay netip.Addr       // not valid: no relay is between
}

// Relayed is the place behind a relay agent.
func Relayed(relay netip.Addr) Place {
	return Place{Via: "through relay " + relay.String(), Relay: relay}
}

// Behind is the place that only relays reach: network n. Its router is the
// likeliest one.
func Behind(n *engine.Subnet) Place {
	at := n.Router
	if !at.IsValid() {
		at = n.Prefix.Masked().Addr().Next()
	}
	return Place{Via: "through a relay", Relay: at}
}

// Alone is every network by itself, of the policy of a file.
func Alone(p *engine.Policy) (out []Place) {
	for _, n := range p.Subnets() {
		out = append(out, Place{Via: "(by the file alone)", Link: []*engine.Subnet{n}})
	}
	return out
}

// Ask says what the machine of q gets in each of the places that q is about, by
// the engine of each trial, at Unix time now.
func Ask(trial func() *engine.Engine, places []Place, q *leasing.Question, now int64) (out []leasing.Answer) {
	for _, at := range places {
		d := &dialogue{engine: trial(), at: at, q: q, now: now}
		d.before = d.engine.Leases(now)
		if d.concerns() {
			out = append(out, d.answer())
		}
	}
	return out
}

// dialogue is what a machine and the server say to each other.
type dialogue struct {
	engine   *engine.Engine
	at       Place
	q        *leasing.Question
	now      int64
	subnet   *engine.Subnet
	reserved *plan.Reservation // what the file gives to the machine there, or nil
	before   []state.Lease     // what was leased before it asked
	events   []timeline.Event  // of all that was said
}

// concerns finds the network, and reports whether the question is about it.
func (d *dialogue) concerns() bool {
	var req packet.Request
	if req.Parse(d.message(dhcpv4.MessageTypeDiscover)) != nil {
		return false
	}
	p := d.engine.Policy()
	if d.subnet = p.Pick(&req, d.at.Link); d.subnet == nil {
		return false
	}
	d.reserved = p.Reserved(&req, d.subnet)
	return d.q.Relay.IsValid() || d.q.Wants(d.subnet.Prefix, d.reserved != nil, p.Knows(&req)) ||
		d.q.Network.IsValid() && slices.ContainsFunc(d.at.Link, func(n *engine.Subnet) bool { return n.Prefix == d.q.Network })
}

// answer walks the way of a system to its address, and then asks as each firmware.
func (d *dialogue) answer() leasing.Answer {
	a := leasing.Answer{Network: d.subnet.Prefix, Via: d.at.Via, Outcome: leasing.Refused}
	got := d.say(dhcpv4.MessageTypeDiscover)
	if got != nil && got.MessageType() == dhcpv4.MessageTypeOffer && !got.YourIPAddr.IsUnspecified() {
		got = d.say(dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptServerIdentifier(got.ServerIdentifier())),
			dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(got.YourIPAddr)))
	}
	if got != nil && got.MessageType() == dhcpv4.MessageTypeAck {
		d.acked(&a, got)
	} else {
		a.Reason = d.refusal()
	}
	d.boots(&a)
	if d.subnet.Mode == plan.ModeProxy {
		a.Outcome = leasing.BootOnly
		a.Reason = fmt.Sprintf("network %s has mode: proxy: its own DHCP server gives the address, and helperd tells nodes what to boot", d.subnet.Prefix)
	}
	d.warn(&a)
	return a
}

func (d *dialogue) acked(a *leasing.Answer, got *dhcpv4.DHCPv4) {
	a.Address, _ = netip.AddrFromSlice(got.YourIPAddr.To4())
	a.Hostname, a.Lease, a.Options = got.HostName(), got.IPAddressLeaseTime(0), options(got)
	a.Outcome = leasing.FromPool
	a.Reason = fmt.Sprintf("no node or host of helper.yaml has this MAC in %s; pool %s is for such machines", d.subnet.Prefix, d.subnet.Pool)
	if l := d.leased(a.Address); l != nil {
		a.Reason += fmt.Sprintf("; it has this address already, until %s", l.Expires.UTC().Format(time.RFC3339))
	}
	if r := d.reserved; r != nil {
		a.Outcome, a.Node = leasing.FromReservation, r.Node
		a.Reason = fmt.Sprintf("helper.yaml gives %s to %s", r.Address, cmp.Or(r.Hostname, "this MAC"))
	}
}

// leased is the lease that the machine has had before it asked here, or nil.
func (d *dialogue) leased(addr netip.Addr) *state.Lease {
	for _, l := range d.before {
		if l.Address == addr && l.MAC == d.q.MAC && l.State == state.Bound {
			return &l
		}
	}
	return nil
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

// boots asks as each firmware of the question.
func (d *dialogue) boots(a *leasing.Answer) {
	for _, f := range d.q.Asked() {
		before := len(d.events)
		d.now++ // the engine tells the same only once a second
		b := leasing.Boot{Firmware: f.Name}
		if got := d.say(dhcpv4.MessageTypeDiscover, d.firmware(&f)...); got != nil {
			b.Loads = got.BootFileNameOption()
			b.Loads = cmp.Or(b.Loads, got.BootFileName, string(got.Options.Get(dhcpv4.GenericOptionCode(packet.PathPrefix)))+string(got.Options.Get(dhcpv4.GenericOptionCode(packet.ConfigFile))))
			b.Over = leasing.Over(b.Loads)
			if b.Over == "TFTP" {
				b.From, _ = netip.AddrFromSlice(got.ServerIPAddr.To4())
			}
		}
		for _, e := range d.events[before:] {
			if b.Loads == "" && e.Trouble() {
				b.Reason = e.Detail
			}
		}
		if b.Loads == "" && b.Reason == "" {
			b.Reason = "there is nothing to boot for this machine"
		}
		a.Boot = append(a.Boot, b)
	}
}

// warn tells of other servers, and of addresses that the machine found in use.
func (d *dialogue) warn(a *leasing.Answer) {
	for _, f := range d.engine.Foreign(d.now) {
		if f.Network != d.subnet.Prefix {
			continue
		}
		by := ""
		if !f.MAC.IsZero() {
			by = " (MAC " + f.MAC.String() + ")"
		}
		a.Warnings = append(a.Warnings, fmt.Sprintf("another DHCP server, %s%s, answers on network %s; the machine may take its offer", f.Server, by, f.Network))
	}
	for _, l := range d.before {
		if l.State == state.Declined && l.MAC == d.q.MAC {
			a.Warnings = append(a.Warnings, fmt.Sprintf("%s is declined until %s: this machine found it in use, or uses it without a lease", l.Address, l.Expires.UTC().Format(time.RFC3339)))
		}
	}
}

// say hands a message to the engine, and gives its answer or nil.
func (d *dialogue) say(kind dhcpv4.MessageType, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	var req packet.Request
	var a engine.Answer
	if req.Parse(d.message(kind, mods...)) != nil {
		return nil
	}
	d.engine.Handle(&req, d.at.Link, d.now, &a)
	d.events = append(d.events, a.Events...)
	if len(a.Frame) == 0 {
		return nil
	}
	got, err := dhcpv4.FromBytes(a.Frame[packet.Headers:])
	if err != nil {
		return nil
	}
	return got
}

// message is a request of the machine.
func (d *dialogue) message(kind dhcpv4.MessageType, mods ...dhcpv4.Modifier) []byte {
	all := []dhcpv4.Modifier{
		dhcpv4.WithHwAddr(d.q.MAC[:]), dhcpv4.WithMessageType(kind), dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(1500)),
		dhcpv4.WithOption(dhcpv4.OptParameterRequestList(wanted()...)),
	}
	if d.at.Relay.IsValid() {
		all = append(all, dhcpv4.WithRelay(d.at.Relay.AsSlice()))
	}
	if len(d.q.ClientID) > 0 {
		all = append(all, dhcpv4.WithOption(dhcpv4.OptClientIdentifier(d.q.ClientID)))
	}
	m, err := dhcpv4.New(append(all, mods...)...)
	if err != nil {
		return nil
	}
	return m.ToBytes()
}

// firmware is what firmware adds to a request (RFC 4578, UEFI specification section 24.7).
func (d *dialogue) firmware(f *leasing.Firmware) []dhcpv4.Modifier {
	class := "PXEClient"
	if f.HTTP {
		class = "HTTPClient"
	}
	mods := []dhcpv4.Modifier{
		dhcpv4.WithOption(dhcpv4.OptClassIdentifier(fmt.Sprintf("%s:Arch:%05d:UNDI:003016", class, f.Arch))),
		dhcpv4.WithGeneric(dhcpv4.OptionClientSystemArchitectureType, []byte{byte(f.Arch >> 8), byte(f.Arch)}),
	}
	if f.IPXE {
		mods = append(mods, dhcpv4.WithGeneric(dhcpv4.OptionUserClassInformation, []byte("iPXE")))
	}
	return mods
}

// Plan answers from a plan alone, as if the server had just started.
func Plan(p *plan.Plan, q *leasing.Question, now int64) ([]leasing.Answer, error) {
	policy, err := engine.Compile(&p.DHCP, nil)
	if err != nil {
		return nil, err
	}
	trial := func() *engine.Engine {
		e := engine.New(nil)
		e.Adopt(policy, now)
		return e
	}
	places := Alone(policy)
	if q.Relay.IsValid() {
		places = []Place{Relayed(q.Relay)}
	}
	return Ask(trial, places, q, now), nil
}
