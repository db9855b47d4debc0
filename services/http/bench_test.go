package http

import (
	"bufio"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"testing"
)

// BenchmarkGet is a request for a file over a kept connection. The client's work is in it.
func BenchmarkGet(b *testing.B) {
	for _, size := range []int{4 << 10, 300 << 10, 16 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			g := newRig(b, nil)
			g.put(b, "vmlinuz", size)
			c, err := net.Dial("tcp", g.server.String())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			r := bufio.NewReaderSize(c, 256<<10)
			request := []byte("GET " + kernelPath + " HTTP/1.1\r\nHost: x\r\n\r\n")
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(request); err != nil {
					b.Fatal(err)
				}
				resp, err := nethttp.ReadResponse(r, nil)
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != int64(size) {
					b.Fatalf("%d bytes, %v", n, err)
				}
			}
		})
	}
}
