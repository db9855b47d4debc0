package ra

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/ipv6"

	"helperd/plan"
)

// Types of options that are read (RFC 4861 section 4.6). All others are skipped
// as section 6.1 wants it, and so is one of these that makes no sense.
const (
	optSource = 1
	optPrefix = 3
	optMTU    = 5
)

var errInvalid = errors.New("invalid")

// message is a router solicitation or advertisement that passed the checks of
// RFC 4861 section 6.1.
type message struct {
	from netip.Addr // zero zone; :: in solicitations of machines without an address
	mac  plan.MAC   // of the option, else of the address; zero: neither tells
	ra   *ndp.RouterAdvertisement
}

// parse reads what was received. The kernel has checked the checksum.
func parse(b []byte, hops int, from netip.Addr) (message, error) {
	m := message{from: from.WithZone("")}
	if hops != ndp.HopLimit || len(b) < 8 || b[1] != 0 { // from beyond a router, too short, another code
		return m, errInvalid
	}
	switch ipv6.ICMPType(b[0]) {
	case ipv6.ICMPTypeRouterSolicitation:
		_, err := m.options(b, 8)
		if err == nil && m.from.IsUnspecified() && !m.mac.IsZero() {
			err = errInvalid
		}
		return m, err
	case ipv6.ICMPTypeRouterAdvertisement:
		if len(b) < 16 || !m.from.IsLinkLocalUnicast() {
			return m, errInvalid
		}
		read, err := m.options(b, 16)
		if err != nil {
			return m, err
		}
		m.ra = read.(*ndp.RouterAdvertisement)
		if m.mac.IsZero() {
			m.mac = macOf(m.from)
		}
		return m, nil
	}
	return m, errInvalid
}

// options reads the options behind a header of so many bytes, one by one: the
// library refuses a whole message for one option that it does not understand.
func (m *message) options(b []byte, header int) (ndp.Message, error) {
	whole := slices.Clone(b[:header])
	for rest := b[header:]; len(rest) > 0; {
		if len(rest) < 8 || rest[1] == 0 || int(rest[1])*8 > len(rest) {
			return nil, errInvalid
		}
		option := rest[:int(rest[1])*8]
		rest = rest[len(option):]
		switch option[0] {
		case optSource, optPrefix, optMTU:
			if _, err := ndp.ParseMessage(slices.Concat(b[:header], option)); err == nil {
				whole = append(whole, option...)
			}
		}
	}
	read, err := ndp.ParseMessage(whole)
	if err != nil {
		return nil, errInvalid
	}
	for _, o := range optionsOf(read) {
		if lla, ok := o.(*ndp.LinkLayerAddress); ok {
			m.mac = plan.MAC(lla.Addr)
		}
	}
	return read, nil
}

func optionsOf(m ndp.Message) []ndp.Option {
	switch m := m.(type) {
	case *ndp.RouterSolicitation:
		return m.Options
	case *ndp.RouterAdvertisement:
		return m.Options
	}
	return nil
}

// macOf gives the MAC that a link-local address was made of (RFC 4291 appendix A), or zero.
func macOf(a netip.Addr) plan.MAC {
	b := a.As16()
	if b[11] != 0xff || b[12] != 0xfe {
		return plan.MAC{}
	}
	return plan.MAC{b[8] ^ 2, b[9], b[10], b[13], b[14], b[15]}
}
