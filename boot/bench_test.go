package boot

import (
	"testing"

	"helperd/plan"
)

// A loader is looked for at every request for it.
func BenchmarkFindLoader(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		FindLoader(plan.SNPOnly64, "/srv/tftp")
	}
}
