package packet

import "testing"

// BenchmarkRequest is what a request costs before its first packet.
func BenchmarkRequest(b *testing.B) {
	request := []byte("\x00\x01artifacts/rhcos/kernel\x00octet\x00tsize\x000\x00blksize\x001468\x00windowsize\x004\x00")
	b.ReportAllocs()
	for b.Loop() {
		r, bad := ParseRequest(request)
		if bad != nil {
			b.Fatal(bad)
		}
		r.Negotiate(1<<20, 1468)
	}
}
