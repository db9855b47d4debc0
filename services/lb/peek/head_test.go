package peek

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestHost(t *testing.T) {
	tests := []struct {
		name, in, want string
		o              Outcome
	}{
		{"host", "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n", "a.example.com", Found},
		{"not first, any case, no space", "GET / HTTP/1.1\r\nAccept: */*\r\nhOsT:a.example.com\r\n", "a.example.com", Found},
		{"port", "GET / HTTP/1.1\r\nHost: a.example.com:80\r\n", "a.example.com", Found},
		{"white space", "GET / HTTP/1.1\r\nHost: \t a.example.com \t\r\n", "a.example.com", Found},
		{"bare line feeds", "GET / HTTP/1.1\nHost: a.example.com\n\n", "a.example.com", Found},
		{"empty lines before", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n", "a", Found},
		{"HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", "a", Found},
		{"HTTP/1.0 without", "GET / HTTP/1.0\r\nAccept: */*\r\n\r\n", "", Absent},
		{"HTTP/1.1 without", "GET / HTTP/1.1\r\n\r\n", "", Absent},
		{"the first of two", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "a", Found},
		{"empty", "GET / HTTP/1.1\r\nHost:\r\nHost: b\r\n\r\n", "", Absent},
		{"only a port", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", "", Absent},
		{"folded header", "GET / HTTP/1.1\r\nX: a\r\n Host: b\r\nHost: c\r\n\r\n", "c", Found},
		{"a host in a name", "GET / HTTP/1.1\r\nX-Host: a\r\nHosts: b\r\nHost: c\r\n\r\n", "c", Found},
		{"in the body", "POST / HTTP/1.1\r\nX: y\r\n\r\nHost: a\r\n", "", Absent},
		{"absolute form", "GET http://a.example.com:8080/x?y HTTP/1.1\r\nHost: b\r\n\r\n", "a.example.com", Found},
		{"absolute form with a user", "GET http://u:p@a/ HTTP/1.1\r\n", "a", Found},
		{"absolute form without path", "GET http://a?b HTTP/1.1\r\n", "a", Found},
		{"absolute form without host", "GET http:///x HTTP/1.1\r\nHost: b\r\n\r\n", "", Absent},
		{"a URL in the query", "GET /?u=http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", "b", Found},
		{"authority form", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "a", Found},
		{"IPv6", "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", "[2001:db8::1]", Found},
		{"IPv6 without port", "GET / HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n", "[2001:db8::1]", Found},
		{"HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04", "", Absent},
		{"HTTP/0.9", "GET /\r\n", "", Garbage},
		{"TLS", "\x16\x03\x01\x02\x00\x01", "", Garbage},
		{"SSH", "SSH-2.0-OpenSSH_9.2\r\n", "", Garbage},
		{"nothing before the target", " / HTTP/1.1\r\n", "", Garbage},
		{"an endless method", strings.Repeat("A", 65), "", Garbage},
		{"space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "", Garbage},
		{"no colon", "GET / HTTP/1.1\r\nHost a\r\n\r\n", "", Garbage},
		{"no name", "GET / HTTP/1.1\r\n: a\r\n\r\n", "", Garbage},
		{"nothing", "", "", More},
		{"half a line", "GET / HTTP/1.1\r\nHost: a.exam", "", More},
		{"half a head", "GET / HTTP/1.1\r\nAccept: */*\r\n", "", More},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, o := Host([]byte(tt.in), new(int32))
			if string(got) != tt.want || o != tt.o {
				t.Fatalf("%q, %v; want %q, %v", got, o, tt.want, tt.o)
			}
			early(t, []byte(tt.in), inPieces())
		})
	}
	b := []byte("GET / HTTP/1.1\r\nAccept: */*\r\nHost: a.example.com\r\n\r\n")
	if n := testing.AllocsPerRun(100, func() { _, _ = Host(b, new(int32)) }); n != 0 {
		t.Errorf("it allocates %v times", n)
	}
}

// inPieces gives Host of a whole request and then of its pieces, as early asks for them.
func inPieces() func(b []byte) (string, Outcome) {
	var read int32
	whole := true
	return func(b []byte) (string, Outcome) {
		at := &read
		if whole {
			whole, at = false, new(int32)
		}
		got, o := Host(b, at)
		return string(got), o
	}
}

// TestHostByteByByte: a client that sends its head byte by byte does not have all of it read each time.
func TestHostByteByByte(t *testing.T) {
	head := []byte("GET / HTTP/1.1\r\n" + strings.Repeat("a:\n", Max/3-8))
	start, read := time.Now(), int32(0)
	for n := range head {
		if _, o := Host(head[:n], &read); o != More {
			t.Fatalf("after %d bytes: %v", n, o)
		}
	}
	if took := time.Since(start); took > time.Second/4 {
		t.Errorf("%d bytes took %s", len(head), took)
	}
}

// FuzzHost: what net/http understands, a server of ours must see in the same way.
func FuzzHost(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a.example.com:80\r\n\r\n"))
	f.Add([]byte("GET http://u@a/ HTTP/1.1\r\nAccept: x\r\n y\r\nHost: b\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 2048 {
			return
		}
		early(t, b, inPieces())
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
		if err != nil || r.Host == "" || r.ProtoMajor != 1 || r.Method == http.MethodConnect {
			return
		}
		got, o := Host(b, new(int32))
		if want, _ := found([]byte(r.Host)); o == Found && !bytes.Equal(got, want) && !strings.ContainsAny(r.Host, "@ ") {
			t.Errorf("%q, net/http says %q", got, want)
		}
	})
}
