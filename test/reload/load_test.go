package reload

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"helperd/test/rig"
)

// load is traffic of one kind that goes on until it is stopped.
type load struct {
	name string
	done atomic.Int64 // requests answered in full

	mu     sync.Mutex
	failed []error // the first of them
	lost   int
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost++
	if len(l.failed) < 5 {
		l.failed = append(l.failed, err)
	}
}

// report says what was lost and fails the test if anything was, or if too little was done to mean something.
func (l *load) report(t *testing.T, atLeast int64) {
	t.Helper()
	t.Logf("%-12s %d answered, %d lost", l.name, l.done.Load(), l.lost)
	if l.lost > 0 {
		t.Errorf("%s: %d lost, the first: %v", l.name, l.lost, errors.Join(l.failed...))
	}
	if l.done.Load() < atLeast {
		t.Errorf("%s: only %d answered, want %d for the test to mean something", l.name, l.done.Load(), atLeast)
	}
}

// dnsLoad asks rate questions a second, in an open loop: an answer that is
// late does not slow the questions down.
func dnsLoad(ctx context.Context, m *rig.Machine, rate int) *load {
	l := &load{name: "dns"}
	const sockets = 4 // the kernel spreads them over the server's readers
	for i := range sockets {
		go func() {
			err := m.Call(func() error { return l.askAtRate(ctx, rate/sockets, i) })
			if err != nil {
				l.fail(err)
			}
		}()
	}
	return l
}

func (l *load) askAtRate(ctx context.Context, rate, seed int) error {
	// The load's own socket must not be where answers are lost.
	big := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) })
	}}
	conn, err := big.Dial("udp", rig.HelperIP+":53")
	if err != nil {
		return err
	}
	names := []string{"api", "api-int", "x.apps", "worker-0", "master-1", "nosuch"}
	q := new(dns.Msg).SetQuestion(names[seed%len(names)]+"."+rig.Zone+".", dns.TypeA)
	packed, err := q.Pack()
	if err != nil {
		return err
	}
	var asked, answered [1 << 16]atomic.Int64 // by id: when asked, when answered, in ns
	var outstanding atomic.Int64
	go func() {
		buf := make([]byte, 1500)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					l.fail(fmt.Errorf("dns read: %w", err))
				}
				return
			}
			if id := binary.BigEndian.Uint16(buf); n >= 12 && answered[id].Swap(1) == 0 {
				l.done.Add(1)
				outstanding.Add(-1)
			}
		}
	}()
	defer conn.Close()
	const step = 2 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	begun, sent := time.Now(), 0
	for ctx.Err() == nil {
		<-tick.C
		for due := int(time.Since(begun).Seconds() * float64(rate)); sent < due; sent++ {
			id := uint16(sent)
			if sent >= 1<<16 && answered[id].Load() == 0 {
				l.fail(fmt.Errorf("dns query %d was never answered", sent-1<<16))
				outstanding.Add(-1)
			}
			answered[id].Store(0)
			asked[id].Store(time.Now().UnixNano())
			outstanding.Add(1)
			binary.BigEndian.PutUint16(packed, id)
			if _, err := conn.Write(packed); err != nil {
				l.fail(fmt.Errorf("dns write: %w", err))
			}
		}
	}
	for range 300 { // what is on its way may arrive
		if outstanding.Load() == 0 {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("%d dns queries were not answered within 3 s", outstanding.Load())
}

// connLoad opens rate connections a second to the ingress on port 80, asks once on each and reads the answer to its end.
func connLoad(ctx context.Context, m *rig.Machine, rate int) *load {
	l := &load{name: "balancer"}
	tick := time.NewTicker(time.Second / time.Duration(rate))
	go func() {
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			go func() {
				if err := getOnce(m); err != nil {
					l.fail(err)
					return
				}
				l.done.Add(1)
			}()
		}
	}()
	return l
}

func getOnce(m *rig.Machine) error {
	var c net.Conn
	err := m.Call(func() (err error) {
		c, err = net.DialTimeout("tcp", rig.HelperIP+":80", 10*time.Second)
		return err
	})
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, "GET /load HTTP/1.0\r\n\r\n"); err != nil {
		return err
	}
	b, err := io.ReadAll(c)
	if err != nil {
		return err
	}
	if !bytes.Contains(b, []byte(" 80 /load ")) {
		return fmt.Errorf("answer through the balancer: %q", b)
	}
	return nil
}

// tftpLoad keeps n transfers of one file going and compares checksums.
func tftpLoad(ctx context.Context, m *rig.Machine, n int, file, sum string) *load {
	l := &load{name: "tftp"}
	for i := range n {
		go func() {
			for ctx.Err() == nil {
				out := fmt.Sprintf("%s/helperd-tftp-%d-%d", os.TempDir(), os.Getpid(), i)
				cmd := m.Exec("tftp", "-m", "binary", rig.HelperIP, "-c", "get", file, out)
				text, err := cmd.CombinedOutput()
				got, sumErr := fileSum(out)
				_ = os.Remove(out)
				if err != nil || sumErr != nil || got != sum {
					l.fail(fmt.Errorf("tftp: %v %v %s, checksum %.8s, want %.8s", err, sumErr, text, got, sum))
					continue
				}
				l.done.Add(1)
			}
		}()
	}
	return l
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

// curlLoad downloads one big file again and again.
func curlLoad(ctx context.Context, m *rig.Machine, url string, size int64) *load {
	l := &load{name: "curl"}
	go func() {
		for ctx.Err() == nil {
			out, err := m.Exec("curl", "-sS", "--fail", "-o", "/dev/null", "-w", "%{size_download}", "--limit-rate", "100M", url).CombinedOutput()
			if got := string(out); err != nil || got != fmt.Sprint(size) {
				l.fail(fmt.Errorf("curl: %v: %s, want %d bytes", err, got, size))
				continue
			}
			l.done.Add(1)
		}
	}()
	return l
}
