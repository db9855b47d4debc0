package explain

import (
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"helperd/services/leasing"
)

// wanted are the options that the machine asks for: all that there are words for, and boot files.
func wanted() []dhcpv6.OptionCode {
	return []dhcpv6.OptionCode{
		dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionDomainSearchList, dhcpv6.OptionFQDN, dhcpv6.OptionNTPServer, dhcpv6.OptionBootfileURL,
	}
}

// options are those of a message, in words.
func options(m *dhcpv6.Message) (out []leasing.Option) {
	add := func(code dhcpv6.OptionCode, name, text string) {
		if text != "" {
			out = append(out, leasing.Option{Code: int(code), Name: name, Value: text})
		}
	}
	add(dhcpv6.OptionDNSRecursiveNameServer, "DNS servers", leasing.Join(m.Options.DNS()))
	if l := m.Options.DomainSearchList(); l != nil {
		add(dhcpv6.OptionDomainSearchList, "search domains", strings.Join(l.Labels, ", "))
	}
	if f := m.Options.FQDN(); f != nil && f.DomainName != nil {
		add(dhcpv6.OptionFQDN, "host name", strings.Join(f.DomainName.Labels, "."))
	}
	add(dhcpv6.OptionNTPServer, "time servers", leasing.Join(m.Options.NTPServers()))
	for _, ia := range m.Options.IANA() {
		if ia.T1 > 0 {
			add(dhcpv6.OptionIANA, "renews after", leasing.Span(ia.T1))
			add(dhcpv6.OptionIANA, "asks any server after", leasing.Span(ia.T2))
		}
	}
	return out
}
