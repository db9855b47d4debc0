package ghost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// arguments are what the RHCOS live system reads from its kernel command line.
type arguments struct {
	rootfs   string // coreos.live.rootfs_url
	image    string // coreos.inst.image_url, 4.5 and earlier
	ignition string // coreos.inst.ignition_url
	disk     string // coreos.inst.install_dev
	static   *lease // ip= with an address
}

// parseArguments reads a kernel command line and says what the installer would miss.
func parseArguments(words []string) (arguments, error) {
	var a arguments
	var dns []netip.Addr
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "coreos.live.rootfs_url":
			a.rootfs = value
		case "coreos.inst.image_url":
			a.image = value
		case "coreos.inst.ignition_url":
			a.ignition = value
		case "coreos.inst.install_dev":
			a.disk = value
		case "nameserver":
			if s, err := netip.ParseAddr(value); err == nil {
				dns = append(dns, s)
			}
		case "ip":
			l, err := parseIP(value)
			if err != nil {
				return a, err
			}
			a.static = l
		}
	}
	if a.static != nil {
		a.static.dns = dns
	}
	switch {
	case a.rootfs == "" && a.image == "":
		return a, errors.New("neither coreos.live.rootfs_url nor coreos.inst.image_url is on the kernel command line: there is nothing to install")
	case a.disk == "":
		return a, errors.New("coreos.inst.install_dev is not on the kernel command line: nothing would be installed; set install_disk")
	case a.ignition == "":
		return a, errors.New("coreos.inst.ignition_url is not on the kernel command line: the node would come up without configuration")
	}
	return a, nil
}

// parseIP reads ip=ADDRESS:PEER:GATEWAY:MASK:HOST:INTERFACE:METHOD of
// dracut.cmdline(7). ip=dhcp, alone or for an interface, gives nil.
func parseIP(value string) (*lease, error) {
	f := strings.Split(value, ":")
	if len(f) < 5 {
		return nil, nil
	}
	ip, err := netip.ParseAddr(f[0])
	if err != nil {
		return nil, fmt.Errorf("ip=%s: %w", value, err)
	}
	l := &lease{host: f[4]}
	bits, err := maskBits(f[3])
	if err != nil {
		return nil, fmt.Errorf("ip=%s: %w", value, err)
	}
	l.prefix = netip.PrefixFrom(ip, bits)
	if f[2] != "" {
		if l.router, err = netip.ParseAddr(f[2]); err != nil {
			return nil, fmt.Errorf("ip=%s: gateway: %w", value, err)
		}
	}
	return l, nil
}

// maskBits reads 255.255.255.0 or 24.
func maskBits(s string) (int, error) {
	if p, err := netip.ParsePrefix("0.0.0.0/" + s); err == nil {
		return p.Bits(), nil
	}
	m, err := netip.ParseAddr(s)
	if err != nil || !m.Is4() {
		return 0, fmt.Errorf("netmask %q", s)
	}
	bits := 0
	for _, b := range m.As4() {
		for ; b&0x80 != 0; b <<= 1 {
			bits++
		}
	}
	return bits, nil
}

// install is the live system: network, rootfs, installer.
func (r *run) install(ctx context.Context, t target) error {
	var a arguments
	err := r.step(StageLive, func() (detail string, err error) {
		if a, err = parseArguments(t.args); err != nil {
			return "", err
		}
		if err := r.systemUp(ctx, a.static); err != nil {
			return "", err
		}
		return fmt.Sprintf("live system is %s at %s", r.lease.host, r.lease.prefix), nil
	})
	if err != nil {
		return err
	}
	if err := r.step(StageRootfs, func() (string, error) { return r.loadRootfs(ctx, a) }); err != nil {
		return err
	}
	return r.step(StageIgnition, func() (string, error) { return r.loadIgnition(ctx, a.ignition) })
}

// systemUp gives the machine the address of an operating system: its lease, or static's.
func (r *run) systemUp(ctx context.Context, static *lease) error {
	if static == nil {
		return r.obtain(ctx, systemClient(r.MAC))
	}
	if r.addr.IsValid() && static.prefix.Addr() != r.addr {
		return fmt.Errorf("the kernel arguments say %s and DHCP gave %s", static.prefix.Addr(), r.addr)
	}
	static.domain, static.bootFile = r.lease.domain, ""
	r.lease = *static
	if err := r.link.Flush(); err != nil {
		return err
	}
	return r.link.Configure(static.prefix, static.router)
}

// loadRootfs fetches what the live system runs from, or in 4.5 what it writes
// to the disk. It asks for the size first, as its memory check needs it.
func (r *run) loadRootfs(ctx context.Context, a arguments) (string, error) {
	url := a.rootfs
	if url == "" {
		url = a.image
	}
	var got body
	err := r.retry(ctx, StageRootfs, 5*time.Second, func() error {
		want, err := r.head(ctx, agentCurl, url)
		if err != nil {
			return err
		}
		if got, err = r.get(ctx, agentCurl, url, false); err != nil {
			return err
		}
		if want >= 0 && want != got.bytes {
			return fmt.Errorf("%s: HEAD says %d bytes and GET gave %d", url, want, got.bytes)
		}
		if got.bytes == 0 {
			return fmt.Errorf("%s is empty", url)
		}
		return nil
	})
	return fmt.Sprintf("%s, %s", base(url), size(got.bytes)), err
}

// ignition is what a ghost reads of an Ignition file (spec 2 and 3).
type ignition struct {
	Ignition struct {
		Version string `json:"version"`
		Config  struct {
			Merge  []struct{ Source string } `json:"merge"`  // spec 3
			Append []struct{ Source string } `json:"append"` // spec 2
		} `json:"config"`
	} `json:"ignition"`
}

func (r *run) loadIgnition(ctx context.Context, url string) (string, error) {
	var got body
	err := r.retry(ctx, StageIgnition, 5*time.Second, func() (err error) {
		got, err = r.get(ctx, agentInstaller, url, true)
		return err
	})
	if err != nil {
		return "", err
	}
	var file ignition
	if err := json.Unmarshal(got.text, &file); err != nil {
		return "", fmt.Errorf("%s is no JSON: %w", base(url), err)
	}
	if file.Ignition.Version == "" {
		return "", fmt.Errorf("%s is no Ignition file: it has no ignition.version", base(url))
	}
	role := string(r.Role) + ".ign"
	if base(url) != role {
		return "", fmt.Errorf("a %s got %s; it should get %s", r.Role, base(url), role)
	}
	detail := fmt.Sprintf("%s, spec %s, %s", base(url), file.Ignition.Version, size(got.bytes))
	for _, m := range append(file.Ignition.Config.Merge, file.Ignition.Config.Append...) {
		detail += ", points to " + m.Source
	}
	return detail, nil
}
