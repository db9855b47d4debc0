package preflight

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"golang.org/x/sys/unix"

	"helperd/internal/netns"
	"helperd/internal/socket"
	"helperd/plan"
)

var today = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// machine is one where all is well, for the plan of testPlan. Files live in dir.
func machine() *Env {
	return &Env{
		User: User{Name: "helperd", UID: 990, Groups: []uint32{990}},
		Now:  func() time.Time { return today }, Stat: os.Stat, ReadFile: os.ReadFile,
		Access: func(string, uint32) error { return nil },
		Label:  func(string) (string, error) { return "system_u:object_r:var_t:s0", nil },
		Interfaces: func() ([]Interface, error) {
			return []Interface{{Name: "lo", Up: true}, {Name: "ens3", Up: true, Addrs: []netip.Addr{netip.MustParseAddr("192.168.67.2")}}}, nil
		},
		Free:         func(string) (int64, error) { return 100 << 30, nil },
		Holder:       func(socket.Key) string { return "" },
		Capabilities: func() (uint64, error) { return 1<<unix.CAP_NET_RAW | 1<<unix.CAP_NET_BIND_SERVICE, nil },
		Descriptors:  func() (uint64, error) { return 262144, nil },
		Synchronised: func() (bool, error) { return true, nil },
		Command:      func(context.Context, string, ...string) (string, error) { return "", exec.ErrNotFound },
		Loaders: func(...string) map[plan.Loader]string {
			return map[plan.Loader]string{plan.Undionly: "/proc/self/exe", plan.SNPOnly64: "/proc/self/exe", plan.GRUB64: "/proc/self/exe"}
		},
		Discover: func(context.Context, string) ([]netip.Addr, error) { return nil, nil },
	}
}

// testPlan names files in a folder of its own, which is not under /tmp for the checks.
func testPlan(t *testing.T) *plan.Plan {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "kernel"), []byte("kernel"))
	write(t, filepath.Join(dir, "master.ign"), []byte(`{"ignition":{"version":"3.2.0"}}`))
	helper := netip.MustParseAddr("192.168.67.2")
	network := netip.MustParsePrefix("192.168.67.0/24")
	at := func(port uint16) []netip.AddrPort { return []netip.AddrPort{netip.AddrPortFrom(helper, port)} }
	return &plan.Plan{
		Helper:   plan.Helper{Name: "helper", Address: helper},
		Networks: []plan.Network{{Prefix: network}},
		DNS:      plan.DNS{Enabled: true, Listen: at(53)},
		DHCP: plan.DHCP{Enabled: true, Subnets: []plan.Subnet{{Prefix: network, Mode: plan.ModeServer, Server: helper}}, Reservations: []plan.Reservation{
			{Node: "m0", Boot: &plan.BootFiles{TFTP: map[uint16]string{0: "undionly.kpxe", 7: "snponly.efi"}, HTTP: map[uint16]string{16: "http://192.168.67.2:8080/boot/snponly.efi"}}},
		}},
		TFTP: plan.TFTP{Enabled: true, Listen: at(69)},
		HTTP: plan.HTTP{
			Enabled: true, Listen: at(8080), Files: []plan.File{{Path: "/artifacts/rhcos/kernel", File: filepath.Join(dir, "kernel")}},
			Ignition: []plan.Ignition{{File: filepath.Join(dir, "master.ign"), Cluster: "ocp4.example.com", Role: plan.Master}},
		},
		LB:  plan.LB{Enabled: true, MaxConnections: 100000, Frontends: []plan.Frontend{{Name: "api", Listen: at(6443)}}},
		NFS: plan.NFS{Exports: []plan.Export{{Path: dir}}},
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestNothingToSay(t *testing.T) {
	t.Parallel()
	env := machine()
	env.User.Name = "root" // whose /tmp is the one with the files
	found := Run(t.Context(), testPlan(t), env)
	for _, f := range found {
		if f.Level != OK {
			t.Errorf("%+v", f)
		}
	}
	for _, want := range []string{"address", "interface", "privilege", "limit", "port", "firewall", "artifact", "loader", "ignition", "export", "clock", "dhcp"} {
		if !strings.Contains(fmt.Sprint(found), want) {
			t.Errorf("nothing was said of %s", want)
		}
	}
}

func TestFindings(t *testing.T) {
	t.Parallel()
	commands := func(answers map[string]string) func(context.Context, string, ...string) (string, error) {
		return func(_ context.Context, name string, args ...string) (string, error) {
			if out, ok := answers[strings.Join(append([]string{name}, args...), " ")]; ok {
				return out, nil
			}
			return "", exec.ErrNotFound
		}
	}
	tests := []struct {
		name  string
		spoil func(*plan.Plan, *Env)
		level Level
		check string
		says  string // in What, Why or Do
	}{
		{"no stream", func(p *plan.Plan, _ *Env) {
			p.Streams = []plan.StreamSource{{Artifact: "rhcos", Origin: plan.Origin{File: "/nowhere/stream.json"}}}
		}, Problem, "stream", "put it there"},
		{"no space for downloads", func(p *plan.Plan, e *Env) {
			p.Artifacts = []plan.Artifact{{Wanted: &plan.Set{Version: "12345678"}}}
			p.Streams = []plan.StreamSource{{Origin: plan.Origin{URL: "https://example.com/s.json"}, Arches: []string{"aarch64", "x86_64"}}}
			e.Free = func(string) (int64, error) { return 4 << 30, nil }
		}, Warning, "downloads", "needs about 4.4 GiB"},
		{"named holds port 53", func(_ *plan.Plan, e *Env) {
			e.Holder = func(k socket.Key) string {
				if k.Addr.Port() == 53 && k.Network == "udp" {
					return "named (pid 812)"
				}
				return ""
			}
		}, Problem, "port", "systemctl disable --now named"},
		{"DHCP port is asked for with its interface", func(_ *plan.Plan, e *Env) {
			e.Holder = func(k socket.Key) string {
				if k.Addr.Port() == 67 && k.Device == "ens3" && k.Addr.Addr().IsUnspecified() {
					return "dnsmasq (pid 9)"
				}
				return ""
			}
		}, Problem, "port", "virsh net-destroy"},
		{"helperd runs already", func(_ *plan.Plan, e *Env) {
			e.Holder = func(socket.Key) string { return "helperd (pid 1)" }
		}, OK, "port", "helperd itself"},
		{"no interface holds the address", func(p *plan.Plan, _ *Env) { p.Helper.Address = netip.MustParseAddr("192.168.67.3") }, Problem, "address", "192.168.67.3/24"},
		{"interface is down", func(_ *plan.Plan, e *Env) {
			e.Interfaces = func() ([]Interface, error) {
				return []Interface{{Name: "ens3", Addrs: []netip.Addr{netip.MustParseAddr("192.168.67.2")}}}, nil
			}
		}, Problem, "address", "ip link set ens3 up"},
		{"interface is missing", func(p *plan.Plan, _ *Env) { p.Networks[0].Interface = "ens9" }, Problem, "interface", "no interface ens9"},
		{"network is reached by relay", func(p *plan.Plan, _ *Env) { p.Networks[0].Prefix = netip.MustParsePrefix("10.0.0.0/8") }, Warning, "interface", "relay"},
		{"no capabilities", func(_ *plan.Plan, e *Env) {
			e.Capabilities = func() (uint64, error) { return 1 << unix.CAP_NET_RAW, nil }
		}, Warning, "privilege", "CAP_NET_BIND_SERVICE"},
		{"few descriptors", func(_ *plan.Plan, e *Env) { e.Descriptors = func() (uint64, error) { return 4096, nil } }, Warning, "limit", "LimitNOFILE=201024"},
		{"artifact is missing", func(p *plan.Plan, _ *Env) { p.HTTP.Files[0].File = "/srv/not/there" }, Problem, "artifact", "is not there"},
		{"artifact is empty", func(p *plan.Plan, _ *Env) { p.HTTP.Files[0].File = "/dev/null" }, Problem, "artifact", "is empty"},
		{"artifact is a folder", func(p *plan.Plan, _ *Env) { p.HTTP.Files[0].File = "/usr" }, Problem, "artifact", "is a folder"},
		{"artifact is not readable", func(p *plan.Plan, e *Env) {
			e.Access = func(path string, _ uint32) error {
				if path == p.HTTP.Files[0].File {
					return fs.ErrPermission
				}
				return nil
			}
		}, Problem, "artifact", "setfacl -m u:helperd:r "},
		{"folder above is closed", func(p *plan.Plan, e *Env) {
			e.Access = func(path string, _ uint32) error {
				if strings.HasPrefix(path, filepath.Dir(p.HTTP.Files[0].File)) {
					return fs.ErrPermission
				}
				return nil
			}
		}, Problem, "artifact", "may not pass through"},
		{"not root", func(_ *plan.Plan, e *Env) { e.Access = func(string, uint32) error { return errOtherUser } }, Skipped, "artifact", "run preflight as root"},
		{"unit does not see /tmp", func(*plan.Plan, *Env) {}, Problem, "artifact", "temporary files"},
		{"no loader for BIOS", func(_ *plan.Plan, e *Env) {
			e.Loaders = func(...string) map[plan.Loader]string {
				return map[plan.Loader]string{plan.SNPOnly64: "/proc/self/exe"}
			}
		}, Problem, "loader", "install package ipxe (Debian) or ipxe-bootimgs-x86"},
		{"second best loader for UEFI", func(_ *plan.Plan, e *Env) {
			e.Loaders = func(...string) map[plan.Loader]string {
				return map[plan.Loader]string{plan.Undionly: "/proc/self/exe", plan.GRUB64: "/proc/self/exe"}
			}
		}, Warning, "loader", "grubx64.efi takes its place"},
		{"ignition is no JSON", func(p *plan.Plan, e *Env) { spoilIgnition(p, e, "{oops") }, Problem, "ignition", "is no Ignition file: line 1, column 2"},
		{"ignition has no version", func(p *plan.Plan, e *Env) { spoilIgnition(p, e, `{}`) }, Problem, "ignition", "ignition.version"},
		{"everybody may read the secrets", func(p *plan.Plan, _ *Env) { _ = os.Chmod(p.HTTP.Ignition[0].File, 0o644) }, Warning, "ignition", "every user of this machine"},
		{"certificates hold", func(p *plan.Plan, e *Env) { spoilIgnition(p, e, withCertificate(t, today.Add(20*time.Hour))) }, OK, "ignition", "hold until"},
		{"certificates end soon", func(p *plan.Plan, e *Env) { spoilIgnition(p, e, withCertificate(t, today.Add(time.Hour))) }, Warning, "ignition", "1h0m0s are left"},
		{"certificates have expired", func(p *plan.Plan, e *Env) { spoilIgnition(p, e, withCertificate(t, today.Add(-time.Hour))) }, Problem, "ignition", "have expired"},
		{"expired and served all the same", func(p *plan.Plan, e *Env) {
			p.HTTP.Ignition[0].Expired = true
			spoilIgnition(p, e, withCertificate(t, today.Add(-time.Hour)))
		}, Warning, "ignition", "ignition_expired"},
		{"export is missing", func(p *plan.Plan, _ *Env) { p.NFS.Exports[0].Path = "/srv/not/there" }, Problem, "export", "is not there"},
		{"SELinux label of a home folder", func(_ *plan.Plan, e *Env) {
			read := e.ReadFile
			e.ReadFile = func(path string) ([]byte, error) {
				if path == "/sys/fs/selinux/enforce" {
					return []byte("1"), nil
				}
				return read(path)
			}
			e.Label = func(string) (string, error) { return "unconfined_u:object_r:user_home_t:s0", nil }
		}, Warning, "selinux", "restorecon"},
		{"clock", func(_ *plan.Plan, e *Env) { e.Synchronised = func() (bool, error) { return false, nil } }, Warning, "clock", "chronyd"},
		{"foreign DHCP server", func(_ *plan.Plan, e *Env) {
			e.Discover = func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("192.168.67.2"), netip.MustParseAddr("192.168.67.1")}, nil
			}
		}, Problem, "dhcp", "192.168.67.1"},
		{"proxy without a server", func(p *plan.Plan, _ *Env) { p.DHCP.Subnets[0].Mode = plan.ModeProxy }, Problem, "dhcp", "no DHCP server answers"},
		{"DHCP cannot be asked", func(_ *plan.Plan, e *Env) {
			e.Discover = func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("operation not permitted") }
		}, Skipped, "dhcp", "run preflight as root"},
		{"firewalld closes the ports of FTP data", func(p *plan.Plan, e *Env) {
			p.FTP = plan.FTP{Enabled: true, Listen: []netip.AddrPort{netip.MustParseAddrPort("192.168.67.2:21")}, PassivePorts: plan.PortRange{First: 30000, Last: 30009}}
			e.Command = commands(map[string]string{
				"firewall-cmd --state": "running\n", "firewall-cmd --get-zone-of-interface=ens3": "public\n",
				"firewall-cmd --zone=public --list-ports": "1-1023/tcp 1-1023/udp 6443/tcp 8080/tcp 30000-30008/tcp\n",
			})
		}, Problem, "firewall", "--add-port={30000-30009/tcp}"},
		{"firewalld closes ports", func(_ *plan.Plan, e *Env) {
			e.Command = commands(map[string]string{
				"firewall-cmd --state": "running\n", "firewall-cmd --get-zone-of-interface=ens3": "public\n",
				"firewall-cmd --zone=public --list-ports": "6443/tcp 8000-8100/tcp\n", "firewall-cmd --zone=public --list-services": "ssh dns\n",
				"firewall-cmd --permanent --service=dns --get-ports": "53/tcp 53/udp\n",
			})
		}, Problem, "firewall", "--add-port={67/udp,69/udp}"},
		{"ufw closes ports", func(_ *plan.Plan, e *Env) {
			e.Command = commands(map[string]string{"ufw status": "Status: active\n\n53 ALLOW Anywhere\n6443/tcp ALLOW Anywhere\n8000:8100/tcp ALLOW Anywhere\n67/udp ALLOW Anywhere\n"})
		}, Problem, "firewall", "closes 69/udp"},
		{"nftables drops", func(_ *plan.Plan, e *Env) {
			e.Command = commands(map[string]string{"nft list ruleset": "table inet f {\n chain in {\n  type filter hook input priority filter; policy drop;\n }\n}\n"})
		}, Warning, "firewall", "nft list ruleset"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, env := testPlan(t), machine()
			if tt.name != "unit does not see /tmp" && !strings.Contains(tt.says, "u:helperd:") {
				env.User.Name = "root"
			}
			tt.spoil(p, env)
			for _, f := range Run(t.Context(), p, env) {
				if f.Level == tt.level && f.Check == tt.check && strings.Contains(f.What+"\n"+f.Why+"\n"+f.Do, tt.says) {
					if f.Level == Problem && (f.Why == "" || f.Do == "") && f.Check != "address" && f.Check != "interface" {
						t.Errorf("a problem without why or what to do: %+v", f)
					}
					return
				}
			}
			t.Errorf("no %s %s that says %q in:\n%+v", tt.level, tt.check, tt.says, Run(t.Context(), p, env))
		})
	}
}

func spoilIgnition(p *plan.Plan, e *Env, text string) {
	read := e.ReadFile
	e.ReadFile = func(path string) ([]byte, error) {
		if path == p.HTTP.Ignition[0].File {
			return []byte(text), nil
		}
		return read(path)
	}
}

// withCertificate is an ignition file with a certificate that ends at end and one that holds longer.
func withCertificate(t *testing.T, end time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	for _, notAfter := range []time.Time{end.AddDate(1, 0, 0), end} {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.AddDate(-1, 0, 0), NotAfter: notAfter}
		der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return fmt.Sprintf(`{"ignition":{"version":"3.2.0"},"storage":{"files":[{"path":"/opt/openshift/tls/x.crt","contents":{"source":"data:text/plain;charset=utf-8;base64,%s"}}]}}`,
		base64.StdEncoding.EncodeToString(text))
}

func TestAccessAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		netns.SkipOrFail(t, "only root can look as another user")
	}
	dir, err := os.MkdirTemp("/var/tmp", "preflight") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	nobody := User{Name: "nobody", UID: 65534, Groups: []uint32{65534}}
	tests := []struct {
		name  string
		mode  os.FileMode
		group int
		want  bool
	}{
		{"open to all", 0o644, 0, true},
		{"as openshift-install leaves it", 0o640, 0, false},
		{"by group", 0o640, 65534, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, "f")
			write(t, path, []byte("x"))
			if err := errors.Join(os.Chown(path, 0, tt.group), os.Chmod(path, tt.mode)); err != nil {
				t.Fatal(err)
			}
			if err := nobody.access(path, unix.R_OK); (err == nil) != tt.want {
				t.Errorf("access says %v", err)
			}
			if err := (User{UID: 0}).access(path, unix.R_OK); err != nil {
				t.Errorf("root afterwards: %v", err)
			}
		})
	}
}

// TestDiscover lets a server of a library answer in a namespace, and nobody in another.
func TestDiscover(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		answer bool
		want   []netip.Addr
	}{{"nobody", false, nil}, {"a server", true, []netip.Addr{netip.MustParseAddr("192.0.2.1")}}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			there, here := netns.New(t), netns.New(t)
			device, own := netns.Link(t, there, here, "192.0.2.1/24", "192.0.2.2/24")
			if tt.answer {
				serveOffers(t, there, device)
			}
			var got []netip.Addr
			if err := here.Call(func() (err error) { got, err = discover(t.Context(), own); return err }); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("heard %v, want %v", got, tt.want)
			}
		})
	}
}

func serveOffers(t *testing.T, ns *netns.NS, device string) {
	t.Helper()
	me := net.IPv4(192, 0, 2, 1)
	var conn *net.UDPConn
	ns.Do(t, func() {
		var err error
		if conn, err = server4.NewIPv4UDPConn(device, &net.UDPAddr{Port: 67}); err != nil {
			t.Fatal(err)
		}
	})
	s, err := server4.NewServer("", nil, func(c net.PacketConn, _ net.Addr, m *dhcpv4.DHCPv4) {
		r, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(dhcpv4.MessageTypeOffer), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(me)), dhcpv4.WithYourIP(net.IPv4(192, 0, 2, 9)))
		if err == nil {
			c.WriteTo(r.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: 68})
		}
	}, server4.WithConn(conn), server4.WithLogger(server4.EmptyLogger{}))
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve()
	t.Cleanup(func() { s.Close() })
}

func TestThisMachine(t *testing.T) {
	env, err := System("")
	if err != nil {
		t.Fatal(err)
	}
	env.Discover = machine().Discover // no packets on the machine's own network
	held, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	p := testPlan(t)
	p.TFTP.Listen = []netip.AddrPort{netip.MustParseAddrPort(held.LocalAddr().String())}
	found := Run(t.Context(), p, env)
	var said string
	for _, f := range found {
		if f.Level == Problem {
			said += f.Where + " " + f.What + "\n"
		}
	}
	for _, want := range []string{"192.168.67.2 no interface holds it", fmt.Sprintf("%s/udp (tftp) is held by preflight.test (pid %d)", held.LocalAddr(), os.Getpid())} {
		if !strings.Contains(said, want) {
			t.Errorf("not said: %s; only:\n%s", want, said)
		}
	}
	for _, f := range found {
		t.Logf("%-8s %-10s %s %s", f.Level, f.Check, f.Where, f.What)
	}
}
