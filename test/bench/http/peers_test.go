package http

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"helperd/test/bench"
)

// port of the peers; helperd has its own default.
const port = 8080

// Settings are the best that we know: sendfile, open files cached, a worker a
// CPU, connections kept, and a buffered log of each request. tcp_nopush of nginx is off: over a
// veth it costs 36 us instead of 17 for 4 KB, and 123 instead of 85 for 300 KB.
const (
	nginxConf = `daemon off; user root; worker_processes CPUS; pid DIR/pid; error_log DIR/error.log;
events { worker_connections 8192; }
http { default_type application/octet-stream; sendfile on; keepalive_requests 100000000; open_file_cache max=1000;
  access_log DIR/access.log combined buffer=64k flush=1s;
  client_body_temp_path DIR/a; proxy_temp_path DIR/b; fastcgi_temp_path DIR/c; uwsgi_temp_path DIR/d; scgi_temp_path DIR/e;
  server { listen LISTEN; root ROOT; } }
`
	apacheConf = `ServerRoot DIR
ServerName bench
PidFile DIR/pid
Listen LISTEN
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
StartServers CPUS
ServerLimit 4
ThreadsPerChild 64
MaxRequestWorkers 256
KeepAlive On
MaxKeepAliveRequests 0
EnableSendfile On
ErrorLog DIR/error.log
BufferedLogs On
LogFormat "%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\"" combined
CustomLog DIR/access.log combined
DocumentRoot ROOT
User www-data
Group www-data
<Directory ROOT>
  Require all granted
</Directory>
`
)

// write fills a configuration in and gives its path.
func (s *site) write(t testing.TB, name, text string, addr netip.Addr) string {
	t.Helper()
	dir := filepath.Join(s.lab.Dir, name)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "conf")
	text = strings.NewReplacer("DIR", dir, "CPUS", strconv.Itoa(runtime.NumCPU()), "LISTEN", netip.AddrPortFrom(addr, port).String(), "ROOT", s.root).Replace(text)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func (s *site) nginx(t testing.TB) bench.Server {
	return bench.Server{
		Name: "nginx", Ready: s.ready,
		Command: func(addr netip.Addr) []string {
			conf := s.write(t, "nginx", nginxConf, addr)
			return []string{"nginx", "-c", conf, "-e", filepath.Join(filepath.Dir(conf), "error.log")}
		},
	}
}

func (s *site) apache(t testing.TB) bench.Server {
	return bench.Server{
		Name: "apache2", Ready: s.ready,
		Command: func(addr netip.Addr) []string {
			return []string{"apache2", "-f", s.write(t, "apache2", apacheConf, addr), "-D", "FOREGROUND"}
		},
	}
}

// helperd takes the clients for a node of its plan.
func (s *site) helperd(t testing.TB) bench.Server {
	extra := fmt.Sprintf(`clusters:
  - {name: bench, domain: example.com, nodes: [{name: master-0, role: master, ip: %s}]}
lb: {enabled: false}
http: {port: %d, root: %s}`, bench.ClientIP, port, s.root)
	return s.lab.Helperd(t, extra)
}
