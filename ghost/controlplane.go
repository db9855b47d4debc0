package ghost

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/netip"
	"time"
)

// Ports that nodes of a cluster serve.
const (
	portAPI           = 6443
	portMachineConfig = 22623
	portRouterHealth  = 1936
	portHTTP          = 80
	portHTTPS         = 443
)

// servedBy is the header that names the ghost that answered.
const servedBy = "X-Ghost"

// serve opens what the node's role serves on the node's address: API and
// machine config server, or the routers. It says which ports.
func (r *run) serve() (string, error) {
	config, err := selfSigned(r.fqdn(), r.zone())
	if err != nil {
		return "", fmt.Errorf("make a certificate: %w", err)
	}
	if r.Role == Worker {
		return "serves 80 and 443", errors.Join(r.listen(portRouterHealth, nil, "/healthz/ready"), r.listen(portHTTP, nil, "/"), r.listen(portHTTPS, config, "/"))
	}
	return "serves 6443 and 22623", errors.Join(r.listen(portAPI, config, "/readyz"), r.listen(portMachineConfig, config, "/healthz", "/config/"))
}

// listen answers requests below paths with the name of the node.
func (r *run) listen(port uint16, config *tls.Config, paths ...string) error {
	ln, err := r.link.Listen(netip.AddrPortFrom(r.addr, port))
	if err != nil {
		return fmt.Errorf("listen on port %d: %w", port, err)
	}
	if config != nil {
		ln = tls.NewListener(ln, config)
	}
	mux := http.NewServeMux()
	for _, p := range paths {
		mux.HandleFunc(p, r.answer)
	}
	// Checks that only connect leave handshakes undone; the log need not say so.
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	r.servers = append(r.servers, func() { _ = server.Close() })
	r.Guard.Go(fmt.Sprintf("ghost %s port %d", r.Name, port), func() { _ = server.Serve(ln) })
	return nil
}

// answer serves every request with what the machine config server would: an
// Ignition file. Who asks for health looks at the status alone.
func (n *Node) answer(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set(servedBy, n.Name)
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"ignition":{"version":"3.4.0"}}`)
}

// selfSigned makes a certificate for a control plane node.
func selfSigned(fqdn, zone string) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: fqdn},
		DNSNames:     []string{fqdn, "api." + zone, "api-int." + zone},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}, nil
}

// join is the installed system: it takes its place in the cluster.
func (r *run) join(ctx context.Context) error {
	err := r.step(StageInstalled, func() (string, error) {
		return fmt.Sprintf("system on the disk is %s at %s", r.fqdn(), r.addr), r.systemUp(ctx, nil)
	})
	if err != nil {
		return err
	}
	if r.Role != Bootstrap {
		if err := r.step(StageJoining, func() (string, error) { return r.machineConfig(ctx) }); err != nil {
			return err
		}
	}
	return r.step(StageReady, func() (string, error) {
		detail, err := r.serve()
		if err != nil || r.Role != Worker {
			return detail, err
		}
		answered, err := r.reachAPI(ctx)
		return detail + "; " + answered, err
	})
}

// machineConfig fetches the rest of the node's configuration, as Ignition does
// on the first boot from disk: through the balancer, until somebody serves it.
func (r *run) machineConfig(ctx context.Context) (string, error) {
	url := fmt.Sprintf("https://api-int.%s:%d/config/%s", r.zone(), portMachineConfig, r.Role)
	var got body
	err := r.retry(ctx, StageJoining, time.Second, func() (err error) {
		got, err = r.get(ctx, agentIgnition, url, true)
		return err
	})
	if err != nil {
		return "", err
	}
	if got.server == "" {
		return "", fmt.Errorf("%s was not answered by a control plane node", url)
	}
	return fmt.Sprintf("api-int:%d answered by %s", portMachineConfig, got.server), nil
}

// reachAPI connects to the API as a kubelet does, several times: the balancer
// may send each connection elsewhere.
func (r *run) reachAPI(ctx context.Context) (string, error) {
	url := fmt.Sprintf("https://api-int.%s:%d/readyz", r.zone(), portAPI)
	answered := map[string]int{}
	for range 6 {
		err := r.retry(ctx, StageReady, time.Second, func() error {
			got, err := r.get(ctx, "kubelet/v1.31", url, true)
			if err == nil && got.server == "" {
				err = errors.New(url + " was not answered by a control plane node")
			}
			answered[got.server]++
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("api-int:%d answered by %s", portAPI, tally(answered)), nil
}
