package config

import (
	"net/netip"
	"reflect"
	"time"

	"go.yaml.in/yaml/v4"
)

// setDefaults fills in what was not written: first the constants of the struct
// tags, then what follows from other values.
func (c *Config) setDefaults() {
	c.constants(reflect.ValueOf(c).Elem(), "")
	c.servicePorts()
	c.networkDefaults()
	for i := range c.Clusters {
		c.clusterDefaults(&c.Clusters[i])
	}
	c.balancerDefaults()
	for i, e := range c.NFS.Exports {
		if !c.Written(index("nfs.exports", i) + ".clients") {
			e.Clients = c.prefixes()
			c.NFS.Exports[i] = e
		}
	}
}

// constants sets the defaults of the struct tags at and below v.
func (c *Config) constants(v reflect.Value, path string) {
	switch {
	case v.Kind() == reflect.Slice && isMapping(v.Type().Elem()):
		for i := range v.Len() {
			c.constants(v.Index(i), index(path, i))
		}
	case v.Kind() == reflect.Struct && isMapping(v.Type()):
		for _, f := range readFields(v.Type()) {
			p := join(path, f.key)
			if f.fallback == "" || c.Written(p) {
				c.constants(v.Field(f.index), p)
				continue
			}
			setConstant(v.Field(f.index), f)
		}
	}
}

// setConstant reads the default from the tag as if it stood in the file.
func setConstant(v reflect.Value, f field) {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: f.fallback, Tag: "!!str"}
	switch v.Kind() {
	case reflect.Bool:
		n.Tag = "!!bool"
	case reflect.Int:
		n.Tag = "!!int"
	}
	if err := setScalar(v, n, f); err != nil {
		panic("config: default of " + f.key + ": " + err.Error()) // a wrong tag in types.go; every test would see it
	}
}

func (c *Config) servicePorts() {
	orDefault(&c.HTTP.Port, 8080)
	orDefault(&c.TFTP.Port, 69)
	switch a := c.Admin.Listen; {
	case !a.IsValid() && c.Helper.Address.IsValid():
		c.Admin.Listen.AddrPort = netip.AddrPortFrom(c.Helper.Address, 9000)
	case a.IsValid() && a.Port() == 0:
		c.Admin.Listen.AddrPort = netip.AddrPortFrom(a.Addr(), 9000)
	}
	for i, f := range c.DNS.Forwarders {
		if f.IsValid() && f.Port() == 0 {
			c.DNS.Forwarders[i].AddrPort = netip.AddrPortFrom(f.Addr(), 53)
		}
	}
	if !c.Written("dns.allow") {
		c.DNS.Allow = c.prefixes()
	}
}

// prefixes are the machine networks.
func (c *Config) prefixes() []netip.Prefix {
	var ps []netip.Prefix
	for _, n := range c.Networks {
		if n.CIDR.IsValid() {
			ps = append(ps, n.CIDR)
		}
	}
	return ps
}

func (c *Config) networkDefaults() {
	for i := range c.Networks {
		n := &c.Networks[i]
		if n.DHCP.Unknown == "" {
			n.DHCP.Unknown = "ignore"
			if n.DHCP.Pool.IsValid() {
				n.DHCP.Unknown = "pool"
			}
		}
		own := c.Helper.Address
		if n.CIDR.Addr().Is6() {
			own = c.Helper.Address6
		}
		if !c.Written(index("networks", i)+".dns") && c.DNS.Enabled && own.IsValid() {
			n.DNS = []netip.Addr{own}
		}
	}
}

func (c *Config) clusterDefaults(cl *Cluster) {
	orDefault(&cl.Address, c.Helper.Address)
	arch := "x86_64"
	for _, a := range c.Artifacts {
		if a.Name == cl.Artifacts {
			arch = a.Arch
		}
	}
	router := "master"
	for _, n := range cl.Nodes {
		if n.Role == "worker" {
			router = "worker"
		}
	}
	for i := range cl.Nodes {
		n := &cl.Nodes[i]
		orDefault(&n.Arch, arch)
		orDefault(&n.InstallDisk, cl.InstallDisk)
		if n.Ingress == nil {
			runs := n.Role == router
			n.Ingress = &runs
		}
	}
}

func (c *Config) balancerDefaults() {
	b := &c.LB
	b.Timeouts.inherit(Timeouts{
		Connect: Duration(10 * time.Second),
		Client:  Duration(4 * time.Hour),
		Server:  Duration(4 * time.Hour),
		Queue:   Duration(time.Minute),
	})
	for i := range b.Frontends {
		b.Frontends[i].Timeouts.inherit(b.Timeouts)
		if !c.Written(index("lb.frontends", i) + ".rate") {
			b.Frontends[i].Rate = b.Rate
		}
	}
	for i := range b.Backends {
		b.Backends[i].Timeouts.inherit(b.Timeouts)
	}
}

// inherit takes over what t does not say itself.
func (t *Timeouts) inherit(from Timeouts) {
	orDefault(&t.Connect, from.Connect)
	orDefault(&t.Client, from.Client)
	orDefault(&t.Server, from.Server)
	orDefault(&t.Queue, from.Queue)
}

// orDefault gives *p the value v unless it has one.
func orDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}
