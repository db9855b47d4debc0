package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Section is what one service serves, one fact a line.
type Section struct {
	Name  string // of the service
	Lines []string
}

// String is the plan as people read it: a section for each service.
func (p *Plan) String() string {
	var s strings.Builder
	for i, sec := range p.Sections() {
		if i > 0 {
			s.WriteByte('\n')
		}
		fmt.Fprintf(&s, "%s:\n", sec.Name)
		for _, l := range sec.Lines {
			fmt.Fprintf(&s, "  %s\n", l)
		}
	}
	return s.String()
}

// Sections are the parts of the plan that have something to say, in a fixed order.
func (p *Plan) Sections() []Section {
	var out []Section
	for _, s := range []Section{
		{"dns", p.DNS.lines()},
		{"dhcp", p.DHCP.lines()},
		{"dhcp6", p.DHCP6.lines6()},
		{"ra", p.RA.lines()},
		{"boot", p.bootLines()},
		{"http", p.HTTP.lines()},
		{"tftp", p.TFTP.lines()},
		{"ftp", p.FTP.lines()},
		{"ntp", p.NTP.lines()},
		{"lb", p.LB.lines()},
		{"nfs", p.NFS.lines()},
		{"unserved", p.unservedLines()},
	} {
		if len(s.Lines) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// A writer gathers the lines of a section.
type writer []string

func (w *writer) line(format string, args ...any) { *w = append(*w, fmt.Sprintf(format, args...)) }

// words is a line under construction; empty values leave no trace.
type words []string

func (ws *words) add(key string, value any) {
	s := fmt.Sprint(value)
	if s != "" && s != "0" && s != "0s" && s != "invalid IP" && s != "[]" && s != "false" {
		*ws = append(*ws, key+" "+s)
	}
}

func (ws words) String() string { return strings.Join(ws, ", ") }

func list[T fmt.Stringer](vs []T) string {
	out := make([]string, len(vs))
	for i, v := range vs {
		out[i] = v.String()
	}
	return strings.Join(out, " ")
}

func (d *DNS) lines() []string {
	var w writer
	if !d.Enabled {
		w.line("disabled")
		return w
	}
	w.line("listen %s", list(d.Listen))
	if len(d.Forwarders) > 0 {
		w.line("forward to %s for %s", list(d.Forwarders), list(d.Allow))
	}
	for _, z := range d.Zones {
		w.line("zone %s", z.Name)
		for _, r := range z.Records {
			w.line("%s", r)
		}
	}
	for _, r := range d.Names {
		w.line("%s", r)
	}
	return w
}

func (d *DHCP) lines() []string {
	var w writer
	if !d.Enabled {
		w.line("disabled")
		return w
	}
	for _, s := range d.Subnets {
		w.line("%s", s)
	}
	for _, r := range d.Reservations {
		w.line("%s", r)
		r.Boot.lines(&w, r.MAC)
	}
	return w
}

// lines6 has nothing to say of a file without DHCPv6: few ask for it.
func (d *DHCP) lines6() []string {
	if !d.Enabled {
		return nil
	}
	return d.lines()
}

func (s Subnet) String() string {
	ws := words{fmt.Sprintf("subnet %s mode %s", s.Prefix, s.Mode)}
	ws.add("interface", s.Interface)
	ws.add("server", s.Server)
	if s.Pool.IsValid() {
		ws.add("pool", s.Pool)
		ws.add("lease", s.PoolLease)
	}
	ws.add("reservations", s.ReservationLease)
	if s.IgnoreUnknown {
		ws = append(ws, "unknown machines ignored")
	}
	ws.add("router", s.Router)
	ws.add("dns", list(s.DNS))
	ws.add("ntp", list(s.NTP))
	ws.add("mtu", s.MTU)
	ws.add("domain", s.Domain)
	ws.add("search", strings.Join(s.Search, " "))
	for _, r := range s.Routes {
		ws.add("route", r)
	}
	return ws.String()
}

func (r Route) String() string { return fmt.Sprintf("%s via %s", r.To, r.Via) }

func (r Reservation) String() string {
	ws := words{fmt.Sprintf("reservation %s %s", r.MAC, r.Address)}
	if r.MAC.IsZero() {
		ws[0] = "reservation " + r.Address.String()
	}
	ws.add("uuid", r.UUID)
	ws.add("client id", r.ClientID)
	ws.add("hostname", r.Hostname)
	ws.add("domain", r.Domain)
	ws.add("search", strings.Join(r.Search, " "))
	return ws.String()
}

// lines says what each kind of firmware loads.
func (f *BootFiles) lines(w *writer, m MAC) {
	if f == nil {
		return
	}
	var ws words
	ws.add("ipxe", f.Script)
	for _, arch := range slices.Sorted(maps.Keys(f.TFTP)) {
		ws.add(fmt.Sprintf("0x%02x", arch), f.TFTP[arch])
	}
	for _, arch := range slices.Sorted(maps.Keys(f.HTTP)) {
		ws.add(fmt.Sprintf("0x%02x", arch), f.HTTP[arch])
	}
	if f.ConfigFile != "" {
		ws.add("petitboot", f.PathPrefix[ArchPetitboot]+f.ConfigFile)
	}
	ws.add("0x00 prefix", f.PathPrefix[ArchBIOS])
	if len(ws) > 0 {
		w.line("boot %s %s", m, ws)
	}
}

func (p *Plan) bootLines() []string {
	var w writer
	for _, n := range p.Nodes {
		if n.Boot != nil {
			w.line("%s boots %s %s %s", n.FQDN, n.Boot.Kernel, n.Boot.Initramfs, strings.Join(n.Boot.Args, " "))
			if firmwares[n.Arch] == nil {
				w.line("%s starts with its parameter file: helperd boot render %s --%s", n.FQDN, n.FQDN, n.Arch)
			}
		}
	}
	return w
}

func (h *HTTP) lines() []string {
	var w writer
	if !h.Enabled {
		w.line("disabled")
		return w
	}
	w.line("listen %s for %s", list(h.Listen), list(h.Machines))
	if len(h.TLS.Listen) > 0 {
		w.line("tls %s as %s", list(h.TLS.Listen), strings.Join(h.TLS.Names, ", "))
	}
	if h.Root != "" {
		w.line("root %s", withListing(h.Root, h.Listing))
	}
	for _, f := range h.Files {
		w.line("%s", f)
	}
	for _, i := range h.Ignition {
		i.lines(&w)
	}
	for _, i := range h.ISOs {
		if i.Problem == "" {
			w.line("iso %s from %s, kernel arguments %s", i.Path, i.Base.Path, strings.Join(i.Args, " "))
		}
	}
	return w
}

func withListing(root string, listing bool) string {
	if listing {
		return root + " with listing"
	}
	return root
}

func (f File) String() string {
	ws := words{fmt.Sprintf("file %s from %s", f.Path, f.From())}
	ws.add("inside it", f.Inside)
	ws.add("sha256", f.SHA256[:min(len(f.SHA256), 12)])
	if f.OnDemand {
		ws = append(ws, "on demand")
	}
	return ws.String()
}

func (i *Ignition) lines(w *writer) {
	if i.Node != nil { // every node has one; only a network of its own is worth a line
		for _, k := range i.Keyfiles {
			w.line("ignition %s for %s, with %s.nmconnection", i.Path, i.Node.FQDN, k.Name)
		}
		return
	}
	gate := "strict"
	if i.Open {
		gate = "open"
	}
	if i.Expired {
		gate += ", also when expired"
	}
	w.line("ignition %s from %s, gate %s", i.Path, i.File, gate)
	for _, n := range i.Nodes {
		w.line("ignition %s for %s", i.Path, n.FQDN)
	}
}

func (t *TFTP) lines() []string {
	var w writer
	if !t.Enabled {
		w.line("disabled")
		return w
	}
	w.line("listen %s", list(t.Listen))
	if t.Root != "" {
		w.line("root %s", t.Root)
	}
	if t.MTU != 0 {
		w.line("mtu %d", t.MTU)
	}
	for _, f := range t.Files {
		w.line("%s", f)
	}
	return w
}

func (f *FTP) lines() []string {
	var w writer
	if !f.Enabled {
		w.line("disabled")
		return w
	}
	w.line("listen %s for %s", list(f.Listen), list(f.Machines))
	w.line("passive ports %d-%d", f.PassivePorts.First, f.PassivePorts.Last)
	if f.Root != "" {
		w.line("root %s", f.Root)
	}
	if f.Listing {
		w.line("folders are listed")
	}
	for _, file := range f.Files {
		w.line("%s", file)
	}
	return w
}

func (n *NFS) lines() []string {
	var w writer
	for _, e := range n.Exports {
		w.line("export %s for %s", e.Path, list(e.Clients))
	}
	return w
}

func (p *Plan) unservedLines() []string {
	var w writer
	for _, u := range p.Unserved {
		w.line("%s: %s", u.Service, u.Reason)
	}
	return w
}
