package engine

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

const (
	// maxRT bounds the pause between a client's Solicits while the helper is down, in
	// seconds; RFC 8415 has an hour, at the end of which somebody stands in the rack and waits.
	maxRT = 120
	// refresh is when a stateless client asks again, in seconds.
	refresh = 4 * 3600
	// renewAt and rebindAt are T1 and T2 in tenths of the lease (RFC 8415 section 21.4).
	renewAt, rebindAt = 5, 8
	// preferred is the preference of a server that knows the machine: it need not wait for others.
	preferred = 255
)

func ips(list []netip.Addr) []net.IP {
	var out []net.IP
	for _, a := range list {
		out = append(out, a.AsSlice())
	}
	return out
}

// number is an option of 32 bits.
func number(code dhcpv6.OptionCode, n uint32) dhcpv6.Option {
	return &dhcpv6.OptionGeneric{OptionCode: code, OptionData: binary.BigEndian.AppendUint32(nil, n)}
}

func status(code iana.StatusCode, text string) dhcpv6.Option {
	return &dhcpv6.OptStatusCode{StatusCode: code, StatusMessage: text}
}

// identity is an IA_NA with what is in it.
func identity(id [4]byte, options ...dhcpv6.Option) *dhcpv6.OptIANA {
	return &dhcpv6.OptIANA{IaId: id, Options: dhcpv6.IdentityOptions{Options: options}}
}

// leased is a with the time that the client may use it; 0: not any more.
func leased(a netip.Addr, d time.Duration) dhcpv6.Option {
	return &dhcpv6.OptIAAddress{IPv6Addr: a.AsSlice(), PreferredLifetime: d, ValidLifetime: d}
}

// addParameters adds what the client asks for by its ORO, and what its firmware needs.
func (q *request) addParameters(m *dhcpv6.Message) {
	options := q.subnet.options
	if q.reservation != nil {
		options = q.reservation.options
	}
	for _, o := range options {
		if q.wants(o.Code()) {
			m.AddOption(o)
		}
	}
	q.addName(m)
	if q.url == "" {
		return
	}
	m.AddOption(dhcpv6.OptBootFileURL(q.url))
	if q.client.http {
		// UEFI takes an answer for HTTP Boot by this class alone (UEFI specification section 24.7.3).
		m.AddOption(&dhcpv6.OptVendorClass{EnterpriseNumber: q.client.enterprise, Data: [][]byte{[]byte(classHTTP)}})
	}
}

func (q *request) wants(code dhcpv6.OptionCode) bool { return slices.Contains(q.requested, code) }

// Flags of option 39 (RFC 4704 section 4.1).
const (
	fqdnServerUpdates = 1 << iota
	fqdnOverridden
	fqdnNoUpdates
)

// addName tells a machine of the plan the name that DNS has for it.
func (q *request) addName(m *dhcpv6.Message) {
	sent := q.options.GetOne(dhcpv6.OptionFQDN)
	if q.reservation == nil || q.reservation.Hostname == "" || sent == nil && !q.wants(dhcpv6.OptionFQDN) {
		return
	}
	flags := uint8(fqdnServerUpdates)
	if sent, ok := sent.(*dhcpv6.OptFQDN); ok {
		switch {
		case sent.Flags&fqdnNoUpdates != 0:
			flags = fqdnNoUpdates
		case sent.Flags&fqdnServerUpdates == 0:
			flags |= fqdnOverridden
		}
	}
	m.AddOption(&dhcpv6.OptFQDN{Flags: flags, DomainName: &rfc1035label.Labels{Labels: []string{q.reservation.Hostname}}})
}
