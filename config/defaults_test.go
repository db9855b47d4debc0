package config

import (
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "record the golden files")

// smallBase has one entry of each list and nothing that has a default.
const smallBase = `version: 1
helper: {address: 10.0.0.2, address6: "fd00::2"}
networks:
  - {cidr: 10.0.0.0/24, gateway: 10.0.0.1}
  - {cidr: "fd00::/64"}
artifacts:
  - {name: rhcos, arch: aarch64, kernel: {file: /k}, initramfs: {file: /i}, rootfs: {file: /r}}
clusters:
  - name: lab
    domain: example.com
    artifacts: rhcos
    ignition: /srv/lab
    install_disk: /dev/sda
    nodes:
      - {name: m0, role: master, ip: 10.0.0.11}
hosts:
  - {name: registry.example.com, ip6: "fd00::9"}
dns:
  forwarders: [10.0.0.53, "10.0.0.54:5353", "fd00::53"]
  records: [{name: x.example.com, type: A, value: 10.0.0.77}]
lb:
  timeouts: {client: 2h}
  frontends: [{name: git, listen: "10.0.0.2:9418", backend: git, timeouts: {client: 1h}}]
  backends: [{name: git, servers: [{name: g1, address: "10.0.0.77:9418"}]}]
nfs:
  exports: [{path: /srv/export}]
`

func TestDefaultsGolden(t *testing.T) {
	c, ds := Load([]byte(smallBase))
	if ds != nil {
		t.Fatal(ds)
	}
	got, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/defaults.json"
	if *update {
		if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)+"\n"); d != "" {
		t.Error(d)
	}
}

// TestWrittenWinsOverDefault is about values that a default could mistake for
// nothing: false and zero.
func TestWrittenWinsOverDefault(t *testing.T) {
	c, ds := Load([]byte(smallBase + `http: {enabled: false, port: 81}
tftp: {enabled: false}
ftp: {enabled: false, port: 2121}
ntp: {enabled: false}
admin: {socket: false, listen: 10.0.0.3}
history: {interval: 10s}
`))
	if ds != nil {
		t.Fatal(ds)
	}
	if c.HTTP.Enabled || c.TFTP.Enabled || c.FTP.Enabled || c.NTP.Enabled || c.Admin.Socket {
		t.Errorf("switched off and yet on: %+v %+v %+v %+v %+v", c.HTTP, c.TFTP, c.FTP, c.NTP, c.Admin)
	}
	if c.HTTP.Port != 81 || c.TFTP.Port != 69 || c.FTP.Port != 2121 || c.Admin.Listen.String() != "10.0.0.3:9000" || c.History.Interval != Duration(10*time.Second) {
		t.Errorf("%+v %+v %+v %+v %+v", c.HTTP, c.TFTP, c.FTP, c.Admin, c.History)
	}

	c, ds = Load(spoil(
		t,
		"export}", "export, secure: false, sync: false, clients: []}",
		`"192.168.7.31:9418"`, `"192.168.7.31:9418", weight: 0, check: false`,
		"role: worker", "role: worker, ingress: false",
		"role: master", "role: master, ingress: true",
		"value: 192.168.7.31", "value: 192.168.7.31, ttl: 0",
		"dns:\n", "dns:\n  enabled: false\n  allow: []\n",
		"lb:\n", "lb:\n  retries: 0\n",
	))
	if ds != nil {
		t.Fatal(ds)
	}
	e, s, n := c.NFS.Exports[0], c.LB.Backends[0].Servers[0], c.Clusters[0].Nodes
	if e.Secure || e.Sync || len(e.Clients) > 0 || s.Weight != 0 || s.Check || c.DNS.Enabled || len(c.DNS.Allow) > 0 || c.DNS.Records[0].TTL != 0 || c.LB.Retries != 0 {
		t.Errorf("%+v %+v %+v %+v", e, s, c.DNS, c.LB)
	}
	if !*n[1].Ingress || *n[2].Ingress {
		t.Errorf("ingress of master %v, of worker %v", *n[1].Ingress, *n[2].Ingress)
	}
	if c.Networks[0].DNS != nil {
		t.Errorf("nodes are sent to a name server that is off: %v", c.Networks[0].DNS)
	}
}
