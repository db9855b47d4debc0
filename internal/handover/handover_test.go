package handover

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"helperd/internal/fdstore"
)

// TestExec runs this test binary, which replaces itself by itself.
func TestExec(t *testing.T) {
	c := exec.Command(os.Args[0], "-test.run=^TestOtherProcess$")
	c.Env = append(os.Environ(), "HANDOVER_TEST=1")
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "taken over: from v1, part lb says hello, the pipe says hi") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestOtherProcess is nothing but what TestExec runs, before and after the exec.
func TestOtherProcess(t *testing.T) {
	if os.Getenv("HANDOVER_TEST") == "" {
		return
	}
	d, err := Take()
	if err != nil {
		t.Fatal(err)
	}
	if d == nil {
		t.Fatal(Exec("/proc/self/exe", testament(t)))
	}
	if os.Getenv(variable) != "" {
		t.Error("child processes would take over, too")
	}
	if !signal.Ignored(unix.SIGHUP) {
		t.Error("a SIGHUP before the new program asks for it would end it")
	}
	var said string
	if err := d.Parts[0].Read(func(r io.Reader) error {
		b, err := io.ReadAll(r)
		said = string(b)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	fd := d.Sockets[0].FDs[0]
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("child processes would inherit descriptor %d: %v", fd, err)
	}
	b := make([]byte, 2)
	if _, err := unix.Read(fd, b); err != nil {
		t.Fatal(err)
	}
	unknown := d.Parts[1]
	if err := unknown.Read(func(io.Reader) error { return io.ErrUnexpectedEOF }); err == nil {
		t.Error("no error of a part that nobody understands")
	}
	if _, err := unix.FcntlInt(uintptr(unknown.FDs[0]), unix.F_GETFD, 0); err == nil {
		t.Error("a descriptor that nobody understands is still open")
	}
	fmt.Printf("taken over: from %s, part %s says %s, the pipe says %s\n", d.From, d.Parts[0].Name, said, b)
}

func testament(t *testing.T) *Document {
	t.Helper()
	var ends, other [2]int
	for _, p := range []*[2]int{&ends, &other} {
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := unix.Write(ends[1], []byte("hi")); err != nil {
		t.Fatal(err)
	}
	d := &Document{From: "v1", Sockets: []fdstore.File{{Name: "pipe", FDs: ends[:1]}}}
	for _, name := range []string{"lb", "unknown"} {
		memory, err := NewMemory(name)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = memory.WriteString("hello")
		d.Add(name, memory, other[:1])
	}
	d.Parts[0].FDs = nil
	return d
}

func TestNothingToTake(t *testing.T) {
	if d, err := Take(); d != nil || err != nil {
		t.Errorf("got %v, %v", d, err)
	}
	for _, value := range []string{"x", "-1", "12345"} {
		t.Setenv(variable, value)
		if d, err := Take(); d != nil || err == nil {
			t.Errorf("%q: got %v, %v", value, d, err)
		}
	}
	if err := Exec("/nowhere/helperd", &Document{}); err == nil {
		t.Error("a program that is not there was executed")
	}
}
