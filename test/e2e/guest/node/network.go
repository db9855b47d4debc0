package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// names asks the name server that DHCP gave what a node asks.
func (n *node) names() {
	zone, balancer := n.zone(), n.args["e2e.balancer"]
	forward := []struct{ check, name, want string }{
		{"dns-self", n.lease["hostname"], n.lease["ip"]},
		{"dns-api", "api." + zone, balancer},
		{"dns-api-int", "api-int." + zone, balancer},
		{"dns-apps", fmt.Sprintf("r%d.apps.%s", time.Now().UnixNano(), zone), balancer},
	}
	for _, f := range forward {
		n.check(f.check, f.name, lookup(f.name, f.want))
	}
	n.check("dns-reverse", n.lease["ip"], reverse(n.lease["ip"], n.lease["hostname"]))
	var notFound *net.DNSError
	_, err := net.DefaultResolver.LookupHost(context.Background(), "no-such-node."+zone+".")
	if !errors.As(err, &notFound) || !notFound.IsNotFound {
		n.check("dns-unknown", "", fmt.Errorf("a name that is not there gives %v, want not found", err))
		return
	}
	n.check("dns-unknown", "", nil)
}

func lookup(name, want string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	got, err := net.DefaultResolver.LookupHost(ctx, name+".")
	six := strings.Contains(want, ":")
	got = slices.DeleteFunc(got, func(a string) bool { return strings.Contains(a, ":") != six }) // what this machine cannot reach
	if err == nil && !slices.Equal(got, []string{want}) {
		err = fmt.Errorf("%s is %v, want %s", name, got, want)
	}
	return err
}

func reverse(addr, want string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	got, err := net.DefaultResolver.LookupAddr(ctx, addr)
	if err == nil && !slices.Equal(got, []string{want + "."}) {
		err = fmt.Errorf("%s is %v, want %s alone", addr, got, want)
	}
	return err
}

// balancer asks the cluster through the helper, and the one that shares its address.
func (n *node) balancer() {
	members := n.args["e2e.controlplane"]
	n.ask("lb-6443", "https://api-int."+n.zone()+":6443/version", members)
	n.ask("lb-22623", "https://api-int."+n.zone()+":22623/config/worker", members)
	if zone, members, ok := strings.Cut(n.args["e2e.neighbour"], ":"); ok {
		n.ask("lb-neighbour", "https://api."+zone+":6443/version", members)
	}
}

// ask fetches from a cluster's stand-ins, which answer with their name: one that
// is not among the members is the balancer's mistake. Servers may still be coming
// up: the installed system tries for long, too.
func (n *node) ask(check, url, members string) {
	insecure := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // the stand-ins sign their own
	}}
	var body string
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Second) {
		if body, err = text(insecure, url); err == nil {
			break
		}
	}
	name, _, _ := strings.Cut(body, " ")
	if err == nil && (name == "" || !slices.Contains(strings.Split(members, ","), name)) {
		err = fmt.Errorf("%s was answered by %q, want one of %s", url, body, members)
	}
	n.check(check, body, err)
}

func text(c *http.Client, url string) (string, error) {
	resp, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return strings.TrimSpace(string(b)), err
}
