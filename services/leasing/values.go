package leasing

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Values is q as the parameters of a URL.
func (q *Question) Values() url.Values {
	v := url.Values{"mac": {q.MAC.String()}}
	set := func(key, text string, has bool) {
		if has {
			v.Set(key, text)
		}
	}
	set("client_id", hex.EncodeToString(q.ClientID), len(q.ClientID) > 0)
	set("arch", q.Firmware, q.Firmware != "")
	set("relay", q.Relay.String(), q.Relay.IsValid())
	set("network", q.Network.String(), q.Network.IsValid())
	return v
}

// ParseQuestion reads what a person or Values wrote: mac, and if they are there
// client_id (hexadecimal digits), arch, relay and network.
func ParseQuestion(v url.Values) (q Question, err error) {
	if err = q.MAC.UnmarshalText([]byte(v.Get("mac"))); err != nil {
		return q, err
	}
	if q.MAC.IsZero() || q.MAC[0]&1 != 0 {
		return q, fmt.Errorf("MAC %s is no single machine's", q.MAC)
	}
	if q.ClientID, err = hex.DecodeString(strings.ReplaceAll(v.Get("client_id"), ":", "")); err != nil || len(q.ClientID) > 255 {
		return q, fmt.Errorf("client id %q: write it as in option 61, in hexadecimal digits such as 01:52:54:00:60:72:67", v.Get("client_id"))
	}
	if q.Firmware = v.Get("arch"); q.Firmware != "" && !slices.Contains(Names(), q.Firmware) {
		return q, fmt.Errorf("architecture %q is not known; write one of %s", q.Firmware, strings.Join(Names(), ", "))
	}
	if text := v.Get("relay"); text != "" {
		if q.Relay, err = netip.ParseAddr(text); err != nil {
			return q, fmt.Errorf("relay %q is no IP address", text)
		}
	}
	if text := v.Get("network"); text != "" {
		if q.Network, err = netip.ParsePrefix(text); err != nil {
			return q, fmt.Errorf("network %q: write it as in networks[].cidr, such as 192.168.67.0/24", text)
		}
		q.Network = q.Network.Masked()
	}
	return q, nil
}

// Names are those of Firmwares.
func Names() (out []string) {
	for _, f := range Firmwares() {
		out = append(out, f.Name)
	}
	return out
}
