package peek

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"net"
	"testing"
)

// realHello is what crypto/tls sends first, with post-quantum key shares.
func realHello(t testing.TB, name string, most uint16) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go func() {
		_ = tls.Client(client, &tls.Config{ServerName: name, InsecureSkipVerify: true, MaxVersion: most}).Handshake()
	}()
	b := make([]byte, Max)
	n, err := server.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// record makes handshake records of at most size bytes of message each.
func record(message []byte, size int) []byte {
	var out []byte
	for len(message) > 0 {
		n := min(size, len(message))
		out = append(out, 22, 3, 1, byte(n>>8), byte(n))
		out, message = append(out, message[:n]...), message[n:]
	}
	return out
}

// clientHello is a message with the given extensions; nil: without the field for them.
func clientHello(extensions []byte) []byte {
	body := append([]byte{3, 3}, make([]byte, 32)...)
	body = append(body, 2, 0xaa, 0xbb)             // session
	body = append(body, 0, 4, 0x13, 1, 0x0a, 0x0a) // suites, one of them GREASE
	body = append(body, 1, 0)                      // compression
	if extensions != nil {
		body = binary.BigEndian.AppendUint16(body, uint16(len(extensions)))
		body = append(body, extensions...)
	}
	return append([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body...)
}

func extension(kind uint16, data []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// sni is a server_name extension; an entry is its type and a name.
func sni(entries ...string) []byte {
	var list []byte
	for _, e := range entries {
		list = append(list, e[0])
		list = binary.BigEndian.AppendUint16(list, uint16(len(e)-1))
		list = append(list, e[1:]...)
	}
	return extension(0, append(binary.BigEndian.AppendUint16(nil, uint16(len(list))), list...))
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestServerName(t *testing.T) {
	const name = "api.edge.example.com"
	grease := extension(0x0a0a, nil)
	ech := extension(0xfe0d, make([]byte, 200))
	long := bytes.Repeat([]byte("x"), 254)
	bad := func(edit func([]byte)) []byte {
		b := record(clientHello(sni("\x00"+name)), 16384)
		edit(b)
		return b
	}
	tests := []struct {
		name string
		in   []byte
		want string
		o    Outcome
	}{
		{"crypto/tls", realHello(t, name, 0), name, Found},
		{"crypto/tls without a name", realHello(t, "", 0), "", Absent},
		{"crypto/tls to an address", realHello(t, "192.0.2.1", 0), "", Absent},
		{"crypto/tls 1.2", realHello(t, name, tls.VersionTLS12), name, Found},
		{"in one record", record(clientHello(join(grease, sni("\x00"+name), ech)), 16384), name, Found},
		{"in records of one byte", record(clientHello(join(grease, ech, sni("\x00"+name))), 1), name, Found},
		{"in records of seven bytes", record(clientHello(join(ech, sni("\x00"+name))), 7), name, Found},
		{"first of several names", record(clientHello(sni("\x00"+name, "\x00other.example.com")), 16384), name, Found},
		{"name of another type first", record(clientHello(sni("\x07what", "\x00"+name)), 16384), name, Found},
		{"only another type", record(clientHello(sni("\x07what")), 16384), "", Absent},
		{"empty name", record(clientHello(sni("\x00")), 16384), "", Absent},
		{"empty list", record(clientHello(sni()), 16384), "", Absent},
		{"name too long", record(clientHello(sni("\x00"+string(long)+"xx")), 16384), "", Absent},
		{"an address as the name", record(clientHello(sni("\x00192.0.2.1")), 16384), "192.0.2.1", Found},
		{"encrypted hello without an outer name", record(clientHello(join(grease, ech)), 16384), "", Absent},
		{"no extensions", record(clientHello([]byte{}), 16384), "", Absent},
		{"no field for extensions", record(clientHello(nil), 16384), "", Absent},
		{"nothing", nil, "", More},
		{"half", record(clientHello(sni("\x00"+name)), 16384)[:60], "", More},
		{"SSL 2", []byte{0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10}, "", Garbage},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), "", Garbage},
		{"an alert", []byte{21, 3, 1, 0, 2, 2, 40}, "", Garbage},
		{"not version 3", bad(func(b []byte) { b[1] = 2 }), "", Garbage},
		{"a server's hello", bad(func(b []byte) { b[5] = 2 }), "", Garbage},
		{"record without bytes", []byte{22, 3, 1, 0, 0, 22}, "", Garbage},
		{"record too long", []byte{22, 3, 1, 0x40, 1}, "", Garbage},
		{"another record within", join(record(clientHello(sni("\x00" + name))[:50], 16384), []byte{20, 3, 1, 0, 1, 1}), "", Garbage},
		{"message ends early", bad(func(b []byte) { b[8] = 30 }), "", Garbage},
		{"session is longer than the message", bad(func(b []byte) { b[43] = 255 }), "", Garbage},
		{"extensions are shorter than the message", bad(func(b []byte) { b[54]-- }), "", Garbage},
		{"list of names is shorter", bad(func(b []byte) { b[60]-- }), "", Garbage},
		{"name is longer than its list", bad(func(b []byte) { b[63]++ }), "", Garbage},
		{"extension is longer than the message", bad(func(b []byte) { b[58]++; b[60]++ }), "", Garbage},
		{"extension too short for a list", record(clientHello(extension(0, []byte{0})), 16384), "", Garbage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var room Name
			got, o := ServerName(tt.in, &room)
			if string(got) != tt.want || o != tt.o {
				t.Fatalf("%q, %v; want %q, %v", got, o, tt.want, tt.o)
			}
			early(t, tt.in, func(b []byte) (string, Outcome) { got, o := ServerName(b, &room); return string(got), o })
		})
	}
	var room Name
	b := record(clientHello(join(grease, ech, sni("\x00"+name))), 1)
	if n := testing.AllocsPerRun(100, func() { _, _ = ServerName(b, &room) }); n != 0 {
		t.Errorf("it allocates %v times", n)
	}
}

// early checks that with fewer bytes the answer is More, or the same.
func early(t testing.TB, b []byte, read func([]byte) (string, Outcome)) {
	t.Helper()
	want, whole := read(b)
	for n := range b {
		got, o := read(b[:n:n])
		if o != More && (o != whole || got != want) {
			t.Fatalf("after %d of %d bytes %q, %v; then %q, %v", n, len(b), got, o, want, whole)
		}
	}
}

func FuzzServerName(f *testing.F) {
	f.Add(realHello(f, "api.example.com", 0))
	f.Add(record(clientHello(sni("\x00a.example.com", "\x01b")), 1))
	f.Add(record(clientHello(join(extension(0x0a0a, nil), sni("\x00a"))), 5))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 2048 {
			return
		}
		var room Name
		early(t, b, func(b []byte) (string, Outcome) { got, o := ServerName(b, &room); return string(got), o })
	})
}
