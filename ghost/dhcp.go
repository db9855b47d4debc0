package ghost

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// lease is what a node learned by DHCP.
type lease struct {
	prefix   netip.Prefix
	server   netip.Addr // option 54
	next     netip.Addr // siaddr, else option 66: where the boot file is
	bootFile string
	router   netip.Addr
	dns      []netip.Addr
	host     string // option 12
	domain   string // option 15
}

// dhcp does DISCOVER, OFFER, REQUEST, ACK as c, from mac on w. The socket is a
// raw one: a machine without an address has no other.
func dhcp(ctx context.Context, w wire, mac net.HardwareAddr, c client) (lease, error) {
	var conn *rawConn
	err := w.Do(func() (err error) {
		conn, err = openRaw(mac)
		return err
	})
	if err != nil {
		return lease{}, fmt.Errorf("open a raw socket: %w", err)
	}
	defer func() { _ = conn.Close() }()

	x := exchange{conn: conn, mac: mac, client: c}
	if _, err := rand.Read(x.xid[:]); err != nil {
		return lease{}, err
	}
	offer, err := x.discover(ctx)
	if err != nil {
		return lease{}, err
	}
	ack, err := x.request(ctx, offer)
	if err != nil {
		return lease{}, err
	}
	if err := sameBoot(offer, ack); err != nil {
		return lease{}, err
	}
	return c.read(ack)
}

type exchange struct {
	conn   *rawConn
	mac    net.HardwareAddr
	xid    dhcpv4.TransactionID
	client client
}

// waited is how long the client asked in vain.
func (x *exchange) waited() (total time.Duration) {
	for _, w := range x.client.waits {
		total += w
	}
	return total
}

func (x *exchange) discover(ctx context.Context) (*dhcpv4.DHCPv4, error) {
	p, err := x.client.packet(x.mac, x.xid, dhcpv4.MessageTypeDiscover)
	if err != nil {
		return nil, err
	}
	useless := ""
	offer, err := x.ask(ctx, p, func(r *dhcpv4.DHCPv4) (bool, error) {
		if r.MessageType() != dhcpv4.MessageTypeOffer {
			return false, nil
		}
		useless = x.client.refuses(r)
		return useless == "", nil
	})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && useless != "":
		return nil, fmt.Errorf("an offer came that this client does not take: %s", useless)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("no DHCPOFFER within %s for %s: is DHCP served on this network, and the MAC known", x.waited(), x.mac)
	}
	return offer, err
}

// refuses says why the client would not take an offer; empty: it takes it.
func (c client) refuses(offer *dhcpv4.DHCPv4) string {
	if c.wantURL {
		if got := offer.ClassIdentifier(); got != "HTTPClient" {
			return fmt.Sprintf("option 60 is %q and UEFI HTTP Boot wants HTTPClient", got)
		}
		if !strings.HasPrefix(bootFile(offer), "http") {
			return fmt.Sprintf("boot file is %q and UEFI HTTP Boot wants a URL", bootFile(offer))
		}
	}
	if c.pxe && bootFile(offer) == "" {
		return "it names no boot file"
	}
	return ""
}

func (x *exchange) request(ctx context.Context, offer *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, error) {
	p, err := x.client.packet(x.mac, x.xid, dhcpv4.MessageTypeRequest)
	if err != nil {
		return nil, err
	}
	p.UpdateOption(dhcpv4.OptRequestedIPAddress(offer.YourIPAddr))
	p.UpdateOption(dhcpv4.OptServerIdentifier(offer.ServerIdentifier()))
	ack, err := x.ask(ctx, p, func(r *dhcpv4.DHCPv4) (bool, error) {
		switch r.MessageType() {
		case dhcpv4.MessageTypeAck:
			return true, nil
		case dhcpv4.MessageTypeNak:
			return false, fmt.Errorf("DHCPNAK for %s: %s", offer.YourIPAddr, r.Message())
		}
		return false, nil
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, fmt.Errorf("%s was offered and no DHCPACK came within %s", offer.YourIPAddr, x.waited())
	}
	return ack, err
}

// ask sends p, again after every wait, until take accepts a reply.
func (x *exchange) ask(ctx context.Context, p *dhcpv4.DHCPv4, take func(*dhcpv4.DHCPv4) (bool, error)) (*dhcpv4.DHCPv4, error) {
	started := time.Now()
	for _, wait := range x.client.waits {
		p.NumSeconds = uint16(time.Since(started) / time.Second)
		if err := x.conn.broadcast(p.ToBytes()); err != nil {
			return nil, fmt.Errorf("send %s: %w", p.MessageType(), err)
		}
		for deadline := time.Now().Add(wait); ; {
			b, err := receive(ctx, x.conn, deadline, x.conn.read)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return nil, err
			}
			r, err := dhcpv4.FromBytes(b)
			if err != nil || r.OpCode != dhcpv4.OpcodeBootReply || r.TransactionID != x.xid || r.ClientHWAddr.String() != x.mac.String() {
				continue
			}
			if ok, err := take(r); ok || err != nil {
				return r, err
			}
		}
	}
	return nil, os.ErrDeadlineExceeded
}

// receive calls read until it gives something, the deadline is over or ctx
// ends. It looks up at ctx ten times a second.
func receive(ctx context.Context, conn interface{ SetReadDeadline(time.Time) error }, deadline time.Time, read func() ([]byte, error)) ([]byte, error) {
	const glance = 100 * time.Millisecond
	for {
		until := time.Now().Add(glance)
		last := !until.Before(deadline)
		if last {
			until = deadline
		}
		if err := conn.SetReadDeadline(until); err != nil {
			return nil, err
		}
		b, err := read()
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err == nil:
			return b, nil
		case last || !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, err
		}
	}
}

// bootFile is option 67, or the file field.
func bootFile(p *dhcpv4.DHCPv4) string {
	// Some servers end the option with a zero byte, and firmware copes with it.
	if f := strings.TrimRight(p.BootFileNameOption(), "\x00"); f != "" {
		return f
	}
	return p.BootFileName
}

// sameBoot: ROMs differ in which of the two packets they believe.
func sameBoot(offer, ack *dhcpv4.DHCPv4) error {
	if !offer.YourIPAddr.Equal(ack.YourIPAddr) {
		return fmt.Errorf("%s was offered and %s acknowledged", offer.YourIPAddr, ack.YourIPAddr)
	}
	if bootFile(offer) != bootFile(ack) || !offer.ServerIPAddr.Equal(ack.ServerIPAddr) {
		return fmt.Errorf("the offer names %q at %s and the acknowledgement %q at %s: ROMs differ in which one they believe",
			bootFile(offer), offer.ServerIPAddr, bootFile(ack), ack.ServerIPAddr)
	}
	return nil
}

// read takes from ack what the client needs, and says what is missing.
func (c client) read(ack *dhcpv4.DHCPv4) (lease, error) {
	ip, mask := addr(ack.YourIPAddr), ack.SubnetMask()
	if !ip.IsValid() || ip.IsUnspecified() {
		return lease{}, errors.New("the acknowledgement gives no address")
	}
	ones, bits := mask.Size()
	if mask == nil || bits != 32 {
		return lease{}, errors.New("the acknowledgement gives no subnet mask (option 1)")
	}
	l := lease{
		prefix: netip.PrefixFrom(ip, ones), server: addr(ack.ServerIdentifier()), next: addr(ack.ServerIPAddr), bootFile: bootFile(ack),
		host: ack.HostName(), domain: ack.DomainName(),
	}
	if !l.next.IsValid() || l.next.IsUnspecified() {
		l.next, _ = netip.ParseAddr(ack.TFTPServerName())
	}
	if routers := ack.Router(); len(routers) > 0 {
		l.router = addr(routers[0])
	}
	for _, d := range ack.DNS() {
		l.dns = append(l.dns, addr(d))
	}
	if !c.wantHost {
		return l, nil
	}
	switch {
	case l.host == "" || strings.HasPrefix(l.host, "localhost"):
		return l, fmt.Errorf("the lease gives the name %q (option 12): the node would come up as localhost", l.host)
	case len(l.dns) == 0:
		return l, errors.New("the lease gives no DNS server (option 6)")
	}
	return l, nil
}

// addr copies ip.
func addr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
