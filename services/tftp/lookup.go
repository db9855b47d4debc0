package tftp

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"helperd/boot"
	"helperd/internal/files"
	"helperd/internal/human"
	"helperd/plan"
	"helperd/services/tftp/engine"
	"helperd/services/tftp/packet"
	"helperd/timeline"
)

// miss says why a file is not sent: to the client, and to the people who look
// at its boot.
type miss struct {
	wire   *packet.Error
	detail string
	mac    plan.MAC // that asks and boots nothing; zero: the file alone is missing
}

func (m *miss) Error() string { return m.detail }

// kind of the event that tells of m.
func (m *miss) kind() timeline.Kind {
	if m.mac.IsZero() {
		return timeline.TFTPMiss
	}
	return timeline.BootRefused
}

// open finds what the client at addr gets for path: a declared file, a boot
// file of a node, a file of the user's own, a boot loader.
func (s *Service) open(st *state, path string, addr netip.Addr) (engine.Content, error) {
	if f, ok := st.declared(path); ok {
		return s.openDeclared(f)
	}
	script, isScript := st.boot.Resolve(path, s.host.Nodes.Holder(st.plan, addr))
	if isScript && !script.Shared {
		return s.render(st, script, addr), nil
	}
	// The user's own come before what is for any machine.
	var own error = &miss{wire: packet.ErrNotFound, detail: "there is no such file"}
	if root := st.plan.TFTP.Root; root != "" {
		c, err := s.openOwn(root, path)
		if err == nil {
			return c, nil
		}
		own = err
	}
	if isScript {
		if script.Refused != "" {
			s.tell(timeline.Event{Kind: timeline.BootRefused, Addr: addr, File: human.Printable(path), Detail: script.Refused})
		}
		return s.render(st, script, addr), nil
	}
	if script.Refused != "" {
		return nil, &miss{wire: &packet.Error{Code: packet.CodeNotFound, Text: script.Refused}, detail: script.Refused, mac: script.MAC}
	}
	if c, err := s.openLoader(st, path); c != nil || err != nil {
		return c, err
	}
	return nil, own
}

// declared finds a kernel or initramfs. PXELINUX asks for it below the folder
// that it was loaded from itself, so any folder may stand before its name.
func (st *state) declared(path string) (plan.File, bool) {
	if i := strings.LastIndex(path, "/artifacts/"); i > 0 {
		path = path[i:]
	}
	f, ok := st.files[path]
	return f, ok
}

// openDeclared opens a kernel, an initramfs or a vendor's loader.
func (s *Service) openDeclared(f plan.File) (engine.Content, error) {
	name, err := s.host.Artifacts.Path(&f)
	if err != nil {
		return nil, &miss{wire: packet.ErrNotFound, detail: err.Error()}
	}
	if f.Inside != "" {
		b, _, err := s.vendor.Loader(name, f.Inside)
		if err != nil {
			return nil, &miss{wire: &packet.Error{Code: packet.CodeNotFound, Text: err.Error()}, detail: err.Error()}
		}
		return engine.Memory(b), nil
	}
	return s.openFile(name)
}

// openFile opens a file of this machine by its path.
func (s *Service) openFile(name string) (engine.Content, error) {
	h, st, err := files.Open(name)
	if err != nil {
		return nil, unavailable(err, name)
	}
	return s.contentOf(h, st, name)
}

// openOwn opens a file of the user's own below root. Files whose name begins with
// a dot are not served.
func (s *Service) openOwn(root, path string) (engine.Content, error) {
	name := strings.TrimPrefix(path, "/")
	if name == "" || strings.HasPrefix(name, ".") || strings.Contains(name, "/.") {
		return nil, &miss{wire: packet.ErrNotFound, detail: "there is no such file"}
	}
	h, st, err := files.OpenBelow(root, name)
	name = human.Printable(name)
	if err != nil {
		if pe := (*fs.PathError)(nil); errors.As(err, &pe) && pe.Path == root {
			name = root
		}
		return nil, unavailable(err, name)
	}
	return s.contentOf(h, st, name)
}

// contentOf takes h over, which st describes.
func (s *Service) contentOf(h *os.File, st fs.FileInfo, name string) (engine.Content, error) {
	keep := false
	defer func() {
		if !keep {
			_ = h.Close()
		}
	}()
	if !st.Mode().IsRegular() {
		return nil, &miss{wire: packet.ErrNotFound, detail: name + " is not a file"}
	}
	b, ok, err := s.cache.get(h, st)
	if err != nil {
		return nil, unavailable(err, name)
	}
	if ok {
		return engine.Memory(b), nil
	}
	keep = true
	return engine.NewFile(h, st.Size()), nil
}

// unavailable turns an error of the file system into a miss.
func unavailable(err error, name string) *miss {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ENAMETOOLONG):
		return &miss{wire: packet.ErrNotFound, detail: name + " does not exist on the helper; put it there"}
	case errors.Is(err, fs.ErrPermission):
		return &miss{wire: packet.ErrAccess, detail: fmt.Sprintf("%s: %v; make it readable for the user that helperd runs as", name, files.Cause(err))}
	}
	// Links that lead out of the folder end here, as do broken disks.
	return &miss{wire: packet.ErrAccess, detail: fmt.Sprintf("%s: %v", name, files.Cause(err))}
}

func isProbe(path string) bool { return path == checkPath || boot.IsProbe(path) }
