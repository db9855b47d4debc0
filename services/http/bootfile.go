package http

import (
	"errors"
	"io/fs"
	nethttp "net/http"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"helperd/boot"
	"helperd/internal/files"
	"helperd/internal/human"
	"helperd/plan"
	"helperd/timeline"
)

// bootFolder is where loaders and scripts are.
const bootFolder = "/boot/"

// serveBoot sends a boot file or a boot loader. It reports false when the path
// means neither, or the user has a file of that name and it is not a node's.
func (x *exchange) serveBoot() bool {
	switch f, ok := x.state.boot.Resolve(x.path, x.host.Nodes.Holder(x.state.plan, x.addr)); {
	case ok && (!f.Shared || !x.hasOwn()):
		x.serveScript(f)
		return true
	case f.Refused != "" && !x.hasOwn():
		if x.inNetworks() {
			x.refuseBoot(f)
			x.count.misses.Add(1)
			x.text(nethttp.StatusNotFound, f.Refused+"\n")
		}
		return true
	}
	name, ok := strings.CutPrefix(x.path, bootFolder)
	return ok && !strings.Contains(name, "/") && x.serveLoader(plan.Loader(name))
}

// inNetworks reports whether the machine networks have the client. Others are
// refused, and learn nothing of which MACs there are.
func (x *exchange) inNetworks() bool {
	if x.state.machine(x.addr) {
		return true
	}
	x.count.refused.Add(1)
	x.text(nethttp.StatusForbidden, x.addr.String()+" is in none of the machine networks; add its network to `networks:`\n")
	return false
}

// refuseBoot tells of a machine that boots nothing. Looking at it (HEAD) is no news.
func (x *exchange) refuseBoot(f boot.File) {
	if f.Refused != "" && x.r.Method != nethttp.MethodHead {
		x.host.Events.Emit(timeline.Event{Kind: timeline.BootRefused, MAC: f.MAC, Addr: x.addr, File: human.Printable(x.path), Detail: f.Refused})
	}
}

// serveScript renders what a node is to boot, as of now. Looking at it (HEAD)
// decides nothing.
func (x *exchange) serveScript(f boot.File) {
	if !x.inNetworks() {
		return
	}
	h := x.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	if x.r.Method == nethttp.MethodHead {
		x.w.WriteHeader(nethttp.StatusOK)
		return
	}
	x.refuseBoot(f)
	var o boot.Options
	if f.Node != nil {
		say := x.host.Nodes.Answer(x.state.plan, f.Node, x.addr)
		o = boot.Options{Token: say.Token, Disk: say.Disk}
	}
	body := f.Render(o)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.w.WriteHeader(nethttp.StatusOK)
	_, err := x.w.Write(body)
	if err == nil {
		err = x.w.flush()
	}
	if err != nil {
		x.broke(int64(len(body)))
		return
	}
	x.got(int64(len(body)))
}

// serveLoader sends a boot loader: the user's own, or one of this machine's
// packages, which are looked for at every request, so that one that is installed
// later is served at once. It reports false when l is no loader.
func (x *exchange) serveLoader(l plan.Loader) bool {
	known := boot.Missing(nil)
	i := slices.IndexFunc(known, func(p boot.Problem) bool { return p.Loader == l })
	if i < 0 {
		return false
	}
	f, st, err := x.openLoader(l)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		x.notYet(timeline.HTTPMiss, known[i].String())
	case err != nil:
		x.notYet(timeline.HTTPMiss, notThere(x.path, err))
	default:
		defer func() { _ = f.Close() }()
		x.w.Header().Set("Content-Type", "application/octet-stream")
		x.serveFile(f, st)
	}
	return true
}

// hasOwn reports whether the user has a file at the path.
func (x *exchange) hasOwn() bool {
	if x.state.plan.HTTP.Root == "" {
		return false
	}
	f, st, err := files.OpenBelow(x.state.plan.HTTP.Root, x.path)
	if err != nil {
		return false
	}
	_ = f.Close()
	return st.Mode().IsRegular()
}

func (x *exchange) openLoader(l plan.Loader) (*os.File, fs.FileInfo, error) {
	if x.hasOwn() {
		return files.OpenBelow(x.state.plan.HTTP.Root, x.path)
	}
	file := boot.FindLoader(l, x.state.plan.TFTP.Root)
	if file == "" {
		return nil, nil, fs.ErrNotExist
	}
	return files.Open(file)
}

// missingLoaders names the loaders of this machine that p offers for UEFI HTTP
// Boot and that are gone. An artifact's own are no package's.
func missingLoaders(p *plan.Plan) []string {
	var want []plan.Loader
	for i := range p.DHCP.Reservations {
		if b := p.DHCP.Reservations[i].Boot; b != nil {
			for _, url := range b.HTTP {
				if folder, name := path.Split(url); strings.HasSuffix(folder, bootFolder) {
					want = append(want, plan.Loader(name))
				}
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
