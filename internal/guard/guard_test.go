package guard

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestPanicIsReportedAndContained(t *testing.T) {
	var got string
	g := New(func(name string, value any, stack []byte) {
		got = name + ": " + value.(string)
		if !strings.Contains(string(stack), "guard_test.go") {
			t.Errorf("stack does not show where it happened:\n%s", stack)
		}
	})
	g.Go("reader", func() { panic("bad packet") })
	g.Wait()
	if got != "reader: bad packet" || g.Panics() != 1 {
		t.Errorf("reported %q, %d panics", got, g.Panics())
	}
}

func TestLoopRunsAgainWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g := New(nil)
		var starts []time.Time
		g.Loop(ctx, "loop", func(context.Context) error {
			starts = append(starts, time.Now())
			switch len(starts) % 2 {
			case 0:
				return errors.New("read error")
			default:
				panic("bad packet")
			}
		})
		time.Sleep(10 * time.Second)
		cancel()
		g.Wait()
		if len(starts) < 10 {
			t.Fatalf("started %d times in 10 s", len(starts))
		}
		for i := 1; i < len(starts); i++ {
			if d := starts[i].Sub(starts[i-1]); d > time.Second {
				t.Errorf("start %d came after %s", i, d)
			}
		}
		if d := starts[1].Sub(starts[0]); d > 0 {
			t.Errorf("the first restart waited %s", d)
		}
	})
}

func TestLoopEndsWhenDone(t *testing.T) {
	g := New(nil)
	runs := 0
	g.Loop(t.Context(), "once", func(context.Context) error { runs++; return nil })
	g.Wait()
	if runs != 1 {
		t.Errorf("ran %d times", runs)
	}
}

func TestAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g := New(nil)
		var ran atomic.Int32
		g.After(ctx, time.Minute, "soon", func() { ran.Add(1) })
		g.After(ctx, time.Hour, "never", func() { ran.Add(100) })
		time.Sleep(2 * time.Minute)
		cancel()
		g.Wait()
		if ran.Load() != 1 {
			t.Errorf("ran = %d", ran.Load())
		}
	})
}

func TestFusePanicsOnce(t *testing.T) {
	f, g := &Fuse{}, New(nil)
	f.Check()
	f.Arm()
	if err := g.Run("handler", f.Check); err == nil {
		t.Error("an armed fuse did not panic")
	}
	if err := g.Run("handler", f.Check); err != nil {
		t.Errorf("it panicked twice: %v", err)
	}
}
