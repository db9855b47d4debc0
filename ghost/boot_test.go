package ghost

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"github.com/miekg/dns"
	"github.com/pin/tftp/v3"

	"helperd/internal/guard"
	"helperd/internal/netns"
)

// helper is a helper node of library servers, which has nothing of ours in it.
type helper struct {
	addr   string
	script string            // what the boot script says the first time
	again  string            // and then
	files  map[string]string // by URL path
	status map[string]int    // by URL path
	names  map[string]string // A and PTR records
	lease  func(*dhcpv4.DHCPv4)
	loader map[uint16]string // boot file by architecture

	mu      sync.Mutex
	scripts int
	asked   []string // DHCP and TFTP and HTTP requests in their order
}

const installArgs = "ip=dhcp rd.neednet=1 coreos.live.rootfs_url=http://192.168.99.1:8080/rootfs coreos.inst.install_dev=/dev/vda coreos.inst.ignition_url=http://192.168.99.1:8080/ignition/bootstrap.ign?token=x"

func newHelper() *helper {
	const zone = "c.example.com."
	return &helper{
		addr:   "192.168.99.1",
		script: "#!ipxe\nset base http://192.168.99.1:8080\niseq ${platform} efi && set x y ||\nkernel ${base}/kernel initrd=main " + installArgs + " || goto failed\ninitrd --name main ${base}/initrd\nboot\n:failed\nshell\n",
		again:  "#!ipxe\niseq ${platform} efi && exit ||\nsanboot --no-describe --drive 0x80\n",
		files: map[string]string{
			"/kernel": strings.Repeat("k", 100000), "/initrd": "i", "/rootfs": strings.Repeat("r", 300000), "/boot/snponly.efi": strings.Repeat("s", 50000),
			"/ignition/bootstrap.ign": `{"ignition":{"version":"3.2.0"}}`,
		},
		names: map[string]string{
			"n0." + zone: "192.168.99.10", "api." + zone: "192.168.99.1", "api-int." + zone: "192.168.99.1", "*.apps." + zone: "192.168.99.1",
			"10.99.168.192.in-addr.arpa.": "n0." + zone,
		},
		loader: map[uint16]string{0: "undionly.kpxe", 7: "snponly.efi", 16: "http://192.168.99.1:8080/boot/snponly.efi"},
		status: map[string]int{}, lease: func(*dhcpv4.DHCPv4) {},
	}
}

func (h *helper) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, fmt.Sprintf(format, args...))
}

// requests are what was asked so far.
func (h *helper) requests() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.asked)
}

// start serves on the bridge br0 of a namespace of the test.
func (h *helper) start(t *testing.T) *netns.NS {
	t.Helper()
	ns := netns.New(t)
	ns.Bridge(t, "br0", h.addr+"/24")
	var udp67 *net.UDPConn
	var udp53, udp69 net.PacketConn
	var tcp net.Listener
	ns.Do(t, func() {
		var err error
		if udp67, err = server4.NewIPv4UDPConn("br0", &net.UDPAddr{Port: 67}); err != nil {
			t.Fatal(err)
		}
		if udp53, err = net.ListenPacket("udp4", h.addr+":53"); err != nil {
			t.Fatal(err)
		}
		if udp69, err = net.ListenPacket("udp4", h.addr+":69"); err != nil {
			t.Fatal(err)
		}
		if tcp, err = net.Listen("tcp4", h.addr+":8080"); err != nil {
			t.Fatal(err)
		}
	})
	dhcpServer, err := server4.NewServer("", nil, h.serveDHCP, server4.WithConn(udp67), server4.WithLogger(server4.EmptyLogger{}))
	if err != nil {
		t.Fatal(err)
	}
	tftpServer := tftp.NewServer(h.serveTFTP, nil)
	tftpServer.EnableSinglePort() // its other mode opens sockets in the wrong namespace
	dnsServer := &dns.Server{PacketConn: udp53, Handler: dns.HandlerFunc(h.serveDNS)}
	httpServer := &http.Server{Handler: http.HandlerFunc(h.serveHTTP), ErrorLog: log.New(io.Discard, "", 0)}
	go dhcpServer.Serve()
	go tftpServer.Serve(udp69)
	go dnsServer.ActivateAndServe()
	go httpServer.Serve(tcp)
	t.Cleanup(func() {
		dhcpServer.Close()
		tftpServer.Shutdown() // after a mere Close its loop would spin
		udp53.Close()
		httpServer.Close()
	})
	return ns
}

func (h *helper) serveDHCP(conn net.PacketConn, _ net.Addr, m *dhcpv4.DHCPv4) {
	me := net.ParseIP(h.addr).To4()
	kind := map[dhcpv4.MessageType]dhcpv4.MessageType{
		dhcpv4.MessageTypeDiscover: dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeRequest: dhcpv4.MessageTypeAck,
	}[m.MessageType()]
	r, err := dhcpv4.NewReplyFromRequest(m,
		dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(net.IPv4(192, 168, 99, 10)), dhcpv4.WithServerIP(me), dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(me)), dhcpv4.WithOption(dhcpv4.OptRouter(me)), dhcpv4.WithOption(dhcpv4.OptDNS(me)), dhcpv4.WithLeaseTime(3600),
		dhcpv4.WithOption(dhcpv4.OptHostName("n0.c.example.com")), dhcpv4.WithOption(dhcpv4.OptDomainName("c.example.com")))
	if err != nil {
		return
	}
	class, _, _ := strings.Cut(m.ClassIdentifier(), ":UNDI")
	if kind == dhcpv4.MessageTypeOffer {
		h.note("dhcp %s %s id=%x", class, m.Options.Get(dhcpv4.OptionUserClassInformation), m.Options.Get(dhcpv4.OptionClientIdentifier))
	}
	if arch := m.ClientArch(); len(arch) > 0 {
		file := h.loader[uint16(arch[0])]
		if len(m.Options.Get(dhcpv4.OptionUserClassInformation)) > 0 {
			file = "http://" + h.addr + ":8080/script"
		}
		r.UpdateOption(dhcpv4.OptBootFileName(file))
		if strings.HasPrefix(class, "HTTPClient") {
			r.UpdateOption(dhcpv4.OptClassIdentifier("HTTPClient"))
		}
	}
	h.lease(r)
	conn.WriteTo(r.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: 68})
}

func (h *helper) serveTFTP(name string, rf io.ReaderFrom) error {
	body, ok := h.files["/boot/snponly.efi"], strings.HasPrefix(name, "undionly") || strings.HasPrefix(name, "snponly")
	if strings.HasPrefix(name, "grubx64") {
		body, ok = "grub", true
	}
	if strings.HasPrefix(strings.TrimPrefix(name, "/"), "grub.cfg-01-") {
		h.mu.Lock()
		h.scripts++
		first := h.scripts == 1
		h.mu.Unlock()
		body, ok = "exit\n", true
		if first {
			body = "set timeout=0\nmenuentry install {\n  linux (http,192.168.99.1:8080)/kernel " + installArgs + "\n  initrd (http,192.168.99.1:8080)/initrd\n}\n"
		}
	}
	h.note("tftp %s %v", name, ok)
	if !ok {
		return fmt.Errorf("no such file")
	}
	rf.(tftp.OutgoingTransfer).SetSize(int64(len(body)))
	_, err := rf.ReadFrom(strings.NewReader(body))
	return err
}

func (h *helper) serveHTTP(w http.ResponseWriter, q *http.Request) {
	h.note("%s %s %s", q.Method, q.URL, q.UserAgent())
	if code := h.status[q.URL.Path]; code != 0 {
		http.Error(w, "the test says no", code)
		return
	}
	if q.URL.Path == "/script" {
		h.mu.Lock()
		h.scripts++
		text := h.again
		if h.scripts == 1 {
			text = h.script
		}
		h.mu.Unlock()
		io.WriteString(w, text)
		return
	}
	http.ServeContent(w, q, "", time.Time{}, strings.NewReader(h.files[q.URL.Path]))
}

func (h *helper) serveDNS(w dns.ResponseWriter, q *dns.Msg) {
	r := new(dns.Msg).SetReply(q)
	name := q.Question[0].Name
	value, ok := h.names[name]
	if _, after, cut := strings.Cut(name, ".apps."); !ok && cut {
		value = h.names["*.apps."+after]
	}
	switch {
	case value == "":
		r.Rcode = dns.RcodeNameError
	case q.Question[0].Qtype == dns.TypePTR:
		rr, _ := dns.NewRR(name + " 60 IN PTR " + value)
		r.Answer = append(r.Answer, rr)
	default:
		rr, _ := dns.NewRR(name + " 60 IN A " + value)
		r.Answer = append(r.Answer, rr)
	}
	w.WriteMsg(r)
}

// boot boots one node against h and gives its steps.
func boot(t *testing.T, h *helper, n *Node) ([]Step, error) {
	t.Helper()
	ns := h.start(t)
	n.Name, n.Bridge, n.Guard = "n0", "br0", guard.New(nil)
	n.Waits = []time.Duration{time.Second}
	n.MAC = net.HardwareAddr{0x52, 0x54, 0, 1, 2, 3}
	t.Cleanup(n.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var steps []Step
	var err error
	ns.Do(t, func() { err = n.Boot(ctx, func(s Step) { steps = append(steps, s) }) })
	return steps, err
}

func TestEveryFirmwareBoots(t *testing.T) {
	tests := []struct {
		firmware Firmware
		loader   map[uint16]string
		asks     []string // in this order, among others
	}{
		{BIOSiPXE, nil, []string{"dhcp PXEClient:Arch:00000 iPXE", "GET /script iPXE", "GET /kernel iPXE", "dhcp   id=01525400010203", "HEAD /rootfs", "GET /rootfs", "GET /ignition/bootstrap.ign?token=x coreos", "GET /script", "dhcp   id=01"}},
		{BIOSPXE, nil, []string{"dhcp PXEClient:Arch:00000  id=00", "tftp undionly.kpxe true", "dhcp PXEClient:Arch:00000 iPXE id=01", "GET /script"}},
		{UEFIPXE, nil, []string{"dhcp PXEClient:Arch:00007  id=", "tftp snponly.efi true", "tftp snponly.efi true", "dhcp PXEClient:Arch:00007 iPXE", "GET /script"}},
		{UEFIHTTP, nil, []string{"dhcp HTTPClient:Arch:00016", "HEAD /boot/snponly.efi UefiHttpBoot", "GET /boot/snponly.efi", "dhcp PXEClient:Arch:00007 iPXE", "GET /script"}},
		{UEFIPXE, map[uint16]string{7: "grubx64.efi"}, []string{"tftp grubx64.efi true", "tftp /grub.cfg-01-52-54-00-01-02-03 true", "GET /kernel GRUB", "GET /initrd GRUB", "GET /rootfs", "tftp /grub.cfg-01"}},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.firmware, tt.loader), func(t *testing.T) {
			h := newHelper()
			if tt.loader != nil {
				h.loader = tt.loader
			}
			n := &Node{Firmware: tt.firmware, Role: Bootstrap}
			steps, err := boot(t, h, n)
			if err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(h.requests(), "\n"))
			}
			for _, s := range steps {
				t.Logf("%-10s %8s  %s", s.Stage, s.Took.Round(time.Microsecond), s.Detail)
			}
			if last := steps[len(steps)-1]; last.Stage != StageReady {
				t.Errorf("last stage is %s", last.Stage)
			}
			rest := h.requests()
			for _, want := range tt.asks {
				i := 0
				for ; i < len(rest) && !strings.HasPrefix(rest[i], want); i++ {
				}
				if i == len(rest) {
					t.Fatalf("never asked %q, or not in its turn:\n%s", want, strings.Join(h.requests(), "\n"))
				}
				rest = rest[i+1:]
			}
			name, err := n.Ask(t.Context(), "https://n0.c.example.com:6443/readyz")
			if err != nil || name != "n0" {
				t.Errorf("its API says %q, %v", name, err)
			}
		})
	}
}

func TestStuckNodeSaysWhy(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(*helper)
		says  string
	}{
		{"no host name", func(h *helper) { h.lease = func(m *dhcpv4.DHCPv4) { m.Options.Del(dhcpv4.OptionHostName) } }, "localhost"},
		{"no boot file", func(h *helper) { h.lease = func(m *dhcpv4.DHCPv4) { m.Options.Del(dhcpv4.OptionBootfileName) } }, "no boot file"},
		{"boot file in the offer only", func(h *helper) {
			h.lease = func(m *dhcpv4.DHCPv4) {
				if m.MessageType() == dhcpv4.MessageTypeAck {
					m.Options.Del(dhcpv4.OptionBootfileName)
				}
			}
		}, "ROMs differ"},
		{"refused", func(h *helper) {
			h.lease = func(m *dhcpv4.DHCPv4) {
				if m.MessageType() == dhcpv4.MessageTypeAck {
					m.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeNak))
				}
			}
		}, "DHCPNAK"},
		{"no loader", func(h *helper) { h.loader[7] = "missing.efi" }, "missing.efi"},
		{"script is a page", func(h *helper) { h.script = "<html>" }, "#!ipxe"},
		{"script runs in a circle", func(h *helper) { h.script = "#!ipxe\n:a\ngoto a\n" }, "circle"},
		{"kernel is missing", func(h *helper) { h.status["/kernel"] = 404 }, "shell waits for a person"},
		{"no install disk", func(h *helper) { h.script = strings.Replace(h.script, "coreos.inst.install_dev=/dev/vda", "", 1) }, "install_disk"},
		{"rootfs is missing", func(h *helper) { h.status["/rootfs"] = 404 }, "HTTP 404"},
		{"ignition is refused", func(h *helper) { h.status["/ignition/bootstrap.ign"] = 403 }, "HTTP 403: the test says no"},
		{"ignition is broken", func(h *helper) { h.files["/ignition/bootstrap.ign"] = "{" }, "no JSON"},
		{"wrong PTR", func(h *helper) { h.names["10.99.168.192.in-addr.arpa."] = "other.c.example.com." }, "wrong name"},
		{"no api-int", func(h *helper) { delete(h.names, "api-int.c.example.com.") }, "NXDOMAIN for api-int.c.example.com"},
		{"wrong address", func(h *helper) { h.names["n0.c.example.com."] = "192.168.99.11" }, "resolves to 192.168.99.11"},
		{"installs again", func(h *helper) { h.again = h.script }, "installs it again"},
		{"empty disk", func(h *helper) { h.script = h.again }, "is empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHelper()
			tt.spoil(h)
			_, err := boot(t, h, &Node{Firmware: UEFIPXE, Role: Bootstrap})
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v does not say %q", err, tt.says)
			}
		})
	}
}
