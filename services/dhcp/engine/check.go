package engine

import (
	"fmt"

	"helperd/services/dhcp/packet"
)

// Check asks the engine for the parameters of the first machine that it gives a
// reserved address to, as that machine would, and changes nothing.
func (e *Engine) Check(now int64) error {
	counts, off := e.count, e.limits.off
	e.limits.off = true
	defer func() { e.count, e.limits.off = counts, off }()
	for _, list := range e.policy.byMAC {
		r := list[0]
		if r.subnet.proxied() {
			continue
		}
		var req, got packet.Request
		if err := req.Parse(packet.NewInform(r.MAC, r.Address)); err != nil {
			return fmt.Errorf("own request: %w", err)
		}
		var a Answer
		e.Handle(&req, []*Subnet{r.subnet}, now, &a)
		if len(a.Frame) == 0 {
			return fmt.Errorf("no answer for %s (%s)", r.MAC, r.Address)
		}
		if err := got.ParseReply(a.Frame[packet.Headers:]); err != nil {
			return fmt.Errorf("answer for %s: %w", r.MAC, err)
		}
		if got.Type != packet.Ack || got.Server != r.subnet.Server || a.To.Addr() != r.Address {
			return fmt.Errorf("answer for %s is of type %d from %s to %s", r.MAC, got.Type, got.Server, a.To)
		}
		return nil
	}
	return nil // nobody to ask for
}
