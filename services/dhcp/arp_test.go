package dhcp

import (
	"net/netip"
	"testing"

	"helperd/plan"
)

func TestARP(t *testing.T) {
	probe := arpProbe(nodeMAC, netip.MustParseAddr("192.168.67.100"))
	want := "\x00\x01\x08\x00\x06\x04\x00\x01\x52\x54\x00\x60\x72\x67\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xc0\xa8\x43\x64"
	if string(probe[:]) != want {
		t.Errorf("probe % x, want % x", probe[:], want)
	}
	reply := []byte("\x00\x01\x08\x00\x06\x04\x00\x02\x02\x00\x00\x00\x00\x01\xc0\xa8\x43\x64\x52\x54\x00\x60\x72\x67\x00\x00\x00\x00" + "padding of Ethernet")
	mac, addr, ok := parseARP(reply)
	if !ok || mac != (plan.MAC{2, 0, 0, 0, 0, 1}) || addr != netip.MustParseAddr("192.168.67.100") {
		t.Errorf("%s has %s, %v", mac, addr, ok)
	}
	if _, _, ok := parseARP(probe[:]); ok {
		t.Error("a request passes for a reply")
	}
}

func FuzzParseARP(f *testing.F) {
	probe := arpProbe(nodeMAC, netip.MustParseAddr("192.168.67.100"))
	probe[7] = arpReply
	f.Add(probe[:])
	f.Add(probe[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		if mac, addr, ok := parseARP(b); ok && (mac.IsZero() || !addr.Is4()) {
			t.Errorf("%s has %s", mac, addr)
		}
	})
}
