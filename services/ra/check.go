package ra

import (
	"context"
	"fmt"
	"time"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/ipv6"

	"helperd/plan"
)

// Check implements services.Service. It solicits an advertisement from this
// machine's own link-local address at the same one, so that nothing leaves the
// machine: on the link every router would answer, to all.
func (s *Service) Check(ctx context.Context) error {
	for _, l := range s.running() {
		if l.finished() {
			continue
		}
		if err := l.ask(ctx); err != nil {
			return fmt.Errorf("no advertisement of %s: %w", l.name, err)
		}
	}
	return nil
}

// ask waits for an answer until ctx ends, at most for a second.
func (l *link) ask(ctx context.Context) error {
	c, _, err := ndp.Listen(device(l.index), ndp.Addr(l.addr.String()))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	var f ipv6.ICMPFilter
	f.SetAll(true)
	f.Accept(ipv6.ICMPTypeRouterAdvertisement)
	deadline := time.Now().Add(time.Second)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := c.SetICMPFilter(&f); err != nil {
		return err
	}
	_ = c.SetDeadline(deadline)
	if err := c.WriteTo(solicitation(plan.MAC{}), nil, l.addr); err != nil {
		return err
	}
	b := make([]byte, largest)
	for {
		_, _, from, err := c.ReadRaw(b)
		if err != nil {
			return err
		}
		if from.WithZone("") == l.addr {
			return nil
		}
	}
}

// answerCheck answers ask at once.
func (l *link) answerCheck() {
	l.mu.Lock()
	m, _ := l.expect.message(content{}, l.mac)
	l.mu.Unlock()
	l.send(m, l.addr, &l.s.count.checks)
}
