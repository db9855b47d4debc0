package socket

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"helperd/internal/guard"
)

func TestReadersFollowTheSockets(t *testing.T) {
	var started, ended [3]atomic.Int32
	all := []*Socket{{}, {}, {}}
	index := map[*Socket]int{all[0]: 0, all[1]: 1, all[2]: 2}
	g := guard.New(nil)
	r := NewReaders(g, "reader", func(ctx context.Context, s *Socket) error {
		started[index[s]].Add(1)
		<-ctx.Done()
		ended[index[s]].Add(1)
		return nil
	})
	expect := func(what string, s, e [3]int32) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			var gotS, gotE [3]int32
			for i := range all {
				gotS[i], gotE[i] = started[i].Load(), ended[i].Load()
			}
			if gotS == s && gotE == e {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: started %v, ended %v, want %v and %v", what, gotS, gotE, s, e)
			}
		}
	}
	r.Follow(t.Context(), all[:2])
	expect("two sockets", [3]int32{1, 1, 0}, [3]int32{})
	r.Follow(t.Context(), all[1:])
	expect("one gone, one new, one kept", [3]int32{1, 1, 1}, [3]int32{1, 0, 0})
	r.Stop()
	expect("stopped", [3]int32{1, 1, 1}, [3]int32{1, 1, 1})
	g.Wait()
}
