package engine

import (
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"helperd/plan"
)

// FuzzHandle lets anybody send anything: no panic, no answer that cannot be read,
// and no more memory than the pool has addresses.
func FuzzHandle(f *testing.F) {
	for _, kind := range []dhcpv6.MessageType{sol, req, conf, ren, reb, rel, dec, info} {
		m := compose(kind, dhcpv6.WithClientID(duidLL(stranger)), ia(1, free), ia(2, own), pxe, rapid)
		f.Add(m.ToBytes())
		m = compose(kind, dhcpv6.WithClientID(duidLL(node)), ours, ia(1, own), opt(dhcpv6.OptionUserClass, []byte("iPXE")...))
		f.Add(m.ToBytes())
		f.Add(forward(forward(m, 0, ip("fd00:30::1"), eui64(far), lla(far)), 1, ip("fd00:67::9"), ip("fe80::1"), dhcpv6.OptInterfaceID([]byte("x"))).ToBytes())
	}
	l := newLab(f, basic())
	f.Fuzz(func(t *testing.T, b []byte) {
		l.t = t
		l.now += 100
		for _, from := range []plan.MAC{node, stranger} {
			answer := l.handle(eui64(from), b)
			for i := range l.last.Records {
				l.e.Stored(&l.last.Records[i])
			}
			if len(answer) == 0 {
				continue
			}
			if _, err := read(answer); err != nil {
				t.Fatalf("answer %x: %v", answer, err)
			}
			if n := len(l.e.table.byAddr); n > 4 {
				t.Fatalf("%d bindings in a pool of 4", n)
			}
		}
	})
}
