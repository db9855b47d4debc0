package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"helperd/internal/fdstore"
	"helperd/internal/handover"
	"helperd/services"
)

// trialTime is how long a new program may take for each question before it is trusted.
const trialTime = 10 * time.Second

// self is this very program, also when its file was replaced or removed.
const self = "/proc/self/exe"

// Upgrade implements api.Backend. It tries out the program at path, which is empty
// for the file that this program was started from, and orders the daemon to go on as it.
func (b backend) Upgrade(ctx context.Context, path string) error {
	if path == "" {
		var err error
		if path, err = os.Executable(); err != nil {
			return fmt.Errorf("find the file of this program: %w; name it with --binary", err)
		}
	}
	path, err := trusted(path)
	if err == nil {
		err = b.tryOut(ctx, path)
	}
	if err != nil {
		return fmt.Errorf("%w; nothing has changed", err)
	}
	select {
	case b.upgrades <- path:
		return nil
	case <-time.After(reloadTime):
		return fmt.Errorf("a change of the configuration is still being applied after %s; ask again when `helperd status` says that it is done; nothing has changed", reloadTime)
	}
}

// tryOut says why the program at path cannot take this one's place.
func (b backend) tryOut(ctx context.Context, path string) error {
	out, err := ask(ctx, path, "version", "--handover")
	if err != nil {
		return fmt.Errorf("%s cannot take over from a running daemon: %w; use `systemctl restart helperd` for it: that refuses no connection, and cuts those that are open", path, err)
	}
	if have := strings.TrimSpace(out); have != strconv.Itoa(handover.Version) {
		return fmt.Errorf("%s takes over by format %.20q and this daemon gives by format %d; use `systemctl restart helperd` for it", path, have, handover.Version)
	}
	if out, err := ask(ctx, path, "check", b.opt.ConfigPath); err != nil {
		return fmt.Errorf("%s does not accept the configuration: %w\n%s", path, err, strings.TrimSpace(out))
	}
	return nil
}

// trusted gives the path of the file without links, or says why it must not be executed in place of the
// daemon: others could have written it, or could put another one there before it is executed.
func trusted(path string) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() || st.Mode()&0o111 == 0 {
		return "", fmt.Errorf("%s is no program: its mode is %s", path, st.Mode())
	}
	for at := path; ; at = filepath.Dir(at) {
		if st, err = os.Lstat(at); err != nil {
			return "", err
		}
		owner := int(st.Sys().(*syscall.Stat_t).Uid)
		sticky := st.IsDir() && st.Mode()&os.ModeSticky != 0 // nobody else removes from there what belongs to root
		if owner != 0 && owner != os.Getuid() || st.Mode()&0o022 != 0 && !sticky {
			return "", fmt.Errorf("%s is not executed: %s must belong to root and be writable for nobody else (chown root, chmod 0755)", path, at)
		}
		if at == filepath.Dir(at) {
			return path, nil
		}
	}
}

// ask runs the program with a question and gives all that it says.
func ask(ctx context.Context, path string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	var out bytes.Buffer
	c := exec.CommandContext(ctx, path, args...)
	c.Env = []string{"PATH=" + os.Getenv("PATH")} // nothing of systemd's: it speaks with the daemon alone
	c.Stdout, c.Stderr = &out, &out
	c.WaitDelay = time.Second // a child of its own may hold its output open
	err := c.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("`%s %s` did not end within %s", path, strings.Join(args, " "), trialTime)
	}
	if err != nil {
		return out.String(), fmt.Errorf("`%s %s`: %w", path, strings.Join(args, " "), err)
	}
	return out.String(), nil
}

// replace makes the process go on as the program at path, with the sockets and
// connections of today. All services have ended but for those whose connections are
// carried. It returns only when ctx has ended, or when that failed; then systemd starts the daemon
// again, with the sockets of its descriptor store.
func (d *Daemon) replace(ctx context.Context, path string) error {
	doc := &handover.Document{From: d.opt.Version, Sockets: d.sockets.Handover()}
	for _, svc := range d.services {
		if err := d.export(svc, doc); err != nil {
			d.log.Error("connections are cut by the upgrade", "service", svc.Name(), "err", err)
		}
	}
	d.stop(tunnels)
	if err := d.store.Close(); err != nil {
		d.log.Error("state file not closed", "err", err)
	}
	if ctx.Err() != nil { // somebody stops the daemon, and nobody would tell the new program
		return nil
	}
	d.notify("WATCHDOG=1")
	err := handover.Exec(path, doc)
	d.log.Error("the new program cannot be executed; going on as the old one", "path", path, "err", err)
	return errors.Join(err, handover.Exec(self, doc))
}

// export adds what svc leaves to the document.
func (d *Daemon) export(svc *service, doc *handover.Document) error {
	c, ok := svc.Service.(services.Carrier)
	if !ok {
		return nil
	}
	memory, err := handover.NewMemory(svc.Name())
	if err != nil {
		return err
	}
	var fds []int
	if bad := svc.group.Run("export", func() { fds, err = c.Export(memory) }); bad != nil {
		err = bad
	}
	doc.Add(svc.Name(), memory, fds)
	return err
}

// inherit takes over what the process before left: by execve, or in systemd's
// descriptor store. It comes before the first configuration.
func (d *Daemon) inherit() {
	store := fdstore.FromEnv()
	if store.Present() {
		d.sockets.Keep(store)
	}
	doc, err := handover.Take()
	if err != nil {
		d.log.Error("nothing is taken over from the process before", "err", err)
	}
	if doc != nil {
		d.log.Info("taking over from the process before", "version", doc.From, "sockets", len(doc.Sockets))
		d.sockets.Inherit(doc.Sockets)
		for i := range doc.Parts {
			d.importPart(doc, &doc.Parts[i])
		}
	}
	d.sockets.Inherit(fdstore.Inherited())
}

// importPart gives a part to the service that understands it.
func (d *Daemon) importPart(doc *handover.Document, part *handover.Part) {
	err := part.Read(func(r io.Reader) (err error) {
		if doc.Version != handover.Version {
			return fmt.Errorf("they come by format %d, and this version takes %d", doc.Version, handover.Version)
		}
		for _, svc := range d.services {
			if c, ok := svc.Service.(services.Carrier); ok && svc.Name() == part.Name {
				return errors.Join(svc.group.Run("import", func() { err = c.Import(r) }), err)
			}
		}
		return errors.New("there is no such service in this version")
	})
	if err != nil {
		d.log.Error("connections of the process before are cut", "service", part.Name, "err", err)
	}
}
