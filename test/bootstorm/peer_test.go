package bootstorm

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"helperd/internal/netns"
	"helperd/plan"
	"helperd/test/rig"
)

// startPeer starts dnsmasq and nginx in place of helperd and gives their process ids.
func (s *stage) startPeer(t *testing.T) []int {
	t.Helper()
	netns.Tools(t, "dnsmasq", "nginx")
	root := s.peerFiles(t)
	dnsmasq := filepath.Join(s.Dir, "dnsmasq.conf")
	write(t, dnsmasq, s.dnsmasqConfig(root))
	nginx := filepath.Join(s.Dir, "nginx.conf")
	write(t, nginx, fmt.Appendf(nil, `daemon off; pid %s/nginx.pid; error_log %s/nginx.log; worker_processes 2; user root;
events { worker_connections 4096; }
http { access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream;
  server { listen %s:8080 backlog=4096; root %s; } }
`, s.Dir, s.Dir, rig.HelperIP, root))
	web := s.run(t, "nginx", "8080", "-c", nginx, "-p", s.Dir)
	return append(children(web), web, s.run(t, "dnsmasq", "53", "--keep-in-foreground", "--conf-file="+dnsmasq))
}

// peerFiles lays out what helperd makes up, and gives the folder.
func (s *stage) peerFiles(t *testing.T) string {
	t.Helper()
	root := filepath.Join(s.Dir, "peer")
	for _, sub := range []string{"artifacts/rhcos", "boot", "ignition", "loader"} {
		if err := os.MkdirAll(filepath.Join(root, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		if err := os.Link(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	link(s.Artifact(kernelFile), "artifacts/rhcos/kernel")
	link(s.Artifact(initramfsFile), "artifacts/rhcos/initramfs")
	link(s.Artifact(rootfsFile), "artifacts/rhcos/rootfs")
	for _, role := range []string{"bootstrap", "master", "worker"} {
		link(s.Ignition(role), "ignition/"+role+".ign")
	}
	for l := range vendorLoaders {
		link(filepath.Join(s.Dir, loaderFolder, string(l)), "loader/"+string(l))
	}
	for l, path := range s.loaders(t) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(root, string(l)), b)
		write(t, filepath.Join(root, "boot", string(l)), b)
	}
	write(t, filepath.Join(root, "boot/ipxe"), []byte("#!ipxe\nchain "+rig.URL("/boot/${mac:hexhyp}.ipxe")+"\n"))
	for _, m := range s.machines {
		mac := strings.ReplaceAll(m.mac.String(), ":", "-")
		args := fmt.Sprintf("coreos.live.rootfs_url=%s coreos.inst.install_dev=/dev/vda coreos.inst.ignition_url=%s ip=dhcp rd.neednet=1",
			rig.URL("/artifacts/rhcos/rootfs"), rig.URL("/ignition/"+string(m.role)+".ign"))
		write(t, filepath.Join(root, "boot", mac+".ipxe"), fmt.Appendf(nil, "#!ipxe\nkernel %s initrd=main %s\ninitrd --name main %s\nboot\n",
			rig.URL("/artifacts/rhcos/kernel"), args, rig.URL("/artifacts/rhcos/initramfs")))
		write(t, filepath.Join(root, "loader", "grub.cfg-01-"+mac), fmt.Appendf(nil, "linux /artifacts/rhcos/kernel %s\ninitrd /artifacts/rhcos/initramfs\nboot\n", args))
	}
	return root
}

// dnsmasqConfig does for the machines what their helper does. Its TFTP server takes 50 at a time if it is not told otherwise.
func (s *stage) dnsmasqConfig(root string) []byte {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("port=53\nlisten-address=%s\nbind-interfaces\nno-resolv\nno-hosts\nserver=%s\nuser=root\npid-file=", rig.HelperIP, rig.RouterIP)
	line("dhcp-range=192.168.67.0,static\ndhcp-authoritative\ndhcp-leasefile=%s/dnsmasq.leases\ndhcp-lease-max=1000\nquiet-dhcp\nquiet-tftp", s.Dir)
	line("dhcp-option=3,%s\ndhcp-option=6,%s\ndomain=%s", rig.RouterIP, rig.HelperIP, rig.Zone)
	line("enable-tftp\ntftp-root=%s\ntftp-max=2000", root)
	line("dhcp-match=set:ipxe,175\ndhcp-match=set:efi,option:client-arch,7\ndhcp-match=set:http,option:client-arch,16")
	efi := string(plan.SNPOnly64)
	if s.mix.vendor {
		efi = "loader/" + string(plan.Shim64)
	}
	line("dhcp-boot=tag:!ipxe,tag:!efi,tag:!http,%s", plan.Undionly)
	line("dhcp-boot=tag:!ipxe,tag:efi,%s", efi)
	line("dhcp-boot=tag:!ipxe,tag:http,%s\ndhcp-option-force=tag:http,60,HTTPClient", rig.URL("/boot/"+string(plan.SNPOnly64)))
	line("dhcp-boot=tag:ipxe,%s", rig.URL("/boot/ipxe"))
	for _, name := range []string{"api", "api-int"} {
		line("host-record=%s.%s,%s", name, rig.Zone, rig.HelperIP)
	}
	line("address=/apps.%s/%s", rig.Zone, rig.HelperIP)
	for _, m := range s.machines {
		line("dhcp-host=%s,%s,%s\nhost-record=%s.%s,%s", m.mac, m.ip, m.name, m.name, rig.Zone, m.ip)
	}
	return []byte(b.String())
}

// run starts a server in the helper's namespace and gives its process id once it listens at port.
func (s *stage) run(t *testing.T, name, port string, args ...string) int {
	t.Helper()
	cmd := s.Helper.Exec(name, args...)
	log, err := os.Create(filepath.Join(s.Dir, name+".out"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(cmd) })
	for deadline := time.Now().Add(10 * time.Second); !s.listens(port); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(log.Name())
			t.Fatalf("%s does not start:\n%s", name, said)
		}
	}
	return cmd.Process.Pid
}

// children are nginx's workers.
func children(pid int) (pids []int) {
	list, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for child := range strings.FieldsSeq(string(list)) {
		var pid int
		if _, err := fmt.Sscan(child, &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// listens reports whether the helper's address takes connections at port.
func (s *stage) listens(port string) bool {
	err := s.Helper.Call(func() error {
		c, err := net.DialTimeout("tcp4", net.JoinHostPort(rig.HelperIP, port), time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	return err == nil
}

func end(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		_ = cmd.Process.Kill()
		<-done
	}
}
