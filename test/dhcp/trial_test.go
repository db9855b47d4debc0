package dhcp

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"
)

const (
	// patience is how long an answer may take on a slow machine.
	patience = 10 * time.Second
	// quiet is how long a server stays silent, after it answered somebody who asked later, to be sure that it is silent.
	quiet = 700 * time.Millisecond
)

// A trial is one case against one server.
type trial struct{ *link }

// failure ends a trial.
type failure string

func (x *trial) fatalf(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

// run gives why proof fails; empty: it passes.
func (x *trial) run(proof func(*trial)) (failed string) {
	defer func() {
		if f, ok := recover().(failure); ok {
			failed = string(f)
		}
	}()
	proof(x)
	return ""
}

// equal fails the trial unless got is want.
func equal[T comparable](x *trial, what string, got, want T) {
	if got != want {
		x.fatalf("%s is %s, want %s", what, show(got), show(want))
	}
}

func show(v any) string {
	switch v := v.(type) {
	case string:
		for _, c := range []byte(v) {
			if c < ' ' || c > '~' {
				return fmt.Sprintf("%x", v)
			}
		}
		return fmt.Sprintf("%q", v)
	default:
		return fmt.Sprint(v)
	}
}

// A client is a machine, or what pretends to be one.
type client struct {
	*trial
	mac   mac
	id    string // option 61; empty: none
	with  []mod  // changes of all its messages
	named string // the server id that it is to be told; empty: the server's address
}

// A mod changes a message before it is sent.
type mod func(*message)

// client gives a machine that is in no list.
func (x *trial) client() *client { return x.machine(x.newMAC()) }

func (x *trial) machine(m mac) *client { return &client{trial: x, mac: m} }

// node gives a machine that has a reservation, and its address.
func (x *trial) node(n int) (*client, netip.Addr) {
	m, a := node(n)
	return x.machine(m), netip.MustParseAddr(a)
}

// message makes one of the client's.
func (c *client) message(kind byte, mods ...mod) *message {
	m := &message{op: 1, htype: 1, hlen: 6, xid: rand.Uint32()}
	copy(m.chaddr[:], c.mac[:])
	m.options = []option{{optType, string([]byte{kind})}}
	if c.id != "" {
		m.options = append(m.options, option{optClientID, c.id})
	}
	for _, f := range c.with {
		f(m)
	}
	for _, f := range mods {
		f(m)
	}
	return m
}

// Mods.

func with(code byte, value string) mod {
	return func(m *message) { m.options = append(m.options, option{code, value}) }
}

func asks(codes ...byte) mod { return with(optParams, string(codes)) }

func without(code byte) mod {
	return func(m *message) {
		var rest []option
		for _, o := range m.options {
			if o.code != code {
				rest = append(rest, o)
			}
		}
		m.options = rest
	}
}

func flags(f uint16) mod { return func(m *message) { m.flags = f } }

func via(relay string) mod {
	return func(m *message) { m.giaddr, m.hops = netip.MustParseAddr(relay), 1 }
}

func has(a netip.Addr) mod { return func(m *message) { m.ciaddr = a } }

func wants(a netip.Addr) mod { return with(optRequested, string(a.AsSlice())) }

func chooses(server string) mod { return with(optServerID, ip(server)) }

// Ways: how a message travels to the server.

// broadcast is the way of a client without an address, or of one that cannot reach its server.
func (c *client) broadcast(m *message) way {
	from := netip.IPv4Unspecified()
	if m.ciaddr.IsValid() {
		from = m.ciaddr
	}
	return way{c.mac, everybody, netip.AddrPortFrom(from, 68), netip.MustParseAddrPort("255.255.255.255:67")}
}

// unicast is the way of a client that renews.
func (c *client) unicast(m *message) way {
	return way{c.mac, c.serves, netip.AddrPortFrom(m.ciaddr, 68), netip.MustParseAddrPort(serverIP + ":67")}
}

func (c *client) relayed(m *message) way {
	return way{relayMAC, c.serves, netip.AddrPortFrom(m.giaddr, 67), netip.MustParseAddrPort(serverIP + ":67")}
}

// put sends a message by broadcast, or through its relay.
func (c *client) put(m *message) error {
	if m.giaddr.IsValid() {
		return c.send(c.relayed(m).frame(m.bytes()))
	}
	return c.send(c.broadcast(m).frame(m.bytes()))
}

// next gives the next reply to m, which is checked for what holds of all replies.
func (c *client) next(m *message, kind byte) *reply {
	select {
	case r := <-c.await(m.xid):
		c.check(m, r)
		if r.kind() != kind {
			c.fatalf("a %s came, want a %s", typeName(r.kind()), typeName(kind))
		}
		return r
	case <-time.After(patience):
		c.fatalf("no answer to a %s, want a %s", typeName(m.kind()), typeName(kind))
		panic("not reached")
	}
}

func typeName(kind byte) string {
	return []string{"BOOTREPLY", "DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM"}[kind%9]
}

// check fails unless r is well-formed and belongs to m (RFC 2131 table 3).
func (c *client) check(m *message, r *reply) {
	if r.broken != nil {
		c.fatalf("the reply is broken: %v", r.broken)
	}
	equal(c.trial, "op", r.op, 2)
	equal(c.trial, "htype", r.htype, 1)
	equal(c.trial, "hlen", r.hlen, 6)
	equal(c.trial, "chaddr", r.chaddr, m.chaddr)
	equal(c.trial, "giaddr", r.giaddr, addrOr0(m.giaddr))
	equal(c.trial, "source", r.from.String(), serverIP+":67")
	if r.kind() != 0 {
		equal(c.trial, "server id", r.get(optServerID), ip(cmp.Or(c.named, serverIP)))
	}
}

func addrOr0(a netip.Addr) netip.Addr {
	if !a.IsValid() {
		return netip.IPv4Unspecified()
	}
	return a
}

// exchange sends a message and gives its answer.
func (c *client) exchange(m *message, kind byte) *reply {
	c.must(c.put(m))
	return c.next(m, kind)
}

func (x *trial) must(err error) {
	if err != nil {
		x.fatalf("%v", err)
	}
}

// silence fails if m is answered.
func (c *client) silence(m *message) {
	c.must(c.put(m))
	c.nothing(m.xid)
}

// denied fails if m is acknowledged.
func (c *client) denied(m *message) {
	c.must(c.put(m))
	c.must(c.alive())
	select {
	case r := <-c.await(m.xid):
		c.check(m, r)
		equal(c.trial, "answer", typeName(r.kind()), typeName(nak))
	case <-time.After(quiet):
	}
}

// alive asks as a machine of the list until it is answered.
func (x *trial) alive() error {
	c := x.machine(mac{0x52, 0x54, 0, 0x44, 0, 0xff})
	for end := time.Now().Add(2 * patience); time.Now().Before(end); {
		m := c.message(discover)
		if err := c.put(m); err != nil {
			return err
		}
		select {
		case <-x.await(m.xid):
			return nil
		case <-time.After(300 * time.Millisecond):
		}
	}
	return errors.New("the server answers nobody")
}

// nothing fails if the transaction is answered. Somebody who asks now is answered first.
func (c *client) nothing(xid uint32) {
	c.must(c.alive())
	select {
	case r := <-c.await(xid):
		c.fatalf("a %s came (yiaddr %s, text %q), want silence", typeName(r.kind()), r.yiaddr, r.get(optText))
	case <-time.After(quiet):
	}
}

// discover asks for an offer.
func (c *client) discover(mods ...mod) *reply { return c.exchange(c.message(discover, mods...), offer) }

// choose takes an address in SELECTING.
func (c *client) choose(a netip.Addr, mods ...mod) *reply {
	r := c.exchange(c.message(request, append([]mod{chooses(serverIP), wants(a)}, mods...)...), ack)
	equal(c.trial, "yiaddr of the ACK", r.yiaddr, a)
	c.hold(a, c.mac)
	return r
}

// lease gets an address as a client does.
func (c *client) lease(mods ...mod) netip.Addr {
	var got netip.Addr
	for range 3 { // it begins again after a NAK: dnsmasq holds no offers, so another case may be faster
		failed := c.run(func(*trial) { got = c.choose(c.discover(mods...).yiaddr, mods...).yiaddr })
		switch {
		case failed == "":
			return got
		case !strings.HasPrefix(failed, "a NAK came"):
			c.fatalf("%s", failed)
		}
	}
	c.fatalf("three NAKs in a row")
	panic("not reached")
}

// renew asks its server for more time.
func (c *client) renew(a netip.Addr, kind byte, mods ...mod) *reply {
	m := c.message(request, append([]mod{has(a)}, mods...)...)
	c.must(c.send(c.unicast(m).frame(m.bytes())))
	return c.next(m, kind)
}

// inPool fails unless a is of the pool of its /24.
func (x *trial) inPool(a netip.Addr) {
	prefix, _ := a.Prefix(24)
	pool, ok := pools[prefix]
	n := a.As4()[3]
	if !ok || n < pool[0] || n > pool[1] {
		x.fatalf("%s is in no pool", a)
	}
}

var pools = map[netip.Prefix][2]byte{
	netip.MustParsePrefix("192.168.67.0/24"): {30, 250},
	netip.MustParsePrefix("10.30.8.0/24"):    {20, 250},
	netip.MustParsePrefix("10.30.9.0/24"):    {100, 103},
	netip.MustParsePrefix("10.30.11.0/24"):   {20, 250},
}

// word is two bytes on the wire.
func word(n uint16) string { return string(binary.BigEndian.AppendUint16(nil, n)) }
