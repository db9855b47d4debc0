package socket

import (
	"net/netip"
	"net/url"
	"strings"
)

// storeName is what the sockets of k are called outside of the process, where
// only ASCII without colons may be used: "tcp/192.168.67.2%3A6443/".
func (k Key) storeName() string {
	return k.Network + "/" + url.QueryEscape(k.Addr.String()) + "/" + url.QueryEscape(k.Device)
}

// parseName reads what storeName wrote.
func parseName(name string) (k Key, ok bool) {
	part := strings.Split(name, "/")
	if len(part) != 3 || part[0] != "tcp" && part[0] != "udp" {
		return k, false
	}
	addr, err := url.QueryUnescape(part[1])
	if err != nil {
		return k, false
	}
	k.Network = part[0]
	if k.Addr, err = netip.ParseAddrPort(addr); err != nil {
		return k, false
	}
	k.Device, err = url.QueryUnescape(part[2])
	return k, err == nil
}
