package ra

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/ipv6"

	"helperd/internal/netif"
	"helperd/plan"
)

var (
	allNodes   = netip.MustParseAddr("ff02::1")
	allRouters = netip.MustParseAddr("ff02::2")
)

// longestSend is how long a full send buffer may hold a link up.
const longestSend = time.Second

// conn is what is used of ndp.Conn.
type conn interface {
	ReadRaw(b []byte) (int, *ipv6.ControlMessage, netip.Addr, error)
	WriteTo(m ndp.Message, cm *ipv6.ControlMessage, dst netip.Addr) error
	SetWriteDeadline(t time.Time) error
	Close() error
}

// link is one interface that is advertised on, from the moment its link-local
// address is there until it goes or nothing is left to say.
type link struct {
	s     *Service
	name  string
	index int
	addr  netip.Addr // link-local
	conn  conn
	wake  chan struct{} // has an element when schedule changed

	stop    context.CancelFunc
	mute    atomic.Bool // nothing can be sent any more
	closed  atomic.Bool
	reading <-chan struct{}
	sending <-chan struct{}

	mu       sync.Mutex
	schedule schedule
	expect   expectation // its content is what is said
	gone     content     // what is taken back
	taking   int         // in so many more advertisements
	mac      plan.MAC
	carrier  bool
	looked   time.Time // when it was looked for other routers
	routers  []*router
	left     int // options that there is no room for
}

func newLink(s *Service, i *netif.Interface, addr netip.Addr, c conn) *link {
	return &link{s: s, name: i.Name, index: i.Index, addr: addr, conn: c, wake: make(chan struct{}, 1)}
}

// open takes the socket of i. An address that is not ready yet (RFC 4862 section
// 5.4) cannot be bound, and one that another machine has never can.
func open(i *netif.Interface) (conn, netip.Addr, error) {
	err := errors.New("no link-local address")
	for _, a := range i.LinkLocal() {
		c, _, bad := ndp.Listen(device(i.Index), ndp.Addr(a.String()))
		if bad == nil {
			if bad = configure(c); bad == nil {
				return c, a, nil
			}
			_ = c.Close()
		}
		err = bad
	}
	return nil, netip.Addr{}, err
}

// device is what ndp needs of an interface. Its name becomes the zone of addresses,
// and package net knows for a minute only which index a name had: an interface that is
// made anew under its name would be mute for so long. It takes the index itself too.
func device(index int) *net.Interface {
	return &net.Interface{Index: index, Name: strconv.Itoa(index)}
}

func configure(c *ndp.Conn) error {
	var f ipv6.ICMPFilter
	f.SetAll(true)
	f.Accept(ipv6.ICMPTypeRouterSolicitation)
	f.Accept(ipv6.ICMPTypeRouterAdvertisement)
	return errors.Join(c.SetICMPFilter(&f), c.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagDst, true), c.JoinGroup(allRouters))
}

// start makes the link read and advertise until ctx ends or it is closed.
func (l *link) start(ctx context.Context) {
	ctx, l.stop = context.WithCancel(ctx)
	l.reading = l.s.host.Guard.Loop(ctx, "read "+l.name, l.read)
	l.sending = l.s.host.Guard.Loop(ctx, "advertise "+l.name, l.advertise)
}

// end waits for the last advertisement, unless the link is mute, and closes the link.
func (l *link) end() {
	l.stop()
	<-l.sending
	l.closed.Store(true)
	_ = l.conn.Close()
	<-l.reading
}

// update takes over what is to be said now. Only a changed file takes back what
// was said before: an interface that loses its address for a moment does not.
func (l *link) update(e expectation, i *netif.Interface, reloaded bool, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.empty() {
		e.managed = l.expect.managed // no reason to let go of an address
	}
	changed := !e.content.equal(l.expect.content) || i.MAC != l.mac || i.Carrier && !l.carrier
	if changed {
		old := l.expect.content
		if !reloaded {
			old = content{routes: old.routes}
		}
		l.gone, l.taking = e.withdrawn(old, l.gone), initialCount
		// What this machine has an address in is on the link, whoever says so.
		l.gone.prefixes = slices.DeleteFunc(l.gone.prefixes, func(p netip.Prefix) bool { return i.Within(p) || slices.Contains(e.known, p) })
		l.schedule.announce(now)
		l.poke()
	}
	l.expect, l.mac, l.carrier = e, i.MAC, i.Carrier
}

// finished reports whether the link has nothing left to say.
func (l *link) finished() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.expect.empty() && l.taking == 0
}

// poke makes advertise look at the schedule again.
func (l *link) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// advertise sends what is due until ctx ends, and then the last one.
func (l *link) advertise(ctx context.Context) error {
	for {
		l.mu.Lock()
		due := l.schedule.due()
		l.mu.Unlock()
		timer := time.NewTimer(time.Until(due))
		select {
		case <-ctx.Done():
			timer.Stop()
			l.farewell()
			return nil
		case <-l.wake:
			timer.Stop()
		case <-timer.C:
			l.sendDue(time.Now())
		}
	}
}

// sendDue sends what is due.
func (l *link) sendDue(now time.Time) {
	l.mu.Lock()
	all, some := l.schedule.take(now)
	m, left := l.expect.message(l.gone, l.mac)
	l.left = left
	if all && l.taking > 0 {
		if l.taking--; l.taking == 0 {
			l.gone = content{}
		}
	}
	l.mu.Unlock()
	if all {
		l.send(m, allNodes, &l.s.count.multicast)
	}
	for _, to := range some {
		l.send(m, to, &l.s.count.unicast)
	}
}

// farewell says that this machine is no router any more. It comes at once, also
// within 3 s of another: a daemon that ends must not make its successor wait.
func (l *link) farewell() {
	if l.mute.Load() {
		return
	}
	l.mu.Lock()
	rest, gone := l.expect.last()
	m, _ := rest.message(gone, l.mac)
	l.mu.Unlock()
	l.send(m, allNodes, &l.s.count.multicast)
}

func (l *link) send(m ndp.Message, to netip.Addr, count *atomic.Uint64) {
	_ = l.conn.SetWriteDeadline(time.Now().Add(longestSend))
	if err := l.conn.WriteTo(m, nil, to); err != nil {
		// The interface goes, or nobody is at the other end: the next one will tell.
		l.s.count.unsent.Add(1)
		l.s.host.Log.Debug("advertisement not sent", "interface", l.name, "to", to, "err", err)
		return
	}
	count.Add(1)
}
