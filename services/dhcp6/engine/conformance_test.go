package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"helperd/plan"
	"helperd/timeline"
)

const (
	sol  = dhcpv6.MessageTypeSolicit
	req  = dhcpv6.MessageTypeRequest
	conf = dhcpv6.MessageTypeConfirm
	ren  = dhcpv6.MessageTypeRenew
	reb  = dhcpv6.MessageTypeRebind
	rel  = dhcpv6.MessageTypeRelease
	dec  = dhcpv6.MessageTypeDecline
	info = dhcpv6.MessageTypeInformationRequest
)

var (
	own   = ip("fd00:67::10")
	free  = ip("fd00:67::101")
	alien = ip("2001:db8::5")
)

// TestConformance has one row for each sentence of a standard that a single message shows.
func TestConformance(t *testing.T) {
	none := func(m *dhcpv6.Message) string {
		if m != nil {
			return "answered: " + m.Summary()
		}
		return ""
	}
	want := func(kind dhcpv6.MessageType, checks ...func(*dhcpv6.Message) string) func(*dhcpv6.Message) string {
		return func(m *dhcpv6.Message) string {
			if m == nil {
				return "no answer"
			}
			if m.MessageType != kind {
				return "answer is " + m.MessageType.String()
			}
			if m.Options.ServerID() == nil || !m.Options.ServerID().Equal(serverID) {
				return "no server id of ours"
			}
			for _, c := range checks {
				if text := c(m); text != "" {
					return text + "\n" + m.Summary()
				}
			}
			return ""
		}
	}
	gives := func(a netip.Addr) func(*dhcpv6.Message) string {
		return func(m *dhcpv6.Message) string {
			if got := addr(m); got != a {
				return fmt.Sprintf("gives %s, want %s", got, a)
			}
			return ""
		}
	}
	givesPool := func(m *dhcpv6.Message) string {
		if a := addr(m); !basic().Subnets[0].Pool.Contains(a) {
			return fmt.Sprintf("gives %s, which is not of the pool", a)
		}
		return ""
	}
	says := func(id byte, code iana.StatusCode) func(*dhcpv6.Message) string {
		return func(m *dhcpv6.Message) string {
			if got := iaStatus(m, id); got != code {
				return fmt.Sprintf("IA %d has status %s, want %s", id, got, code)
			}
			return ""
		}
	}
	top := func(code iana.StatusCode) func(*dhcpv6.Message) string {
		return func(m *dhcpv6.Message) string {
			if got := topStatus(m); got != code {
				return fmt.Sprintf("status %s, want %s", got, code)
			}
			return ""
		}
	}
	has := func(codes ...dhcpv6.OptionCode) func(*dhcpv6.Message) string {
		return func(m *dhcpv6.Message) string {
			for _, c := range codes {
				if m.GetOneOption(c) == nil {
					return fmt.Sprintf("no option %s", c)
				}
			}
			return ""
		}
	}
	lacks := func(codes ...dhcpv6.OptionCode) func(*dhcpv6.Message) string {
		return func(m *dhcpv6.Message) string {
			for _, c := range codes {
				if m.GetOneOption(c) != nil {
					return fmt.Sprintf("option %s, which nobody asked for", c)
				}
			}
			return ""
		}
	}
	lives := func(a netip.Addr, d time.Duration) func(*dhcpv6.Message) string {
		return func(m *dhcpv6.Message) string {
			if got := lifetime(m, a); got != d {
				return fmt.Sprintf("%s lives %s, want %s", a, got, d)
			}
			return ""
		}
	}
	url := func(s string) func(*dhcpv6.Message) string {
		return func(m *dhcpv6.Message) string {
			if got := m.Options.BootFileURL(); got != s {
				return fmt.Sprintf("boot file URL %q, want %q", got, s)
			}
			return ""
		}
	}
	adv, rep := dhcpv6.MessageTypeAdvertise, dhcpv6.MessageTypeReply
	wants := dhcpv6.WithRequestedOptions
	class := func(text string) dhcpv6.Modifier {
		return dhcpv6.WithOption(&dhcpv6.OptVendorClass{EnterpriseNumber: 343, Data: [][]byte{[]byte(text)}})
	}
	fqdn := func(flags uint8) dhcpv6.Modifier {
		return dhcpv6.WithOption(&dhcpv6.OptFQDN{Flags: flags, DomainName: &rfc1035label.Labels{Labels: []string{"mine"}}})
	}
	named := func(flags uint8) func(*dhcpv6.Message) string {
		return func(m *dhcpv6.Message) string {
			o := m.Options.FQDN()
			if o == nil || o.Flags != flags || !slices.Equal(o.DomainName.Labels, []string{"bootstrap.ocp4.example.com"}) {
				return fmt.Sprintf("name %v, want flags %d", o, flags)
			}
			return ""
		}
	}
	leased := func(l *lab) { l.lease(stranger) }
	unicast := func(l *lab) { l.unicast = true }
	type mods = []dhcpv6.Modifier
	tests := []struct {
		rfc, name string
		before    func(*lab)
		mac       plan.MAC
		kind      dhcpv6.MessageType
		mods      mods
		check     func(*dhcpv6.Message) string
	}{
		{"8415 18.3.9", "Solicit of a node: its address, client id echoed", nil, node, sol, mods{ia(1)}, want(adv, gives(own), has(dhcpv6.OptionClientID))},
		{"8415 18.3.9", "Solicit with another hint: its address all the same", nil, node, sol, mods{ia(1, free)}, want(adv, gives(own))},
		{"8415 18.2.1", "preference 255: the node need not wait for others", nil, node, sol, mods{ia(1)}, want(adv, func(m *dhcpv6.Message) string {
			if m.Options.Preference() != 255 {
				return "preference " + fmt.Sprint(m.Options.Preference())
			}
			return ""
		})},
		{"8415 18.2.1", "no preference for a stranger", nil, stranger, sol, mods{ia(1)}, want(adv, givesPool, lacks(dhcpv6.OptionPreference))},
		{"8415 21.4", "T1 and T2 are 0.5 and 0.8 of the lifetime", nil, node, sol, mods{ia(1)}, want(adv, lives(own, 168*time.Hour), func(m *dhcpv6.Message) string {
			if o := m.Options.OneIANA(); o.T1 != 84*time.Hour || o.T2 != 134*time.Hour+24*time.Minute {
				return fmt.Sprintf("T1 %s, T2 %s", o.T1, o.T2)
			}
			return ""
		})},
		{"8415 21.4", "IAID echoed, the second IA of a node has no address", nil, node, sol, mods{ia(7), ia(8)}, want(adv, gives(own), says(7, 0), says(8, iana.StatusNoAddrsAvail))},
		{"8415 21.4", "the IA that names the address gets it", nil, node, sol, mods{ia(7), ia(8, own)}, want(adv, says(8, 0), says(7, iana.StatusNoAddrsAvail))},
		{"8415 21.4", "each IA of a stranger has an address of its own", nil, stranger, sol, mods{ia(1), ia(2)}, want(adv, func(m *dhcpv6.Message) string {
			ias := m.Options.IANA()
			if len(ias) != 2 || ias[0].Options.OneAddress().IPv6Addr.Equal(ias[1].Options.OneAddress().IPv6Addr) {
				return "not two addresses"
			}
			return ""
		})},
		{"8415 18.3.9", "a free hint of the pool is given", nil, stranger, sol, mods{ia(1, ip("fd00:67::103"))}, want(adv, gives(ip("fd00:67::103")))},
		{"8415 18.3.9", "a reserved hint is not", nil, stranger, sol, mods{ia(1, own)}, want(adv, givesPool)},
		{"8415 18.3.9", "prefixes: NoPrefixAvail", nil, node, sol, mods{dhcpv6.WithOption(&dhcpv6.OptIAPD{IaId: [4]byte{1}})}, want(adv, func(m *dhcpv6.Message) string {
			if o := m.Options.OneIAPD(); o == nil || o.Options.Status() == nil || o.Options.Status().StatusCode != iana.StatusNoPrefixAvail {
				return "no NoPrefixAvail"
			}
			return ""
		})},
		{"8415 18.3.9", "temporary addresses: NoAddrsAvail", nil, node, sol, mods{dhcpv6.WithIATA([4]byte{1})}, want(adv, func(m *dhcpv6.Message) string {
			if o := m.Options.OneIATA(); o == nil || o.Options.Status() == nil || o.Options.Status().StatusCode != iana.StatusNoAddrsAvail {
				return "no NoAddrsAvail"
			}
			return ""
		})},
		{"8415 16.2", "Solicit with a server id is dropped", nil, node, sol, mods{ia(1), ours}, none},
		{"8415 16.2", "Solicit without a client id is dropped", nil, node, sol, mods{ia(1), func(m dhcpv6.DHCPv6) { m.(*dhcpv6.Message).Options.Del(dhcpv6.OptionClientID) }}, none},
		{"8415 18.3.1", "rapid commit: Reply at once with the option", nil, node, sol, mods{ia(1), rapid}, want(rep, gives(own), has(dhcpv6.OptionRapidCommit))},
		{"8415 18.3.1", "rapid commit from the pool", nil, stranger, sol, mods{ia(1), rapid}, want(rep, givesPool)},
		{"8415 18.3.1", "rapid commit and nothing to give: Advertise", nil, node, sol, mods{dhcpv6.WithIATA([4]byte{1}), rapid}, want(adv, lacks(dhcpv6.OptionRapidCommit))},
		{"8415 18.3.1", "rapid commit with a hint of another network: the hint alone is ignored", nil, node, sol, mods{ia(1, alien), rapid}, want(rep, gives(own))},
		{"8415 18.3.1", "the same from the pool, with one hint that is good", nil, stranger, sol, mods{ia(1, alien, free), rapid}, want(rep, gives(free))},
		{"8415 18.3", "a machine of no list, no pool: silence", func(l *lab) { d := basic(); d.Subnets[0].IgnoreUnknown = true; l.adopt(d) }, stranger, sol, mods{ia(1)}, none},
		{"5970 2", "a machine of no list wants to boot: silence", nil, stranger, sol, mods{ia(1), pxe}, none},
		{"5970 2", "the same by Information-request", nil, stranger, info, mods{pxe}, none},
		{"8415 16.4", "Request without a server id is dropped", nil, node, req, mods{ia(1)}, none},
		{"8415 16.4", "Request to another server is dropped", nil, node, req, mods{ia(1, own), theirs}, none},
		{"8415 18.3.2", "Request of a node", nil, node, req, mods{ia(1, own), ours}, want(rep, gives(own))},
		{"8415 18.3.2", "Request of an offered address", func(l *lab) { l.ask(stranger, sol, ia(1, free)) }, stranger, req, mods{ia(1, free), ours}, want(rep, gives(free))},
		{"8415 18.3.2", "Request of what nobody offered, but is free", nil, stranger, req, mods{ia(1, free), ours}, want(rep, gives(free))},
		{"8415 18.3.2", "Request of an address of another link: NotOnLink", nil, node, req, mods{ia(1, alien), ours}, want(rep, says(1, iana.StatusNotOnLink))},
		{"8415 18.4", "Request by unicast: UseMulticast, no IA", unicast, node, req, mods{ia(1, own), ours}, want(rep, top(iana.StatusUseMulticast), lacks(dhcpv6.OptionIANA), has(dhcpv6.OptionClientID))},
		{"8415 18.4", "Renew by unicast: UseMulticast", unicast, node, ren, mods{ia(1, own), ours}, want(rep, top(iana.StatusUseMulticast))},
		{"8415 18.4", "Release by unicast: UseMulticast", unicast, node, rel, mods{ia(1, own), ours}, want(rep, top(iana.StatusUseMulticast))},
		{"8415 18.4", "Decline by unicast: UseMulticast", unicast, node, dec, mods{ia(1, own), ours}, want(rep, top(iana.StatusUseMulticast))},
		{"8415 16", "Solicit by unicast is dropped", unicast, node, sol, mods{ia(1)}, none},
		{"8415 16", "Information-request by unicast is dropped", unicast, node, info, nil, none},
		{"8415 18.3.3", "Confirm of an address of this link", nil, node, conf, mods{ia(1, own)}, want(rep, top(iana.StatusSuccess))},
		{"8415 18.3.3", "Confirm of an address of another link: NotOnLink", nil, node, conf, mods{ia(1, own), ia(2, alien)}, want(rep, top(iana.StatusNotOnLink))},
		{"8415 18.3.3", "Confirm without addresses: silence", nil, node, conf, mods{ia(1)}, none},
		{"8415 16.5", "Confirm with a server id is dropped", nil, node, conf, mods{ia(1, own), ours}, none},
		{"8415 18.3.4", "Renew of a node", nil, node, ren, mods{ia(1, own), ours}, want(rep, gives(own))},
		{"8415 18.3.4", "Renew of an old address: the new one, and the old one for no time", nil, node, ren, mods{ia(1, ip("fd00:67::99")), ours}, want(rep, gives(own), lives(ip("fd00:67::99"), 0))},
		{"8415 18.3.4", "Renew of a lease", leased, stranger, ren, mods{ia(1), ours}, want(rep, givesPool)},
		{"8415 18.3.4", "Renew of an IA that is not known: NoBinding", nil, stranger, ren, mods{ia(9), ours}, want(rep, says(9, iana.StatusNoBinding))},
		{"8415 18.3.4", "Renew after the state was lost, the address is free: kept", nil, stranger, ren, mods{ia(1, free), ours}, want(rep, gives(free))},
		{"8415 18.3.4", "Renew of an address of another link: for no time", nil, stranger, ren, mods{ia(1, alien), ours}, want(rep, lives(alien, 0))},
		{"8415 16.6", "Renew to another server is dropped", nil, node, ren, mods{ia(1, own), theirs}, none},
		{"8415 18.3.5", "Rebind of a node", nil, node, reb, mods{ia(1, own)}, want(rep, gives(own))},
		{"8415 18.3.5", "Rebind of a reserved address by a stranger: for no time", nil, stranger, reb, mods{ia(1, own)}, want(rep, lives(own, 0))},
		{"8415 18.3.5", "Rebind of an address that may be another server's: silence", nil, stranger, reb, mods{ia(1, ip("fd00:67::77"))}, none},
		{"8415 18.3.5", "Rebind of an address of another link: for no time", nil, stranger, reb, mods{ia(1, alien)}, want(rep, lives(alien, 0))},
		{"8415 18.3.5", "Rebind of a prefix, which is another server's: silence", nil, stranger, reb, mods{dhcpv6.WithOption(&dhcpv6.OptIAPD{IaId: [4]byte{1}}), dhcpv6.WithIATA([4]byte{1})}, none},
		{"8415 16.7", "Rebind with a server id is dropped", nil, node, reb, mods{ia(1, own), ours}, none},
		{"8415 18.3.7", "Release of a node's address", nil, node, rel, mods{ia(1, own), ours}, want(rep, top(iana.StatusSuccess), lacks(dhcpv6.OptionIANA))},
		{"8415 18.3.7", "Release of what is not known: Success, the IA has NoBinding", nil, stranger, rel, mods{ia(5, free), ours}, want(rep, top(iana.StatusSuccess), says(5, iana.StatusNoBinding))},
		{"8415 18.3.8", "Decline of what is not known", nil, stranger, dec, mods{ia(5, free), ours}, want(rep, top(iana.StatusSuccess), says(5, iana.StatusNoBinding))},
		{"8415 18.3.6", "Information-request of a node: what it asks for, no address", nil, node, info, mods{wants(dhcpv6.OptionDNSRecursiveNameServer)}, want(rep, has(dhcpv6.OptionDNSRecursiveNameServer), lacks(dhcpv6.OptionIANA))},
		{"8415 16.12", "Information-request without a client id", nil, node, info, mods{func(m dhcpv6.DHCPv6) { m.(*dhcpv6.Message).Options.Del(dhcpv6.OptionClientID) }}, want(rep, lacks(dhcpv6.OptionClientID))},
		{"8415 16.12", "Information-request with an IA is dropped", nil, node, info, mods{ia(1)}, none},
		{"8415 16.12", "Information-request for another server is dropped", nil, node, info, mods{theirs}, none},
		{"8415 21.23", "refresh time when asked for", nil, node, info, mods{wants(dhcpv6.OptionInformationRefreshTime)}, want(rep, has(dhcpv6.OptionInformationRefreshTime))},
		{"8415 16", "Advertise is dropped", nil, node, adv, mods{ia(1), ours}, none},
		{"8415 16", "Reply is dropped", nil, node, rep, mods{ia(1), ours}, none},
		{"8415 16", "Reconfigure is dropped", nil, node, dhcpv6.MessageTypeReconfigure, mods{ours}, none},
		{"8415 21.7", "nothing that was not asked for", nil, node, sol, mods{ia(1)}, want(adv, lacks(dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionDomainSearchList, dhcpv6.OptionNTPServer, dhcpv6.OptionSNTPServerList, dhcpv6.OptionFQDN, dhcpv6.OptionSolMaxRT, dhcpv6.OptionBootfileURL))},
		{
			"3646 3, 5908 4, 4075 4, 8415 21.24", "all that was asked for", nil, node, sol,
			mods{ia(1), wants(dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionDomainSearchList, dhcpv6.OptionNTPServer, dhcpv6.OptionSNTPServerList, dhcpv6.OptionSolMaxRT, dhcpv6.OptionInfMaxRT)},
			want(adv, func(m *dhcpv6.Message) string {
				o := m.Options
				if fmt.Sprint(o.DNS(), o.DomainSearchList().Labels, o.NTPServers(), o.SNTP()) != "[fd00:67::2 fd00:67::3] [ocp4.example.com] [fd00:67::4] [fd00:67::4]" {
					return "wrong values"
				}
				return ""
			}, has(dhcpv6.OptionSolMaxRT, dhcpv6.OptionInfMaxRT)),
		},
		{"4704 6", "name: the client leaves DNS to us", nil, node, sol, mods{ia(1), fqdn(1)}, want(adv, named(1))},
		{"4704 6", "name: the client would update DNS itself", nil, node, sol, mods{ia(1), fqdn(0)}, want(adv, named(3))},
		{"4704 6", "name: the client wants no updates", nil, node, sol, mods{ia(1), fqdn(4)}, want(adv, named(4))},
		{"4704 6", "no name for a stranger", nil, stranger, sol, mods{ia(1), fqdn(1)}, want(adv, lacks(dhcpv6.OptionFQDN))},
		{"5970 3.1", "UEFI PXE: tftp URL", nil, node, sol, mods{ia(1), pxe}, want(adv, url("tftp://[fd00:67::2]/snponly.efi"), lacks(dhcpv6.OptionVendorClass))},
		{"5970 3.3", "an architecture that nothing boots: an address and no URL", nil, node, sol, mods{ia(1), dhcpv6.WithArchType(iana.Arch(plan.ArchEFI32))}, want(adv, gives(own), url(""))},
		{"5970 3.3", "the first architecture that there is a file for", nil, node, req, mods{ia(1, own), ours, opt(dhcpv6.OptionClientArchType, 0, plan.ArchEFIArm64, 0, plan.ArchEFI64)}, want(rep, url("tftp://[fd00:67::2]/snponly.efi"))},
		{"UEFI 24.7.3", "HTTP Boot: http URL and the class", nil, node, sol, mods{ia(1), class("HTTPClient:Arch:00016:UNDI:003001"), dhcpv6.WithArchType(iana.Arch(plan.ArchHTTP64))}, want(adv, url("http://[fd00:67::2]:8080/boot/snponly.efi"), func(m *dhcpv6.Message) string {
			if c := m.Options.VendorClass(343); len(c) != 1 || string(c[0]) != "HTTPClient" {
				return fmt.Sprintf("vendor class %q", c)
			}
			return ""
		})},
		{"5970 3.1", "iPXE: its script", nil, node, req, mods{ia(1, own), ours, pxe, dhcpv6.WithUserClass([]byte("iPXE"))}, want(rep, url("http://[fd00:67::2]:8080/boot/52-54-00-60-72-67.ipxe"))},
		{"5970 3.1", "iPXE with a user class without a length", nil, node, sol, mods{ia(1), pxe, opt(dhcpv6.OptionUserClass, []byte("iPXE")...)}, want(adv, url("http://[fd00:67::2]:8080/boot/52-54-00-60-72-67.ipxe"))},
		{"8415 21.1", "an option that is built wrong does not cost the answer", nil, node, sol, mods{ia(1), opt(dhcpv6.OptionFQDN), opt(dhcpv6.OptionVendorClass, 1), opt(dhcpv6.OptionClientArchType, 0)}, want(adv, gives(own))},
		{"8415 11.1", "a DUID that is too long is dropped", nil, node, sol, mods{ia(1), func(m dhcpv6.DHCPv6) {
			m.(*dhcpv6.Message).Options.Update(dhcpv6.OptClientID(&dhcpv6.DUIDEN{EnterpriseIdentifier: make([]byte, 200)}))
		}}, none},
		{"8415 18.3", "more IAs than a client can use", nil, stranger, sol, mods{ia(1), ia(2), ia(3), ia(4), ia(5), ia(6), ia(7), ia(8), ia(9)}, want(adv, says(9, iana.StatusNoAddrsAvail))},
	}
	for _, tt := range tests {
		t.Run(tt.rfc+" "+tt.name, func(t *testing.T) {
			l := newLab(t, basic())
			if tt.before != nil {
				tt.before(l)
			}
			if text := tt.check(l.ask(tt.mac, tt.kind, tt.mods...)); text != "" {
				t.Error(text)
			}
		})
	}
}

// Whoever a message comes from is found where RFC 8415, 6939 and 4291 let it show.
func TestIdentify(t *testing.T) {
	random := ip("fe80::1234:5678:9abc:def0")
	tests := []struct {
		name      string
		from      netip.Addr
		duid      dhcpv6.DUID
		neighbour plan.MAC
		want      netip.Addr
	}{
		{"UEFI: DUID-UUID and EUI-64", eui64(node), uuid, plan.MAC{}, own},
		{"NetworkManager: DUID-LL and a random address", random, duidLL(node), plan.MAC{}, own},
		{"DUID-LLT", random, &dhcpv6.DUIDLLT{HWType: iana.HWTypeEthernet, Time: 5, LinkLayerAddr: bondNIC[:]}, plan.MAC{}, own},
		{"the neighbour table alone", random, uuid, node, own},
		{"a cloned disk brings another node's DUID: the card counts", eui64(stranger), duidLL(other), plan.MAC{}, netip.Addr{}},
		{"a DUID of a card that is in no list, on a node's card", eui64(node), duidLL(other), plan.MAC{}, own},
		{"nothing tells", random, uuid, plan.MAC{}, netip.Addr{}},
		{"a DUID-UUID of another length is a DUID too", eui64(node), &dhcpv6.DUIDOpaque{Type: dhcpv6.DUID_UUID, Data: []byte{1, 2, 3}}, plan.MAC{}, own},
		{"a DUID-EN without a number", eui64(node), &dhcpv6.DUIDOpaque{Type: dhcpv6.DUID_EN, Data: []byte{1}}, plan.MAC{}, own},
		{"a DUID-LL without an address", eui64(node), &dhcpv6.DUIDOpaque{Type: dhcpv6.DUID_LL, Data: []byte{0}}, plan.MAC{}, own},
		{"a DUID-LL that is no Ethernet", random, &dhcpv6.DUIDLL{HWType: 32, LinkLayerAddr: node[:]}, plan.MAC{}, netip.Addr{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := basic()
			d.Subnets[0].IgnoreUnknown = true
			l := newLab(t, d)
			l.neighbour = tt.neighbour
			got := netip.Addr{}
			if m := l.send(tt.from, compose(sol, dhcpv6.WithClientID(tt.duid), ia(1))); m != nil {
				got = addr(m)
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if tt.want.IsValid() && (l.last.Client != node && l.last.Client != bondNIC || l.last.Events[0].Node != "bootstrap.ocp4.example.com") {
				t.Errorf("client %s, events %v", l.last.Client, l.last.Events)
			}
			if !tt.want.IsValid() && !slices.Equal(l.events(), []timeline.Kind{timeline.DHCPRefused}) {
				t.Errorf("events %v", l.last.Events)
			}
		})
	}
}
