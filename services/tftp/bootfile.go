package tftp

import (
	"net/netip"
	"path"
	"slices"

	"helperd/boot"
	"helperd/nodes"
	"helperd/plan"
	"helperd/services/tftp/engine"
	"helperd/services/tftp/packet"
)

// render gives what f says to the machine at addr, as of now.
func (s *Service) render(st *state, f boot.File, addr netip.Addr) engine.Content {
	var say nodes.Script
	if f.Node != nil {
		say = s.host.Nodes.Answer(st.plan, f.Node, addr)
	}
	return engine.Memory(f.Render(boot.Options{Token: say.Token, Disk: say.Disk, TFTP: true}))
}

// openLoader opens a boot loader of this machine's packages, or a module of
// one. They are looked for at every request: one that is installed later is
// served at once. It gives nil when path names no loader.
func (s *Service) openLoader(st *state, name string) (engine.Content, error) {
	if file := boot.FindModule(name); file != "" {
		return s.openFile(file)
	}
	l := plan.Loader(path.Base(name))
	if !st.loaders[l] {
		return nil, nil
	}
	if file := boot.FindLoader(l); file != "" {
		return s.openFile(file)
	}
	for _, p := range boot.Missing(nil) {
		if p.Loader == l {
			return nil, &miss{wire: &packet.Error{Code: packet.CodeNotFound, Text: p.String()}, detail: p.String()}
		}
	}
	return nil, nil
}

// knownLoaders are the names of all boot loaders that package boot looks for.
func knownLoaders() map[plan.Loader]bool {
	known := map[plan.Loader]bool{}
	for _, m := range boot.Missing(nil) {
		known[m.Loader] = true
	}
	return known
}

// usual is what firmware of a machine asks for first.
type usual struct {
	client uint16 // DHCP option 93
	loader plan.Loader
}

// firmware that every machine of an architecture may have.
var firmware = map[string][]usual{
	"x86_64":  {{plan.ArchBIOS, plan.Undionly}, {plan.ArchEFI64, plan.SNPOnly64}},
	"aarch64": {{plan.ArchEFIArm64, plan.SNPOnlyAA64}},
	"ppc64le": {{plan.ArchPPC64, plan.GRUBPPC64}},
}

// missingLoaders names the loaders without which a node of p does not boot: the
// plan found none for its firmware, or the one it offers is gone.
func missingLoaders(p *plan.Plan) []string {
	var want []plan.Loader
	for i := range p.DHCP.Reservations {
		r := &p.DHCP.Reservations[i]
		n := p.NodeByName(r.Node)
		if r.Boot == nil || n == nil {
			continue
		}
		for _, file := range r.Boot.TFTP {
			if path.Dir(file) == "." {
				want = append(want, plan.Loader(file))
			}
		}
		for _, u := range firmware[n.Arch] {
			if r.Boot.TFTP[u.client] == "" {
				want = append(want, u.loader)
			}
		}
	}
	if len(want) == 0 {
		return nil
	}
	var out []string
	for _, m := range boot.Missing(boot.FindLoaders(p.TFTP.Root)) {
		if slices.Contains(want, m.Loader) {
			out = append(out, m.String())
		}
	}
	return out
}
