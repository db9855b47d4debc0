package lb

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"helperd/api"
	"helperd/test/rig"
)

// A balancer is a program that is put to the test.
type balancer interface {
	name() string
	// start serves a helper.yaml until the trial ends.
	start(x *trial, file string)
	// reload puts another file in force. A file that it refuses changes nothing.
	reload(x *trial, file string) error
}

// helperd is the daemon, with all but the balancer turned off.
type helperd struct {
	program string
	client  *api.Client
}

func (h *helperd) name() string { return "helperd" }

func (h *helperd) start(x *trial, file string) {
	config, admin := filepath.Join(x.dir, "helper.yaml"), filepath.Join(x.dir, "admin.sock")
	x.must(os.WriteFile(config, []byte(file), 0o644))
	h.client = api.NewClient(admin)
	run := exec.Command(h.program, "run", "--config", config, "--state", filepath.Join(x.dir, "state"), "--socket", admin)
	spawn(x, run, func() bool {
		s, err := h.client.Status(x.Context())
		return err == nil && s.Configuration.State == api.Applied
	})
}

func (h *helperd) reload(x *trial, file string) error {
	config := filepath.Join(x.dir, "helper.yaml")
	x.must(os.WriteFile(config+".new", []byte(file), 0o644))
	x.must(os.Rename(config+".new", config))
	ctx, cancel := context.WithTimeout(x.Context(), patience)
	defer cancel()
	return h.client.Reload(ctx)
}

// spawn runs a program until the trial ends, and waits until it serves; what it
// said is shown when the trial fails.
func spawn(x *trial, cmd *exec.Cmd, serves func() bool) {
	x.Helper()
	log := &rig.Output{}
	cmd.Stdout, cmd.Stderr = log, log
	// No process may outlive a test that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+authorityFile)
	x.must(cmd.Start())
	gone := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(gone)
	}()
	ended := func() bool {
		select {
		case <-gone:
			return true
		default:
			return false
		}
	}
	x.Cleanup(func() {
		if ended() {
			x.Errorf("%s ended by itself: %v", filepath.Base(cmd.Path), cmd.ProcessState)
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-gone:
		case <-time.After(time.Second): // it waits for tunnels that the trial left open
			_ = cmd.Process.Kill()
			<-gone
		}
		if x.Failed() {
			x.Logf("what %s said:\n%s", filepath.Base(cmd.Path), log)
		}
	})
	x.await(filepath.Base(cmd.Path)+" serves the file", func() bool { return ended() || serves() })
	if ended() {
		x.FailNow()
	}
}
