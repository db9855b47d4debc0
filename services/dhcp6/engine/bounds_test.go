package engine

import (
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

// Whoever forges the address of a sender or relay must not turn this server into a gun:
// what says that there is nothing to give is longer than what asks for it.
func TestAnswerIsBounded(t *testing.T) {
	for name, code := range map[string]dhcpv6.OptionCode{"IA_NA": dhcpv6.OptionIANA, "IA_TA": dhcpv6.OptionIATA, "IA_PD": dhcpv6.OptionIAPD} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, basic())
			m := compose(sol, dhcpv6.WithClientID(duidLL(node)))
			for i := range 500 {
				opt(code, append([]byte{0, 0, byte(i >> 8), byte(i)}, make([]byte, 8)...)...)(m)
			}
			if b := l.handle(eui64(node), m.ToBytes()); len(b) > 1280 {
				t.Errorf("%d bytes for %d", len(b), len(m.ToBytes()))
			}
		})
	}
}

// The DUID of a server is of its own choice; what is remembered of events must not be.
func TestForeignDUIDIsBounded(t *testing.T) {
	l := newLab(t, basic())
	id := &dhcpv6.DUIDEN{EnterpriseIdentifier: make([]byte, 4000)}
	l.ask(stranger, req, ia(1), dhcpv6.WithServerID(id))
	for _, e := range l.last.Events {
		t.Errorf("an event of %d bytes", len(e.Detail))
	}
	if l.e.Counts().Malformed != 1 {
		t.Errorf("%+v", l.e.Counts())
	}
}

// A DUID is opaque (RFC 8415 section 11), and comes back as it is.
func TestOddDUIDComesBack(t *testing.T) {
	l := newLab(t, basic())
	id := &dhcpv6.DUIDOpaque{Type: dhcpv6.DUID_LLT, Data: []byte{0, 1, 2}}
	m := l.send(eui64(stranger), compose(sol, dhcpv6.WithClientID(id), ia(1)))
	if m == nil || iaStatus(m, 1) != iana.StatusSuccess || string(m.Options.GetOne(dhcpv6.OptionClientID).ToBytes()) != string(id.ToBytes()) {
		t.Errorf("answer %v", m)
	}
}
