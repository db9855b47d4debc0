package packet

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// Type is a DHCP message type (option 53).
type Type byte

// The message types of RFC 2131.
const (
	Discover Type = 1
	Offer    Type = 2
	Ask      Type = 3 // DHCPREQUEST
	Decline  Type = 4
	Ack      Type = 5
	Nak      Type = 6
	Release  Type = 7
	Inform   Type = 8
)

// Option codes, from the IANA registry "BOOTP Vendor Extensions and DHCP Options".
const (
	SubnetMask      = 1
	Router          = 3
	NameServers     = 6
	Hostname        = 12
	DomainName      = 15
	InterfaceMTU    = 26
	Broadcast       = 28
	TimeServers     = 42
	VendorOptions   = 43
	RequestedAddr   = 50
	LeaseTime       = 51
	Overload        = 52
	MessageType     = 53
	ServerID        = 54
	ParameterList   = 55
	Message         = 56
	MaxMessageSize  = 57
	RenewalTime     = 58
	RebindingTime   = 59
	VendorClass     = 60
	ClientID        = 61
	TFTPServerName  = 66
	BootFileName    = 67
	UserClass       = 77
	RapidCommit     = 80
	RelayInfo       = 82
	ClientArch      = 93
	ClientUUID      = 97
	SubnetSelection = 118
	DomainSearch    = 119
	ClasslessRoutes = 121
	IPXEOptions     = 175
	ConfigFile      = 209
	PathPrefix      = 210

	pad            = 0
	end            = 255
	circuitID      = 1 // of RelayInfo, as are the next two
	linkSelection  = 5
	serverOverride = 11
	serverStart    = 44 // sname
	fileStart      = 108
	headerSize     = 236
	cookieSize     = 4
	optionsStart   = headerSize + cookieSize
	overloadFile   = 1
	overloadServer = 2
)

var cookie = [cookieSize]byte{99, 130, 83, 99}

// Addrs is the value of an option that lists IPv4 addresses. Others are left out.
func Addrs(list ...netip.Addr) []byte {
	var b []byte
	for _, a := range list {
		if a = a.Unmap(); a.Is4() {
			b = append(b, a.AsSlice()...)
		}
	}
	return b
}

// Mask is the value of option 1 for a prefix.
func Mask(p netip.Prefix) []byte {
	return binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-p.Bits()))
}

// LastAddr is the last address of an IPv4 prefix: its broadcast address unless the prefix is longer than /30.
func LastAddr(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	last := binary.BigEndian.Uint32(a[:]) | uint32(uint64(1)<<(32-p.Bits())-1)
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, last)))
}

// A Route is one entry of option 121.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// Routes is the value of option 121: width of the destination, its
// significant octets, router (RFC 3442). Routes that are not IPv4 are left out.
func Routes(routes []Route) []byte {
	var b []byte
	for _, r := range routes {
		if !r.To.Addr().Is4() || !r.Via.Is4() {
			continue
		}
		to := r.To.Masked().Addr().As4()
		b = append(b, byte(r.To.Bits()))
		b = append(b, to[:(r.To.Bits()+7)/8]...)
		b = append(b, r.Via.AsSlice()...)
	}
	return b
}

// SearchList is the value of option 119 (RFC 3397): DNS names, a suffix that
// was written before replaced by a pointer to it. Empty names are left out;
// names that DNS does not allow are an error.
func SearchList(domains []string) ([]byte, error) {
	var b []byte
	seen := map[string]int{}
	for _, domain := range domains {
		domain = strings.TrimSuffix(strings.ToLower(domain), ".")
		if domain == "" {
			continue
		}
		if len(domain) > 253 {
			return nil, fmt.Errorf("search domain %q: want at most 253 characters", domain)
		}
		for rest := domain; ; {
			if at, ok := seen[rest]; ok && rest != "" {
				b = append(b, 0xc0|byte(at>>8), byte(at))
				break
			}
			if rest == "" {
				b = append(b, 0)
				break
			}
			if len(b) < 1<<14 {
				seen[rest] = len(b)
			}
			label, tail, _ := strings.Cut(rest, ".")
			if label == "" || len(label) > 63 {
				return nil, fmt.Errorf("search domain %q: each label has 1 to 63 characters", domain)
			}
			b = append(append(b, byte(len(label))), label...)
			rest = tail
		}
	}
	return b, nil
}
