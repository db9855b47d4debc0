package plan

import (
	"slices"
	"strings"
	"testing"
)

const isoFile = `
version: 1
helper: {address: 192.168.7.2}
networks: [{cidr: 192.168.7.0/24, gateway: 192.168.7.1}]
artifacts:
  - name: live
    kernel: {file: /srv/kernel}
    initramfs: {file: /srv/initramfs}
    rootfs: {file: /srv/rootfs}
    iso: {file: /srv/live.iso}
  - name: none
    kernel: {file: /srv/kernel}
    initramfs: {file: /srv/initramfs}
    rootfs: {file: /srv/rootfs}
  - name: old
    kernel: {file: /srv/kernel}
    initramfs: {file: /srv/initramfs}
    metal: {file: /srv/metal}
    iso: {file: /srv/old.iso}
  - name: power
    arch: ppc64le
    kernel: {file: /srv/kernel}
    initramfs: {file: /srv/initramfs}
    rootfs: {file: /srv/rootfs}
    iso: {file: /srv/live.iso}
clusters:
  - {name: a, domain: x, artifacts: live, install_disk: /dev/sda, ignition: /srv/ign, address: 192.168.7.31, nodes: [{name: m0, role: master, mac: "52:54:00:00:00:01", ip: 192.168.7.11}, {name: only, role: worker, ip: 192.168.7.12}]}
  - {name: b, domain: x, artifacts: none, install_disk: /dev/sda, address: 192.168.7.32, nodes: [{name: m0, role: master, ip: 192.168.7.13}]}
  - {name: c, domain: x, artifacts: old, install_disk: /dev/sda, address: 192.168.7.33, nodes: [{name: m1, role: master, ip: 192.168.7.14}]}
  - {name: d, domain: x, artifacts: power, install_disk: /dev/sda, address: 192.168.7.34, nodes: [{name: m2, role: master, ip: 192.168.7.15}]}
  - {name: e, domain: x, artifacts: live, address: 192.168.7.35, nodes: [{name: m3, role: master, ip: 192.168.7.16}]}
  - {name: f, domain: x, address: 192.168.7.36, nodes: [{name: m4, role: master, ip: 192.168.7.17}]}
`

func TestISOs(t *testing.T) {
	p, _ := compile(t, []byte(isoFile))
	for path, want := range map[string]string{
		"/iso/m0.a.x.iso": "", "/iso/only.iso": "",
		"/iso/m0.b.x.iso": "artifact none has no ISO; write iso:",
		"/iso/m1.iso":     "4.5 or earlier",
		"/iso/m2.iso":     "arch ppc64le",
		"/iso/m3.iso":     "has no install_disk",
	} {
		i := p.ISOAt(path)
		if i == nil || !strings.HasPrefix(i.Path, "/iso/") || want == "" && i.Problem != "" || !strings.Contains(i.Problem, want) {
			t.Errorf("%s: %+v, want %q", path, i, want)
		}
	}
	for _, path := range []string{"/iso/m0.iso", "/iso/m4.iso", "/iso/m9.iso", "/iso/", "/iso/m1", "/m1.iso", "/iso/.iso"} {
		if i := p.ISOAt(path); i != nil {
			t.Errorf("%s is the ISO of %s", path, i.Node.FQDN)
		}
	}
	i := p.ISOAt("/iso/m0.a.x.iso")
	if i.Base == nil || i.Base.File != "/srv/live.iso" || i.Ignition == nil || i.Ignition.Role != Master || !slices.Contains(i.Ignition.Nodes, i.Node) {
		t.Errorf("%+v", i)
	}
	for _, arg := range i.Args {
		if strings.Contains(arg, "http:") {
			t.Errorf("%s is fetched, and all is on the ISO", arg)
		}
	}
}
