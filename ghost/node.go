package ghost

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"helperd/internal/guard"
)

// Role of a node in its cluster, as in the configuration.
type Role string

// The roles.
const (
	Bootstrap Role = "bootstrap"
	Master    Role = "master"
	Worker    Role = "worker"
)

// A Node is one machine without an operating system on its disk. It is used by
// one goroutine; Close it when its cluster is no longer needed.
type Node struct {
	// Name in reports. The node learns its real name by DHCP.
	Name     string
	MAC      net.HardwareAddr
	Firmware Firmware
	Role     Role
	// Bridge is the interface of the caller's network namespace that the node is plugged into, by a link of its own.
	Bridge string
	// Link is one that the node shares with others; nil: it has its own.
	Link *Link
	// Sums are the SHA-256 checksums, in hex, of files that the node loads, by the last part of their names. Others are not checked.
	Sums map[string]string
	// Outside is a name on the internet that the node's resolver must know; empty: not asked.
	Outside string
	// Waits are the pauses of its DHCP clients before they ask again; nil: those of ROM, iPXE and operating system.
	Waits []time.Duration
	// Guard starts the servers of a control plane node.
	Guard *guard.Group

	link    wire
	addr    netip.Addr // of the first lease; every later one must be the same
	lease   lease      // the last one
	servers []func()
}

// Stage of a node's boot.
type Stage string

// The stages in the order in which a node passes them.
const (
	StageDHCP      Stage = "dhcp"
	StageLoader    Stage = "loader"
	StageKernel    Stage = "kernel"
	StageLive      Stage = "live"
	StageRootfs    Stage = "rootfs"
	StageIgnition  Stage = "ignition"
	StageDNS       Stage = "dns"
	StageDisk      Stage = "disk"
	StageInstalled Stage = "installed"
	StageJoining   Stage = "joining"
	StageReady     Stage = "ready"
)

// A Step is one thing that a node did.
type Step struct {
	Node   string
	Stage  Stage
	Detail string // what was asked for and what came
	At     time.Time
	Took   time.Duration
	Err    error // what went wrong; the boot ends with it
}

// Address is the address that the node got by DHCP; zero before its first lease.
func (n *Node) Address() netip.Addr { return n.addr }

// Close ends the node's servers and unplugs it.
func (n *Node) Close() {
	for _, stop := range n.servers {
		stop()
	}
	n.servers = nil
	if n.link != nil {
		n.link.Close()
		n.link = nil
	}
}

// Boot switches the node on and follows it until it is a ready member of its
// cluster. report is called after every step, from the caller's goroutine.
// The error says at which step the node is stuck, and why.
func (n *Node) Boot(ctx context.Context, report func(Step)) error {
	if err := n.Install(ctx, report); err != nil {
		return err
	}
	r := &run{Node: n, report: report}
	second, err := r.netboot(ctx)
	if err != nil {
		return err
	}
	if !second.disk {
		return fmt.Errorf("%s: the boot script installs it again although rootfs and ignition were fetched whole: it would never come up", n.Name)
	}
	if err := r.step(StageDisk, func() (string, error) { return "the boot script says: local disk", nil }); err != nil {
		return err
	}
	return r.join(ctx)
}

// Install is the first part of Boot: from power-on until all is fetched that
// is written to the disk, and the names that OpenShift needs resolve.
func (n *Node) Install(ctx context.Context, report func(Step)) error {
	if err := n.plug(); err != nil {
		return err
	}
	r := &run{Node: n, report: report}
	first, err := r.netboot(ctx)
	if err != nil {
		return err
	}
	if first.disk {
		return fmt.Errorf("%s: the boot script sends it to its disk, which is empty; if it is to be installed: helperd nodes reinstall %s", n.Name, n.Name)
	}
	if err := r.install(ctx, first); err != nil {
		return err
	}
	return r.step(StageDNS, func() (string, error) { return r.names(ctx) })
}

func (n *Node) plug() error {
	switch {
	case n.link != nil:
	case n.Link != nil:
		n.link = &seat{Link: n.Link}
	default:
		link, err := Plug(n.Bridge, n.MAC)
		if err != nil {
			return fmt.Errorf("plug %s into %s: %w", n.Name, n.Bridge, err)
		}
		n.link = link
	}
	return nil
}

// run is one boot.
type run struct {
	*Node
	report func(Step)
}

// step runs fn and reports what came of it.
func (r *run) step(stage Stage, fn func() (detail string, err error)) error {
	started := time.Now()
	detail, err := fn()
	r.report(Step{Node: r.Name, Stage: stage, Detail: detail, At: started, Took: time.Since(started), Err: err})
	if err != nil {
		return fmt.Errorf("%s: %s: %w", r.Name, stage, err)
	}
	return nil
}

// obtain asks for an address as client c and configures it. A machine has one
// address in all stages of its boot: installers and certificates count on it.
func (r *run) obtain(ctx context.Context, c client) error {
	if err := r.link.Flush(); err != nil {
		return fmt.Errorf("reset the interface: %w", err)
	}
	if r.Waits != nil {
		c.waits = r.Waits
	}
	if _, shared := r.link.(*seat); shared {
		c.broadcast = true
	}
	l, err := dhcp(ctx, r.link, r.MAC, c)
	if err != nil {
		return err
	}
	if r.addr.IsValid() && r.addr != l.prefix.Addr() {
		return fmt.Errorf("got %s and had %s before: the address must not change between the stages of a boot", l.prefix.Addr(), r.addr)
	}
	r.addr, r.lease = l.prefix.Addr(), l
	return r.link.Configure(l.prefix, l.router)
}

// netboot is what happens between power-on and the start of a kernel.
func (r *run) netboot(ctx context.Context) (target, error) {
	rom := r.Firmware.client(r.MAC)
	err := r.step(StageDHCP, func() (string, error) {
		err := r.obtain(ctx, rom)
		return fmt.Sprintf("%s has %s, boot file %s", r.Firmware, r.lease.prefix, orNone(r.lease.bootFile)), err
	})
	if err != nil {
		return target{}, err
	}
	if r.Firmware == BIOSiPXE {
		return r.ipxe(ctx, rom)
	}
	var loader string
	err = r.step(StageLoader, func() (detail string, err error) {
		loader, detail, err = r.loadLoader(ctx)
		return detail, err
	})
	if err != nil {
		return target{}, err
	}
	switch kind := loaderKind(loader); kind {
	case loaderIPXE:
		c := ipxeClient(r.MAC, rom.arch)
		err := r.step(StageDHCP, func() (string, error) {
			err := r.obtain(ctx, c)
			return fmt.Sprintf("iPXE has %s, boot file %s", r.lease.prefix, orNone(r.lease.bootFile)), err
		})
		if err != nil {
			return target{}, err
		}
		return r.ipxe(ctx, c)
	case loaderGRUB, loaderPXELINUX:
		return r.menu(ctx, kind, loader)
	}
	return target{}, fmt.Errorf("%s: %s is no boot loader that a ghost can play", r.Name, loader)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// size gives n bytes as people read them.
func size(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

// base is the last part of a path or URL, without its query.
func base(s string) string {
	s, _, _ = strings.Cut(s, "?")
	return s[strings.LastIndexByte(s, '/')+1:]
}

// tally lists names with how often each came, such as "master-0 (2), master-1".
func tally(counts map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if name == "" {
			continue
		}
		if counts[name] > 1 {
			name = fmt.Sprintf("%s (%d)", name, counts[name])
		}
		parts = append(parts, name)
	}
	return strings.Join(parts, ", ")
}
