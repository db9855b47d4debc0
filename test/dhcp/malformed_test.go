package dhcp

// Messages that are not answered. The server lives on: silence asks it.

// dropped makes a case of a message that must not be answered.
func dropped(name, rfc string, spoil func(c *client, m *message) []byte, differs map[string]string, alone string) testCase {
	return testCase{
		name: name, rfc: rfc, differs: differs, alone: alone,
		proof: func(x *trial) {
			c := x.client()
			m := c.message(discover, asks(1, 3, 6), flags(0x8000)) // an answer would be heard wherever it went
			b := spoil(c, m)
			x.must(c.send(c.broadcast(m).frame(b)))
			c.nothing(m.xid)
		},
	}
}

// cut leaves n bytes.
func cut(n int) func(*client, *message) []byte {
	return func(_ *client, m *message) []byte { return m.bytes()[:n] }
}

// changed sends the message after a change.
func changed(f mod) func(*client, *message) []byte {
	return func(_ *client, m *message) []byte { f(m); return m.bytes() }
}

// raw sends it after a change of the bytes.
func raw(f func(b []byte)) func(*client, *message) []byte {
	return func(_ *client, m *message) []byte { b := m.bytes(); f(b); return b }
}

var malformedCases = []testCase{
	dropped("empty datagram", "2131 2", cut(0), nil, ""),
	dropped("half a header", "2131 2", cut(100), nil, ""),
	dropped("header without options", "2131 3", cut(cookieAt), nil, ""),
	dropped("half a magic cookie", "2131 3", cut(cookieAt+2), nil, ""),
	dropped("other magic cookie", "2131 3", raw(func(b []byte) { b[cookieAt] = 98 }), nil, ""),
	dropped("BOOTREPLY to a server", "2131 4.3", changed(func(m *message) { m.op = 2 }), map[string]string{dhcpd: "it does not look at op"}, ""),
	dropped("op of nobody", "2131 2", changed(func(m *message) { m.op = 7 }), map[string]string{dhcpd: "it does not look at op"}, ""),
	dropped("hlen 0", "2131 2", changed(func(m *message) { m.hlen = 0 }), map[string]string{dhcpd: "it serves such links too"}, ""),
	dropped("hlen 255", "2131 2", changed(func(m *message) { m.hlen = 255 }), nil, ""),
	dropped("htype of another link", "2131 2", changed(func(m *message) { m.htype = 32 }), map[string]string{dhcpd: "it serves such links too", dnsmasq: "it serves such links too"}, "this server is for Ethernet, where the answer has to go to six bytes of chaddr"),
	dropped("multicast chaddr", "2131 4.1", changed(func(m *message) { m.chaddr[0] |= 1 }), map[string]string{dhcpd: "it does not look", dnsmasq: "it does not look"}, "answers go to chaddr: one packet would be answered to all"),
	dropped("chaddr of zeros", "2131 4.1", changed(func(m *message) { m.chaddr = [16]byte{} }), map[string]string{dhcpd: "it does not look", dnsmasq: "it does not look"}, "answers go to chaddr, and this is nobody's"),
	dropped("option that runs over the end", "2132 2", func(_ *client, m *message) []byte {
		b := m.bytes()[:optionsAt+3]
		return append(b, optParams, 200, 1, 3, 6)
	}, map[string]string{dnsmasq: "it takes what it can read"}, ""),
	dropped("option without a length", "2132 2", func(_ *client, m *message) []byte {
		return append(m.bytes()[:optionsAt+3], optParams)
	}, map[string]string{dnsmasq: "it takes what it can read"}, ""),
	dropped("option in file that runs over the end", "2132 9.3", changed(func(m *message) {
		m.options = append(m.options, option{optOverload, "\x01"})
		for i := range m.file {
			m.file[i] = 0xfe
		}
	}), map[string]string{dnsmasq: "it takes what it can read"}, ""),
	dropped("message type of two bytes", "2132 9.6", changed(func(m *message) { m.options[0].value = "\x01\x01" }), map[string]string{dhcpd: "it reads the first byte", dnsmasq: "it reads the first byte"}, "the option has one byte"),
	dropped("message type of no bytes", "2132 9.6", changed(func(m *message) { m.options[0].value = "" }), nil, ""),
	dropped("unknown message type", "2132 9.6", changed(func(m *message) { m.options[0].value = "\x63" }), nil, ""),
	dropped("a server's OFFER", "2131 4.3", changed(func(m *message) { m.options[0].value = string(rune(offer)) }), nil, ""),
	dropped("a server's ACK", "2131 4.3", changed(func(m *message) { m.options[0].value = string(rune(ack)) }), nil, ""),
}
