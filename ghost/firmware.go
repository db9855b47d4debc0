package ghost

import (
	"crypto/sha256"
	"net"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Firmware is what a machine boots the network with.
type Firmware string

// The kinds, as packet captures show them.
const (
	BIOSPXE  Firmware = "BIOS PXE"       // a PXE ROM: loader by TFTP
	BIOSiPXE Firmware = "BIOS iPXE"      // a ROM that is iPXE itself: script by HTTP
	UEFIPXE  Firmware = "UEFI PXE"       // loader by TFTP in windows of four blocks
	UEFIHTTP Firmware = "UEFI HTTP Boot" // loader by HTTP
)

// client is how one stage of a boot asks for an address.
type client struct {
	class     string          // option 60; empty: not sent
	userClass string          // option 77
	arch      uint16          // option 93, sent when pxe is true
	pxe       bool            // sends options 93, 94 and 97
	clientID  []byte          // option 61; nil: not sent, as OVMF does
	broadcast bool            // asks for replies by broadcast
	maxSize   uint16          // option 57
	etherboot bool            // option 175
	wantURL   bool            // takes offers of class HTTPClient only
	wantHost  bool            // an operating system: takes its name from the lease
	waits     []time.Duration // after each packet, before the next
}

// seconds are the waits of a client.
func seconds(list ...time.Duration) []time.Duration {
	for i := range list {
		list[i] *= time.Second
	}
	return list
}

// romWaits are those of the PXE specification.
func romWaits() []time.Duration { return seconds(4, 8, 16, 32) }

// client is the DHCP client in the firmware of mac.
func (f Firmware) client(mac net.HardwareAddr) client {
	switch f {
	case BIOSiPXE:
		return ipxeClient(mac, 0x00)
	case UEFIPXE:
		return client{class: "PXEClient:Arch:00007:UNDI:003000", arch: 0x07, pxe: true, broadcast: true, maxSize: 1472, waits: romWaits()}
	case UEFIHTTP:
		return client{class: "HTTPClient:Arch:00016:UNDI:003000", arch: 0x10, pxe: true, broadcast: true, maxSize: 1472, wantURL: true, waits: romWaits()}
	}
	// ROMs of network cards send the machine's UUID as their client id, unlike the stages after them.
	return client{class: "PXEClient:Arch:00000:UNDI:002001", arch: 0x00, pxe: true, broadcast: true, maxSize: 1260, clientID: machineID(mac), waits: romWaits()}
}

// ipxeClient is iPXE, in ROM or loaded. It asks for unicast replies, which
// reach it before it has an address.
func ipxeClient(mac net.HardwareAddr, arch uint16) client {
	class := "PXEClient:Arch:00000:UNDI:002001"
	if arch != 0 {
		arch = 0x07 // also when HTTP Boot loaded it
		class = "PXEClient:Arch:00007:UNDI:003010"
	}
	return client{class: class, userClass: "iPXE", arch: arch, pxe: true, clientID: hardwareID(mac), maxSize: 1472, etherboot: true, waits: seconds(1, 2, 4, 8, 16)}
}

// systemClient is NetworkManager in the live or installed system.
func systemClient(mac net.HardwareAddr) client {
	return client{clientID: hardwareID(mac), maxSize: 1500, wantHost: true, waits: seconds(3, 6, 12, 24)}
}

// hardwareID is a client id of type Ethernet (RFC 2132 section 9.14).
func hardwareID(mac net.HardwareAddr) []byte { return append([]byte{1}, mac...) }

// machineID is option 97: type 0 and a UUID (RFC 4578 section 2.3). The UUID
// is made from the MAC, so that a node keeps it.
func machineID(mac net.HardwareAddr) []byte {
	sum := sha256.Sum256(mac)
	sum[6] = sum[6]&0x0f | 0x40
	sum[8] = sum[8]&0x3f | 0x80
	return append([]byte{0}, sum[:16]...)
}

// packet is a DISCOVER or REQUEST of c without what differs between the two.
func (c client) packet(mac net.HardwareAddr, xid dhcpv4.TransactionID, kind dhcpv4.MessageType) (*dhcpv4.DHCPv4, error) {
	want := []dhcpv4.OptionCode{
		dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer, dhcpv4.OptionHostName, dhcpv4.OptionDomainName,
		dhcpv4.OptionInterfaceMTU, dhcpv4.OptionNTPServers, dhcpv4.OptionDNSDomainSearchList,
	}
	if c.pxe {
		want = append(want, dhcpv4.OptionTFTPServerName, dhcpv4.OptionBootfileName, dhcpv4.OptionVendorSpecificInformation, dhcpv4.OptionClassIdentifier)
	} else {
		want = append(want, dhcpv4.OptionClasslessStaticRoute)
	}
	mods := []dhcpv4.Modifier{
		dhcpv4.WithTransactionID(xid), dhcpv4.WithHwAddr(mac), dhcpv4.WithMessageType(kind), dhcpv4.WithBroadcast(c.broadcast),
		dhcpv4.WithOption(dhcpv4.OptParameterRequestList(want...)),
		dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(c.maxSize)),
	}
	add := func(code dhcpv4.OptionCode, value []byte) { mods = append(mods, dhcpv4.WithGeneric(code, value)) }
	if c.class != "" {
		add(dhcpv4.OptionClassIdentifier, []byte(c.class))
	}
	if c.clientID != nil {
		add(dhcpv4.OptionClientIdentifier, c.clientID)
	}
	if c.userClass != "" {
		add(dhcpv4.OptionUserClassInformation, []byte(c.userClass)) // bare, as iPXE sends it, not as RFC 3004 wants it
	}
	if c.pxe {
		add(dhcpv4.OptionClientSystemArchitectureType, []byte{byte(c.arch >> 8), byte(c.arch)})
		add(dhcpv4.OptionClientNetworkInterfaceIdentifier, []byte{1, 3, 16})
		add(dhcpv4.OptionClientMachineIdentifier, machineID(mac))
	}
	if c.etherboot {
		// Features: PXE extensions, iSCSI left out, HTTP, DNS, bzImage, multiboot.
		add(dhcpv4.OptionEtherboot, []byte{177, 5, 1, 0x80, 0x86, 0x10, 0x0e, 33, 1, 1, 19, 1, 1, 23, 1, 1, 25, 1, 1})
	}
	return dhcpv4.New(mods...)
}

// loaderType says what a boot loader does once it runs.
type loaderType string

const (
	loaderIPXE     loaderType = "iPXE"
	loaderGRUB     loaderType = "GRUB"
	loaderPXELINUX loaderType = "PXELINUX"
)

// loaderKind tells a loader by its file name, as nothing runs here.
func loaderKind(file string) loaderType {
	name := strings.ToLower(base(file))
	switch {
	case strings.HasPrefix(name, "shim"), strings.HasPrefix(name, "grub"), strings.HasPrefix(name, "core."), strings.HasPrefix(name, "boot"):
		return loaderGRUB
	case strings.Contains(name, "pxelinux"):
		return loaderPXELINUX
	case strings.HasPrefix(name, "undionly"), strings.HasPrefix(name, "snp"), strings.HasPrefix(name, "ipxe"):
		return loaderIPXE
	}
	return ""
}
