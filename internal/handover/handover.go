// Package handover carries descriptors, and what is to be known of them, through
// execve(2) to the program that takes this process's place. A document in memory
// (memfd_create(2)) names all that stays open; its own descriptor is in the environment.
package handover

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"helperd/internal/fdstore"
)

// Version is that of the document. A program takes over only from one of the same version.
const Version = 1

// variable names the descriptor of the document.
const variable = "HELPERD_HANDOVER"

// A Document is all that one process leaves to the next.
type Document struct {
	Version int            `json:"version"`
	From    string         `json:"from"` // the program's version
	Sockets []fdstore.File `json:"sockets"`
	Parts   []Part         `json:"parts"`
}

// A Part is what one service leaves.
type Part struct {
	Name string `json:"name"`
	// Memory is the descriptor of what the service wrote, in a format of its own.
	Memory int `json:"memory"`
	// FDs are the descriptors that it speaks of: who does not understand it closes them.
	FDs []int `json:"fds"`

	file *os.File // of Memory
}

// Add makes memory, and the descriptors that are spoken of in it, a part. The document keeps memory open.
func (d *Document) Add(name string, memory *os.File, fds []int) {
	d.Parts = append(d.Parts, Part{Name: name, Memory: int(memory.Fd()), FDs: fds, file: memory})
}

// Read calls fn with what the service wrote, if it can be read, and closes the
// memory. After an error it closes the descriptors too: nobody has them.
func (p *Part) Read(fn func(io.Reader) error) error {
	memory := os.NewFile(uintptr(p.Memory), p.Name)
	_, err := memory.Seek(0, io.SeekStart)
	if err == nil {
		err = fn(bufio.NewReader(memory))
	}
	_ = memory.Close()
	if err != nil {
		for _, fd := range p.FDs {
			_ = unix.Close(fd)
		}
	}
	return err
}

// NewMemory gives a file in memory.
func NewMemory(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate("helperd "+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memory for the next process: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Exec replaces this program by the one at path, with the same arguments. It
// returns only when that fails: then nothing has changed but that the
// descriptors of the document would be inherited by other children, too.
func Exec(path string, d *Document) error {
	memory, err := NewMemory("handover")
	if err != nil {
		return err
	}
	defer func() { _ = memory.Close() }()
	d.Version = Version
	if err := json.NewEncoder(memory).Encode(d); err != nil {
		return fmt.Errorf("write the handover: %w", err)
	}
	fds := []int{int(memory.Fd())}
	for _, s := range d.Sockets {
		fds = append(fds, s.FDs...)
	}
	for _, p := range d.Parts {
		fds = append(append(fds, p.Memory), p.FDs...)
	}
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("pass descriptor %d on: %w", fd, err)
		}
	}
	signal.Ignore(unix.SIGHUP) // what asks for a reload would end a program that does not listen for it yet
	env := append(os.Environ(), variable+"="+strconv.Itoa(int(memory.Fd())))
	err = unix.Exec(path, os.Args, env)
	runtime.KeepAlive(d) // its files are closed when it is collected
	return fmt.Errorf("execute %s: %w", path, err)
}

// Take gives what the process before left, once; nil: there was none. No child
// process inherits the descriptors.
func Take() (*Document, error) {
	value, ok := os.LookupEnv(variable)
	if !ok {
		return nil, nil
	}
	_ = os.Unsetenv(variable)
	fd, err := strconv.Atoi(value)
	if err != nil {
		return nil, fmt.Errorf("%s=%q is not a descriptor", variable, value)
	}
	unix.CloseOnExec(fd)
	memory := os.NewFile(uintptr(fd), "handover")
	if memory == nil {
		return nil, fmt.Errorf("%s=%q is not a descriptor", variable, value)
	}
	defer func() { _ = memory.Close() }()
	if _, err := memory.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read the handover: %w", err)
	}
	var d Document
	if err := json.NewDecoder(memory).Decode(&d); err != nil {
		return nil, fmt.Errorf("read the handover: %w", err)
	}
	for _, s := range d.Sockets {
		closeOnExec(s.FDs)
	}
	for _, p := range d.Parts {
		closeOnExec(append([]int{p.Memory}, p.FDs...))
	}
	return &d, nil
}

func closeOnExec(fds []int) {
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
}
