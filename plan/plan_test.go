package plan

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"helperd/config"
)

const small = `version: 1
helper: {address: 192.168.7.2}
networks: [{cidr: 192.168.7.0/24, gateway: 192.168.7.1}]
artifacts:
  - name: rhcos
    kernel: {file: /srv/kernel}
    initramfs: {file: /srv/initramfs}
    rootfs: {file: /srv/rootfs}
clusters:
  - name: ocp4
    domain: example.com
    artifacts: rhcos
    install_disk: /dev/sda
    ignition: /srv/ignition
    nodes:
      - {name: m0, role: master, mac: ["52:54:00:00:00:02", "52:54:00:00:00:12"], ip: 192.168.7.11}
      - {name: w0, role: worker, mac: "52:54:00:00:00:03", ip: 192.168.7.21}
      - {name: w1, role: worker, mac: "52:54:00:00:00:04", ip: 192.168.7.22}
`

func TestLookups(t *testing.T) {
	compiled, _ := compile(t, []byte(small))
	byHand := &Plan{Nodes: compiled.Nodes}
	mac, _ := ParseMAC("52:54:00:00:00:12")
	for name, p := range map[string]*Plan{"compiled": compiled, "by hand": byHand} {
		if n := p.NodeByMAC(mac); n == nil || n.Name != "m0" {
			t.Errorf("%s: second MAC of m0 finds %v", name, n)
		}
		if n := p.NodeByMAC(MAC{}); n != nil {
			t.Errorf("%s: no MAC finds %v", name, n)
		}
		if n := p.NodeByAddr(netip.MustParseAddr("::ffff:192.168.7.21")); n == nil || n.Name != "w0" {
			t.Errorf("%s: mapped address of w0 finds %v", name, n)
		}
		if n := p.NodeByAddr(netip.Addr{}); n != nil {
			t.Errorf("%s: no address finds %v", name, n)
		}
		if n := p.NodeByName("w1"); n == nil || n.FQDN != "w1.ocp4.example.com" {
			t.Errorf("%s: w1 finds %v", name, n)
		}
	}
}

func TestNextBestLoader(t *testing.T) {
	tests := []struct {
		name    string
		missing []Loader
		tftp    map[uint16]string
		http    map[uint16]string
		prefix  map[uint16]string
	}{
		{
			name: "all there",
			tftp: map[uint16]string{ArchBIOS: "undionly.kpxe", ArchEFI64: "snponly.efi", ArchEFI64Alt: "snponly.efi"},
			http: map[uint16]string{ArchHTTP64: "http://192.168.7.2:8080/boot/snponly.efi"},
		},
		{
			name:    "no snponly",
			missing: []Loader{SNPOnly64},
			tftp:    map[uint16]string{ArchBIOS: "undionly.kpxe", ArchEFI64: "ipxe.efi", ArchEFI64Alt: "ipxe.efi"},
			http:    map[uint16]string{ArchHTTP64: "http://192.168.7.2:8080/boot/ipxe.efi"},
		},
		{
			name:    "no iPXE",
			missing: []Loader{Undionly, SNPOnly64, IPXE64},
			tftp:    map[uint16]string{ArchBIOS: "lpxelinux.0", ArchEFI64: "grubx64.efi", ArchEFI64Alt: "grubx64.efi"},
			prefix:  map[uint16]string{ArchBIOS: "http://192.168.7.2:8080/boot/"},
		},
		{
			name:    "TFTP alone",
			missing: []Loader{Undionly, LPXELinux, SNPOnly64, IPXE64},
			tftp:    map[uint16]string{ArchBIOS: "pxelinux.0", ArchEFI64: "grubx64.efi", ArchEFI64Alt: "grubx64.efi"},
		},
		{
			name:    "nothing for UEFI",
			missing: []Loader{SNPOnly64, IPXE64, GRUB64},
			tftp:    map[uint16]string{ArchBIOS: "undionly.kpxe"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := compile(t, []byte(small), tt.missing...)
			b := p.DHCP.Reservations[0].Boot
			if diff := cmp.Diff(tt.tftp, b.TFTP); diff != "" {
				t.Errorf("TFTP (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.http, b.HTTP); diff != "" {
				t.Errorf("HTTP (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.prefix, b.PathPrefix); diff != "" {
				t.Errorf("path prefix (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDiff(t *testing.T) {
	old, _ := compile(t, []byte(small))
	if d := Diff(old, old); d != nil {
		t.Errorf("a plan differs from itself: %v", d)
	}
	c, _ := config.Load([]byte(small))
	same, _ := Compile(c, Facts{Serial: 2})
	if d := Diff(old, same); d != nil {
		t.Errorf("another serial alone is a difference: %v", d)
	}
	next, _ := compile(t, []byte(strings.ReplaceAll(small, "name: w1", "name: w9")))
	d := Diff(old, next)
	for _, want := range []string{
		"dns: - w1.ocp4.example.com. 300 IN A 192.168.7.22",
		"dns: + w9.ocp4.example.com. 300 IN A 192.168.7.22",
		"lb: + server ocp4-ingress-https w9 192.168.7.22:443",
	} {
		if !strings.Contains(strings.Join(d, "\n"), want) {
			t.Errorf("%q is not in the difference:\n%s", want, strings.Join(d, "\n"))
		}
	}
	first := Diff(nil, old)
	lines := 0
	for _, s := range old.Sections() {
		lines += len(s.Lines)
	}
	if len(first) != lines-1 { // without the SOA
		t.Errorf("the first plan has %d lines and a difference of %d", lines, len(first))
	}
}

func TestDiagnostics(t *testing.T) {
	tests := []struct {
		name, old, new string
		want           string
		severity       config.Severity
	}{
		{
			"frontend of a cluster", "artifacts:\n", `lb:
  frontends: [{name: ocp4-api, listen: "192.168.7.2:99", backend: b}]
  backends: [{name: b, servers: [{name: s, address: "192.168.7.2:100"}]}]
artifacts:
`, `frontend "ocp4-api": a cluster brings a frontend of this name; choose another`, config.Error,
		},
		{
			"backend of a cluster", "artifacts:\n", `lb:
  frontends: [{name: f, listen: "192.168.7.2:99", backend: ocp4-api}]
  backends: [{name: ocp4-api, servers: [{name: s, address: "192.168.7.2:100"}]}]
artifacts:
`, `backend "ocp4-api": a cluster brings a backend of this name; choose another`, config.Error,
		},
		{
			"iPXE expands", "    ignition:", "    kernel_args: [\"a=${b}\"]\n    ignition:",
			"iPXE takes \"a=${b}\"", config.Warning,
		},
		{
			"alias of a name that is derived", "artifacts:\n", "dns: {records: [{name: etcd-0.ocp4.example.com, type: CNAME, value: m0.ocp4.example.com}]}\nartifacts:\n",
			`record "etcd-0.ocp4.example.com": helperd makes the records of this name; choose another`, config.Error,
		},
		{
			"second address of a name that is derived", "artifacts:\n", "dns: {records: [{name: etcd-0.ocp4.example.com, type: A, value: 192.168.7.9}]}\nartifacts:\n",
			`record "etcd-0.ocp4.example.com": helperd makes the records of this name; choose another`, config.Error,
		},
		{
			"host of a name that is derived", "artifacts:\n", "hosts: [{name: etcd-0.ocp4.example.com, ip: 192.168.7.9}]\nartifacts:\n",
			`host "etcd-0.ocp4.example.com": helperd makes the records of this name; choose another`, config.Error,
		},
		{
			"alias of a zone", "artifacts:\n", "dns: {records: [{name: ocp4.example.com, type: CNAME, value: m0.ocp4.example.com}]}\nartifacts:\n",
			`record "ocp4.example.com": helperd makes the records of this name; choose another`, config.Error,
		},
		{
			"node without MAC behind the gate", `mac: "52:54:00:00:00:03", `, "", "refused until `helperd nodes arm w0`", config.Warning,
		},
		{
			"an open gate", "    ignition:", "    ignition_gate: open\n    ignition:", "every machine of the networks may fetch the cluster's secrets", config.Warning,
		},
		{
			"TFTP elsewhere", "artifacts:\n", "tftp: {listen: 192.168.7.3}\nartifacts:\n",
			"DHCP sends nodes to helper.address", config.Warning,
		},
		{
			"TFTP at another port", "artifacts:\n", "tftp: {port: 1069}\nartifacts:\n",
			"firmware asks at port 69 alone", config.Warning,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, ds := compile(t, []byte(strings.Replace(small, tt.old, tt.new, 1)))
			for _, d := range ds {
				if strings.Contains(d.Message, tt.want) && d.Severity == tt.severity && d.Line > 1 {
					return
				}
			}
			t.Errorf("%q is not said:\n%v", tt.want, ds)
		})
	}
}

// A machine that nothing here boots must not be left without a word.
func TestArchitectureWithoutLoader(t *testing.T) {
	p, _ := compile(t, []byte(strings.Replace(small, "name: rhcos\n", "name: rhcos\n    arch: s390x\n", 1)))
	if b := p.DHCP.Reservations[0].Boot; len(b.TFTP)+len(b.HTTP) != 0 {
		t.Errorf("boots from %v %v", b.TFTP, b.HTTP)
	}
	if len(p.Unserved) > 0 {
		t.Errorf("unserved: %v", p.Unserved)
	}
	if want := "m0.ocp4.example.com starts with its parameter file: helperd boot render m0.ocp4.example.com --s390x"; !strings.Contains(p.String(), want) {
		t.Errorf("the plan does not say how to start it; want %q in\n%s", want, p)
	}
}

func TestInstead(t *testing.T) {
	for l, want := range map[Loader][]Loader{
		Undionly: {LPXELinux, PXELinux}, SNPOnly64: {IPXE64, GRUB64}, IPXEAA64: {GRUBAA64}, PXELinux: {}, GRUBPPC64: nil,
	} {
		if diff := cmp.Diff(want, Instead(l)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", l, diff)
		}
	}
}

// A network that declares no MTU is Ethernet, however large the others are.
func TestMTU(t *testing.T) {
	for _, tt := range []struct {
		name, first, second string
		want                int
	}{
		{"none declared", "", "", 0},
		{"jumbo frames everywhere", "mtu: 9000", "mtu: 4000", 4000},
		{"jumbo frames on one side", "mtu: 9000", "", 1500},
		{"a tunnel", "", "mtu: 1400", 1400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			yaml := strings.Replace(small, "gateway: 192.168.7.1}", "gateway: 192.168.7.1, "+tt.first+"}, {cidr: 10.0.0.0/24, gateway: 10.0.0.1, "+tt.second+"}", 1)
			if p, _ := compile(t, []byte(yaml)); p.TFTP.MTU != tt.want {
				t.Errorf("MTU %d, want %d", p.TFTP.MTU, tt.want)
			}
		})
	}
}

// Connections of clusters that share an address are told apart by what they ask for.
func TestSharedAddress(t *testing.T) {
	second := small[strings.Index(small, "  - name: ocp4"):]
	second = strings.NewReplacer("name: ocp4", "name: ocp5", "52:54:00:00", "52:54:00:01", "192.168.7.", "192.168.7.1").Replace(second)
	p, _ := compile(t, []byte(small+second))
	got := map[string]Peek{}
	for _, f := range p.LB.Frontends {
		got[f.Name] = f.Peek
		if diff := cmp.Diff([]string{"ocp4-" + f.Name, "ocp5-" + f.Name}, f.RoutedTo()); diff != "" {
			t.Errorf("%s: %s", f.Name, diff)
		}
	}
	want := map[string]Peek{"api": PeekSNI, "machine-config": PeekSNI, "ingress-https": PeekSNI, "ingress-http": PeekHost}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(p.Unserved) > 0 {
		t.Errorf("unserved: %v", p.Unserved)
	}
	alone, _ := compile(t, []byte(small))
	for _, f := range alone.LB.Frontends {
		if f.Peek != PeekNone || f.Routes != nil {
			t.Errorf("one cluster alone: %+v", f)
		}
	}
}

// Clusters of one name in two domains must not share backends.
func TestSameNameTwice(t *testing.T) {
	second := small[strings.Index(small, "  - name: ocp4"):]
	second = strings.NewReplacer("domain: example.com", "domain: example.net", "52:54:00:00", "52:54:00:01", "192.168.7.", "192.168.7.1").Replace(second)
	p, _ := compile(t, []byte(small+second))
	seen := map[string]bool{}
	for _, b := range p.LB.Backends {
		if seen[b.Name] {
			t.Errorf("two backends %s", b.Name)
		}
		seen[b.Name] = true
	}
	if !seen["ocp4.example.net-api"] || len(seen) != 8 {
		t.Errorf("backends: %v", seen)
	}
	if n := p.NodeByName("w0"); n != nil {
		t.Errorf("w0 is of two clusters and finds %s", n.FQDN)
	}
}
