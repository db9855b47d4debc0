package explain

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"helperd/services/dhcp/packet"
	"helperd/services/leasing"
)

// wanted are the options that the machine asks for: all that there are words for.
func wanted() []dhcpv4.OptionCode {
	var out []dhcpv4.OptionCode
	for _, w := range words() {
		out = append(out, dhcpv4.GenericOptionCode(w.code))
	}
	return out
}

// word says an option of an answer in words.
type word struct {
	code int
	name string
	text func(*dhcpv4.DHCPv4) string // empty: the option is absent
}

func words() []word {
	return []word{
		{packet.SubnetMask, "netmask", func(d *dhcpv4.DHCPv4) string {
			if m := d.SubnetMask(); m != nil {
				return net.IP(m).String()
			}
			return ""
		}},
		{packet.Router, "router", func(d *dhcpv4.DHCPv4) string { return leasing.Join(d.Router()) }},
		{packet.NameServers, "DNS servers", func(d *dhcpv4.DHCPv4) string { return leasing.Join(d.DNS()) }},
		{packet.DomainName, "domain", func(d *dhcpv4.DHCPv4) string { return d.DomainName() }},
		{packet.DomainSearch, "search domains", func(d *dhcpv4.DHCPv4) string {
			if l := d.DomainSearch(); l != nil {
				return strings.Join(l.Labels, ", ")
			}
			return ""
		}},
		{packet.Hostname, "host name", func(d *dhcpv4.DHCPv4) string { return d.HostName() }},
		{packet.TimeServers, "time servers", func(d *dhcpv4.DHCPv4) string { return leasing.Join(d.NTPServers()) }},
		{packet.InterfaceMTU, "MTU", func(d *dhcpv4.DHCPv4) string {
			if b := d.Options.Get(dhcpv4.OptionInterfaceMTU); len(b) == 2 {
				return strconv.Itoa(int(b[0])<<8 | int(b[1]))
			}
			return ""
		}},
		{packet.ClasslessRoutes, "routes", func(d *dhcpv4.DHCPv4) string {
			var text []string
			for _, r := range d.ClasslessStaticRoute() {
				text = append(text, fmt.Sprintf("%s via %s", r.Dest, r.Router))
			}
			return strings.Join(text, ", ")
		}},
		{packet.Broadcast, "broadcast", func(d *dhcpv4.DHCPv4) string {
			if a := d.BroadcastAddress(); a != nil {
				return a.String()
			}
			return ""
		}},
		{packet.ServerID, "server", func(d *dhcpv4.DHCPv4) string { return d.ServerIdentifier().String() }},
		{packet.RenewalTime, "renews after", func(d *dhcpv4.DHCPv4) string { return leasing.Span(d.IPAddressRenewalTime(0)) }},
		{packet.RebindingTime, "asks any server after", func(d *dhcpv4.DHCPv4) string { return leasing.Span(d.IPAddressRebindingTime(0)) }},
	}
}

// options are those of an answer, in words.
func options(d *dhcpv4.DHCPv4) (out []leasing.Option) {
	for _, w := range words() {
		if text := w.text(d); text != "" && d.Options.Has(dhcpv4.GenericOptionCode(w.code)) {
			out = append(out, leasing.Option{Code: w.code, Name: w.name, Value: text})
		}
	}
	return out
}
