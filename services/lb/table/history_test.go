package table

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestHistory(t *testing.T) {
	s := &Server{}
	if s.Last() != nil || len(s.History()) != 0 {
		t.Error("a server that was never checked has a history")
	}
	for i := range 40 {
		s.Checked(&Result{At: time.Unix(int64(i), 0), Detail: fmt.Sprint(i)})
		h := s.History()
		if want := min(i+1, 16); len(h) != want {
			t.Fatalf("%d results after %d checks, want %d", len(h), i+1, want)
		}
		for j := range h {
			if want := fmt.Sprint(i + 1 - len(h) + j); h[j].Detail != want {
				t.Fatalf("after %d checks result %d is %s, want %s", i+1, j, h[j].Detail, want)
			}
		}
		if s.Last().Detail != fmt.Sprint(i) {
			t.Errorf("last is %s", s.Last().Detail)
		}
	}
}

// TestHistoryWhileChecked: readers see results in order while a checker writes.
func TestHistoryWhileChecked(t *testing.T) {
	s := &Server{}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for i := int64(0); ; i++ {
			select {
			case <-stop:
				return
			default:
				s.Checked(&Result{At: time.Unix(0, i)})
				time.Sleep(time.Microsecond)
			}
		}
	})
	for range 2000 {
		h := s.History()
		for i := range h {
			if i > 0 && h[i].At.UnixNano() != h[i-1].At.UnixNano()+1 {
				t.Fatalf("result %d follows %d", h[i].At.UnixNano(), h[i-1].At.UnixNano())
			}
		}
	}
	close(stop)
	wg.Wait()
}
