package config

import (
	"net/netip"
	"time"
)

// Config is the content of /etc/helper.yaml, defaults filled in.
type Config struct {
	// Version of the file format: 1.
	Version int `yaml:"version" jsonschema:"required,enum=1"`
	// Helper is the machine that helperd runs on.
	Helper Helper `yaml:"helper" jsonschema:"required"`
	// Networks are the machine networks that helperd serves.
	Networks []Network `yaml:"networks" jsonschema:"required"`
	// Artifacts are what nodes boot.
	Artifacts []Artifact `yaml:"artifacts"`
	// Clusters are the OpenShift or OKD clusters to install.
	Clusters []Cluster `yaml:"clusters"`
	// Hosts are machines that are in no cluster: DNS and DHCP only.
	Hosts []Host `yaml:"hosts"`
	// DNS configures the name server.
	DNS DNS `yaml:"dns"`
	// LB configures the balancer; clusters bring their own frontends.
	LB LB `yaml:"lb"`
	// HTTP configures the web server for artifacts, boot scripts and ignition.
	HTTP HTTP `yaml:"http"`
	// TFTP configures the TFTP server.
	TFTP TFTP `yaml:"tftp"`
	// FTP configures the FTP server.
	FTP FTP `yaml:"ftp"`
	// NTP configures the time server.
	NTP NTP `yaml:"ntp"`
	// NFS configures the exports.
	NFS NFS `yaml:"nfs"`
	// Admin configures the ways in for people.
	Admin Admin `yaml:"admin"`
	// History configures where configuration is pulled from.
	History History `yaml:"history"`

	positions map[string]Position
}

// Helper is the machine that helperd runs on.
type Helper struct {
	// Name of the machine in every cluster's zone. Default: helper.
	Name string `yaml:"name" jsonschema:"default=helper"`
	// Address where nodes reach every service.
	Address netip.Addr `yaml:"address" jsonschema:"required"`
	// Address6 is the IPv6 address where nodes reach every service.
	Address6 netip.Addr `yaml:"address6"`
}

// Network is one machine network.
type Network struct {
	// CIDR of the network, IPv4 or IPv6, any prefix length.
	CIDR netip.Prefix `yaml:"cidr" jsonschema:"required"`
	// Interface that faces the network. Default: the one that holds an address in it; none: the network is reached by relay.
	Interface string `yaml:"interface"`
	// Gateway is the default route of the nodes.
	Gateway netip.Addr `yaml:"gateway"`
	// NTP servers for the nodes. Default: the helper, while it serves time.
	NTP []netip.Addr `yaml:"ntp"`
	// DNS servers for the nodes. Default: the helper.
	DNS []netip.Addr `yaml:"dns"`
	// MTU of the network in bytes.
	MTU int `yaml:"mtu" jsonschema:"minimum=68,maximum=65535"`
	// Routes are further static routes for the nodes.
	Routes []Route `yaml:"routes"`
	// DHCP configures address assignment on the network.
	DHCP NetworkDHCP `yaml:"dhcp"`
	// RA sends router advertisements on an IPv6 network: addresses come by DHCPv6, and a default route only where the helper is the gateway.
	RA bool `yaml:"ra"`
}

// Route is a static route handed out by DHCP option 121.
type Route struct {
	// To is the destination.
	To netip.Prefix `yaml:"to" jsonschema:"required"`
	// Via is the next hop.
	Via netip.Addr `yaml:"via" jsonschema:"required"`
}

// NetworkDHCP configures address assignment on one network.
type NetworkDHCP struct {
	// Pool of addresses for machines that are in no list, as FIRST-LAST.
	Pool Range `yaml:"pool"`
	// Lease time of both pool addresses and reservations. Default: 4h for the pool, 168h for reservations.
	Lease Duration `yaml:"lease"`
	// Mode is server, proxy (boot information only, beside another DHCP server; IPv4 only) or off. Default: server;
	// on an IPv6 network only where dhcp: is written or a machine with mac and ip6 is in it.
	Mode string `yaml:"mode" jsonschema:"enum=server,enum=proxy,enum=off,default=server"`
	// Unknown says what machines that are in no list get: pool or ignore. Default: pool if there is one.
	Unknown string `yaml:"unknown" jsonschema:"enum=pool,enum=ignore"`
}

// Artifact is a set of files that nodes boot.
type Artifact struct {
	// Name that clusters refer to.
	Name string `yaml:"name" jsonschema:"required"`
	// Arch of the files. Default: x86_64.
	Arch string `yaml:"arch" jsonschema:"enum=x86_64,enum=aarch64,enum=ppc64le,enum=s390x,default=x86_64"`
	// Loader is a folder or ISO with shim and GRUB of the kernel's vendor, for Secure Boot.
	Loader string `yaml:"loader"`
	// Kernel of the live installer.
	Kernel Source `yaml:"kernel"`
	// Initramfs of the live installer.
	Initramfs Source `yaml:"initramfs"`
	// Rootfs of the live installer (4.6 and later).
	Rootfs Source `yaml:"rootfs"`
	// Metal image that the installer writes to disk (4.5 and earlier).
	Metal Source `yaml:"metal"`
	// ISO is the live ISO of the same release, for machines that cannot boot from the network.
	ISO Source `yaml:"iso"`
	// Stream is the stream JSON that openshift-install prints, in place of the single files.
	Stream Source `yaml:"stream"`
}

// Source is a file on this machine, or one to be fetched.
type Source struct {
	// File is a path on this machine.
	File string `yaml:"file"`
	// URL to fetch the file from.
	URL string `yaml:"url"`
	// SHA256 is the checksum of the file in hex, required with url.
	SHA256 string `yaml:"sha256"`
}

// Cluster is one OpenShift or OKD cluster.
type Cluster struct {
	// Name of the cluster; its zone is NAME.DOMAIN.
	Name string `yaml:"name" jsonschema:"required"`
	// Domain that the cluster lives in.
	Domain string `yaml:"domain" jsonschema:"required"`
	// Artifacts names the artifact that the nodes boot.
	Artifacts string `yaml:"artifacts"`
	// InstallDisk is the device that the system is installed to.
	InstallDisk string `yaml:"install_disk"`
	// KernelArgs are added to the kernel command line of every node. Boot loaders use the serial console among them too.
	KernelArgs []string `yaml:"kernel_args"`
	// Ignition is the folder with bootstrap.ign, master.ign and worker.ign, and arbiter.ign where there are arbiters.
	// A file with the name of a node, such as worker-0.ign, takes the place of its role's.
	Ignition string `yaml:"ignition"`
	// IgnitionGate is strict (only to the right node, while it installs) or open. Default: strict.
	IgnitionGate string `yaml:"ignition_gate" jsonschema:"enum=strict,enum=open,default=strict"`
	// IgnitionExpired says what happens to ignition files whose certificates have expired: refuse or serve. Default: refuse.
	IgnitionExpired string `yaml:"ignition_expired" jsonschema:"enum=refuse,enum=serve,default=refuse"`
	// Address of the cluster's balancer. Default: helper.address.
	Address netip.Addr `yaml:"address"`
	// Nodes of the cluster.
	Nodes []Node `yaml:"nodes" jsonschema:"required"`
}

// Node is one machine of a cluster.
type Node struct {
	// Name of the node in the cluster's zone.
	Name string `yaml:"name" jsonschema:"required"`
	// Role of the node.
	Role string `yaml:"role" jsonschema:"required,enum=bootstrap,enum=master,enum=worker,enum=arbiter"`
	// MAC address, or a list of them. Without one the node gets no DHCP.
	MAC MACs `yaml:"mac"`
	// UUID of the firmware, as dmidecode prints it. It finds the node when a card asks that is not in mac; operating systems do not send it.
	UUID UUID `yaml:"uuid"`
	// ClientID is the DHCP client id (option 61), as a text or as hex bytes with colons. It finds the node when a card asks that is not in mac.
	ClientID ClientID `yaml:"client_id"`
	// IP is the IPv4 address.
	IP netip.Addr `yaml:"ip"`
	// IP6 is the IPv6 address. DHCPv6 gives it to the node's MAC.
	IP6 netip.Addr `yaml:"ip6"`
	// Arch of the machine. Default: the artifact's.
	Arch string `yaml:"arch" jsonschema:"enum=x86_64,enum=aarch64,enum=ppc64le,enum=s390x"`
	// Ingress says that the node runs routers. Default: workers do, or masters when there are no workers.
	Ingress *bool `yaml:"ingress"`
	// InstallDisk overrides the cluster's.
	InstallDisk string `yaml:"install_disk"`
	// KernelArgs are added to those of the cluster.
	KernelArgs []string `yaml:"kernel_args"`
	// Static puts the address on the kernel command line in place of ip=dhcp.
	Static bool `yaml:"static"`
	// NIC is the name of the boot interface, such as enp1s0.
	NIC string `yaml:"nic"`
	// Bond as on the kernel command line, such as bond0:em1,em2:mode=active-backup.
	Bond string `yaml:"bond"`
	// VLAN as on the kernel command line, such as bond0.100:bond0.
	VLAN string `yaml:"vlan"`
}

// Host is a machine that is in no cluster.
type Host struct {
	// Name is the full name of the host.
	Name string `yaml:"name" jsonschema:"required"`
	// IP is the IPv4 address.
	IP netip.Addr `yaml:"ip"`
	// IP6 is the IPv6 address.
	IP6 netip.Addr `yaml:"ip6"`
	// MAC address, or a list of them.
	MAC MACs `yaml:"mac"`
	// UUID of the firmware, as dmidecode prints it. DHCP goes by it when the MAC is in no list; operating systems do not send it.
	UUID UUID `yaml:"uuid"`
	// ClientID is the DHCP client id (option 61), as a text or as hex bytes with colons. DHCP goes by it when MAC and UUID are in no list.
	ClientID ClientID `yaml:"client_id"`
}

// DNS configures the name server.
type DNS struct {
	// Enabled is true unless written.
	Enabled bool `yaml:"enabled" jsonschema:"default=true"`
	// Forwarders answer what is not ours.
	Forwarders []AddrPort `yaml:"forwarders"`
	// Records are further records.
	Records []Record `yaml:"records"`
	// Allow lists who may ask for names that are not ours. Default: the networks.
	Allow []netip.Prefix `yaml:"allow"`
}

// Record is one DNS record in presentation form.
type Record struct {
	// Name is the owner, a full name.
	Name string `yaml:"name" jsonschema:"required"`
	// Type of the record.
	Type string `yaml:"type" jsonschema:"required,enum=A,enum=AAAA,enum=CNAME,enum=TXT,enum=SRV,enum=MX,enum=PTR"`
	// Value as in a zone file, such as "10 mail.example.com".
	Value string `yaml:"value" jsonschema:"required"`
	// TTL in seconds or as 5m. Default: 5m.
	TTL Duration `yaml:"ttl" jsonschema:"default=5m"`
}

// Duration is a time span written as in Go: 90s, 4h.
type Duration time.Duration

// Position is a place in the file, counted from 1.
type Position struct{ Line, Column int }
