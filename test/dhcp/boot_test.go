package dhcp

import (
	"fmt"
	"net/netip"
	"strings"
)

// What firmware and boot loaders are told to load.

var bootstrap = mac{0x52, 0x54, 0, 0x60, 0x72, 0x67}

const (
	script  = "http://192.168.67.2:8080/boot/52-54-00-60-72-67.ipxe"
	httpEFI = "http://192.168.67.2:8080/boot/snponly.efi"
)

// pxe are the options of a PXE ROM of an architecture (RFC 4578).
func pxe(arch uint16) mod {
	return func(m *message) {
		m.options = append(m.options,
			option{optClass, fmt.Sprintf("PXEClient:Arch:%05d:UNDI:003001", arch)},
			option{optArch, word(arch)}, option{94, "\x01\x03\x01"}, option{97, "\x00" + "0123456789abcdef"})
	}
}

func httpBoot(arch uint16) mod {
	return func(m *message) {
		m.options = append(m.options, option{optClass, fmt.Sprintf("HTTPClient:Arch:%05d:UNDI:003001", arch)}, option{optArch, word(arch)})
	}
}

// all makes one mod of many.
func all(mods ...mod) mod {
	return func(m *message) {
		for _, f := range mods {
			f(m)
		}
	}
}

// text is an option without the NUL that some servers end it with (RFC 2132 section 2).
func text(v string) string { return strings.TrimRight(v, "\x00") }

// loads makes a case of a client that is to load a file: from the field, by option 67 if
// it asks, and from the same server, in OFFER and ACK.
func loads(name, rfc, file string, who mod) testCase {
	return testCase{
		name: name, rfc: rfc,
		proof: func(x *trial) {
			c := x.machine(bootstrap)
			c.with = []mod{who, asks(1, 3, 6, optTFTPServer, optBootFile, optClass)}
			o := c.discover()
			for _, r := range []*reply{o, c.choose(o.yiaddr)} {
				got := r.bootFile()
				if got == "" || r.get(optOverload) != "" {
					got = text(r.get(optBootFile))
				}
				equal(x, "file of a "+typeName(r.kind()), got, file)
				if file != "" {
					equal(x, "siaddr of a "+typeName(r.kind()), r.siaddr, netip.MustParseAddr(serverIP))
				}
			}
		},
	}
}

var bootCases = []testCase{
	loads("BIOS", "4578 2.1", "undionly.kpxe", pxe(0)),
	loads("UEFI x64", "4578 2.1", "snponly.efi", pxe(7)),
	loads("UEFI x64 by its other number", "4578 2.1", "snponly.efi", pxe(9)),
	loads("PXE without an architecture", "4578 2.1", "undionly.kpxe", with(optClass, "PXEClient")),
	loads("UEFI HTTP boot", "4578 2.1", httpEFI, httpBoot(16)),
	loads("iPXE on BIOS, class bare", "3004 4", script, all(pxe(0), with(optUserClass, "iPXE"))),
	loads("iPXE on UEFI, class bare", "3004 4", script, all(pxe(7), with(optUserClass, "iPXE"))),
	loads("iPXE on UEFI, class with its length", "3004 4", script, all(pxe(7), with(optUserClass, "\x04iPXE"))),
	loads("an operating system", "2131 2", "", with(optClass, "test-client 1.0")),
	{
		name: "HTTP boot is answered with its class", rfc: "UEFI 2.10 24.7.3",
		proof: func(x *trial) {
			o := x.machine(bootstrap).discover(httpBoot(16), asks(1, 3, optClass, optBootFile))
			equal(x, "class", text(o.get(optClass)), "HTTPClient")
		},
	},
	{
		name: "option 66 and 67", rfc: "2132 9.4, 9.5",
		proof: func(x *trial) {
			o := x.machine(bootstrap).discover(pxe(0), asks(optTFTPServer, optBootFile))
			equal(x, "option 66", text(o.get(optTFTPServer)), serverIP)
			equal(x, "option 67", text(o.get(optBootFile)), "undionly.kpxe")
		},
	},
	{
		name: "reservation, firmware then loader then system", rfc: "2131 4.2",
		proof: func(x *trial) {
			for _, stage := range []struct {
				id string
				is mod
			}{
				{"\x00" + "0123456789abcdef", pxe(7)},
				{"", all(pxe(7), with(optUserClass, "iPXE"))},
				{"\xff\x00\x00\x00\x01\x00\x01" + "system", with(optHostname, "localhost")},
			} {
				c := x.machine(bootstrap)
				c.id = stage.id
				equal(x, "address", c.lease(stage.is), netip.MustParseAddr("192.168.67.10"))
			}
		},
	},
}
