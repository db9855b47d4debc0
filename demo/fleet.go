package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"helperd/config"
	"helperd/ghost"
)

// outsideName is looked up by every node, to see that the helper forwards.
const outsideName = "quay.io"

// fleet are the machines.
type fleet struct {
	mu       sync.Mutex
	machines []*machine
}

// machine is one ghost and what it did.
type machine struct {
	*ghost.Node
	role    string
	started time.Time
	ended   time.Time
	steps   []ghost.Step
	err     error
}

// took is how long the machine spent in stages.
func (m *machine) took(stages ...ghost.Stage) (total time.Duration) {
	for _, s := range m.steps {
		for _, want := range stages {
			if s.Stage == want {
				total += s.Took
			}
		}
	}
	return total
}

// firmwareOf gives the machines a mix of firmwares: they differ in every room.
func firmwareOf(i int) ghost.Firmware {
	kinds := []ghost.Firmware{ghost.BIOSPXE, ghost.UEFIPXE, ghost.UEFIHTTP, ghost.BIOSiPXE}
	return kinds[i%len(kinds)]
}

// boot switches nodes on, all at once as a rack after a power cut, and waits
// until they are up or one of them is stuck.
func (f *fleet) boot(ctx context.Context, d *demo, nodes []config.Node) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, len(nodes))
	for i := range nodes {
		n := &nodes[i]
		m := &machine{role: n.Role, started: time.Now(), Node: &ghost.Node{
			Name: n.Name, MAC: net.HardwareAddr(n.MAC[0][:]), Role: ghost.Role(n.Role), Firmware: firmwareOf(len(f.machines)),
			Bridge: bridge, Outside: outsideName, Guard: d.guard,
		}}
		f.machines = append(f.machines, m)
		d.guard.Go("ghost "+n.Name, func() {
			err := errors.New("panic")
			defer func() { done <- err }()
			err = f.follow(ctx, d, m)
		})
	}
	var errs []error
	for range nodes {
		if err := <-done; err != nil {
			errs = append(errs, err)
			cancel(errors.New("another node is stuck"))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("%d of %d nodes did not come up:\n%w", len(errs), len(nodes), errors.Join(errs...))
	}
	return nil
}

// follow boots one machine and shows its steps as they happen.
func (f *fleet) follow(ctx context.Context, d *demo, m *machine) error {
	err := m.Boot(ctx, func(s ghost.Step) {
		f.mu.Lock()
		m.steps = append(m.steps, s)
		f.mu.Unlock()
		d.show.step(s)
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	m.ended, m.err = time.Now(), err
	return err
}

// last is the machine that was switched on last.
func (f *fleet) last() *machine { return f.machines[len(f.machines)-1] }

// workers are the machines that ask the others.
func (f *fleet) workers() []*machine {
	return slices.DeleteFunc(slices.Clone(f.machines), func(m *machine) bool { return m.role != string(ghost.Worker) })
}

func (f *fleet) close() {
	for _, m := range f.machines {
		m.Close()
	}
}
