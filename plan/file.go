package plan

import (
	"cmp"
	"math"
	"net/netip"
	"slices"

	"helperd/config"
)

const (
	// ethernetMTU in bytes is that of a network that declares none.
	ethernetMTU = 1500
	// tftpPort is built into firmware (RFC 1350 section 4).
	tftpPort = 69
)

// http derives what the web server hands out and to whom.
func (b *builder) http() {
	h := &b.p.HTTP
	if h.Enabled = b.c.HTTP.Enabled; !h.Enabled {
		b.withoutHTTP()
		return
	}
	h.Listen = b.listen(b.c.HTTP.Listen, b.c.HTTP.Port)
	h.TLS = b.tls()
	h.Root, h.Listing = b.c.HTTP.Root, b.c.HTTP.Listing
	h.Files = b.files()
	h.Machines = b.machines()
	for i, cl := range b.p.Clusters {
		h.Ignition = append(h.Ignition, b.ignition(cl, &b.c.Clusters[i])...)
	}
	b.isos()
}

// tls derives where HTTPS is served, and by which names and addresses clients
// may call the helper: those that DNS knows it by.
func (b *builder) tls() TLS {
	port := b.c.HTTP.TLSPort
	if port == 0 {
		return TLS{}
	}
	t := TLS{Listen: b.listen(b.c.HTTP.Listen, port), Names: []string{b.p.Helper.Name}, Addresses: b.p.Helper.Addresses()}
	for _, cl := range b.p.Clusters {
		t.Names = append(t.Names, b.p.Helper.Name+"."+cl.Zone)
	}
	if a := b.c.HTTP.Listen; a.IsValid() && !a.IsUnspecified() && !slices.Contains(t.Addresses, a) {
		t.Addresses = append(t.Addresses, a)
	}
	return t
}

// files are all files of all artifacts.
func (b *builder) files() (list []File) {
	for i := range b.c.Artifacts {
		a := &b.c.Artifacts[i]
		list = append(list, b.filesOf(a.Name)...)
		list = append(list, b.vendorFiles(a)...)
	}
	return append(list, b.keptFiles()...)
}

// ftp derives what the FTP server hands out and to whom.
func (b *builder) ftp() {
	f := &b.p.FTP
	if f.Enabled = b.c.FTP.Enabled; !f.Enabled {
		return
	}
	f.Listen = b.listen(b.c.FTP.Listen, b.c.FTP.Port)
	f.Root, f.Listing = cmp.Or(b.c.FTP.Root, b.c.HTTP.Root), b.c.FTP.Listing
	f.PassivePorts = PortRange{uint16(b.c.FTP.PassivePorts.First), uint16(b.c.FTP.PassivePorts.Last)}
	f.Files, f.Machines = b.files(), b.machines()
}

// withoutHTTP warns when nodes would look for a server that is switched off.
func (b *builder) withoutHTTP() {
	for _, n := range b.p.Nodes {
		if n.Boot != nil {
			b.say(config.Warning, "http.enabled", "http: it is switched off and nodes boot from it; another server must answer at %s, or remove enabled: false", n.Boot.BaseURL)
			return
		}
	}
}

// tftp derives what the TFTP server hands out: what firmware and GRUB load.
func (b *builder) tftp() {
	t := &b.p.TFTP
	if t.Enabled = b.c.TFTP.Enabled; !t.Enabled {
		return
	}
	t.Listen = b.listen(b.c.TFTP.Listen, b.c.TFTP.Port)
	t.Root = b.c.TFTP.Root
	if a := b.c.TFTP.Listen; a.IsValid() && !a.IsUnspecified() && a != b.p.Helper.Address {
		b.say(config.Warning, "tftp.listen", "tftp: DHCP sends nodes to helper.address, %s, and nothing answers there; remove listen", b.p.Helper.Address)
	}
	if b.c.TFTP.Port != tftpPort {
		b.say(config.Warning, "tftp.port", "tftp: firmware asks at port %d alone, and nothing answers there; remove port", tftpPort)
	}
	for i := range b.c.Artifacts {
		a := &b.c.Artifacts[i]
		t.Files = append(t.Files, bootImages(b.filesOf(a.Name))...)
		t.Files = append(t.Files, b.vendorFiles(a)...)
	}
	t.Files = append(t.Files, bootImages(b.keptFiles())...)
	t.MTU = b.mtu()
}

// mtu is the smallest of the networks, of which those that declare none are
// Ethernet; 0: none declares one.
func (b *builder) mtu() int {
	declared, least := false, math.MaxInt
	for _, n := range b.c.Networks {
		declared = declared || n.MTU != 0
		least = min(least, cmp.Or(n.MTU, ethernetMTU))
	}
	if !declared {
		return 0
	}
	return least
}

// machines are the networks, and the addresses of the helper and of balancers
// that lie outside of them.
func (b *builder) machines() []netip.Prefix {
	ps := b.prefixes()
	own := b.p.Helper.Addresses()
	for _, cl := range b.p.Clusters {
		own = append(own, cl.Address)
	}
	for _, a := range own {
		if !slices.ContainsFunc(ps, func(p netip.Prefix) bool { return p.Contains(a) }) {
			ps = append(ps, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return ps
}

// nfs takes over the exports.
func (b *builder) nfs() {
	if !b.c.NFS.Enabled {
		return
	}
	for _, e := range b.c.NFS.Exports {
		b.p.NFS.Exports = append(b.p.NFS.Exports, Export{e.Path, e.Clients})
	}
}
