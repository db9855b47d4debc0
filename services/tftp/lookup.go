package tftp

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"helperd/internal/files"
	"helperd/plan"
)

// miss says why a file is not sent: to the client, and to the people who look
// at its boot.
type miss struct {
	wire   *wireError
	detail string
}

func (m *miss) Error() string { return m.detail }

// open finds what the client at addr gets for path: a declared file, a boot
// file of a node, a file of the user's own, a boot loader.
func (s *Service) open(st *state, path string, addr netip.Addr) (content, error) {
	if f, ok := st.files[path]; ok {
		return s.openDeclared(f)
	}
	script, isScript := st.boot.Resolve(path)
	if isScript && script.Node != nil {
		return s.render(st, script, addr), nil
	}
	// The user's own come before what is for any machine.
	var own error = &miss{errNotFound, "there is no such file"}
	if root := st.plan.TFTP.Root; root != "" {
		c, err := s.openOwn(root, path)
		if err == nil {
			return c, nil
		}
		own = err
	}
	if isScript {
		return s.render(st, script, addr), nil
	}
	if c, err := s.openLoader(st, path); c != nil || err != nil {
		return c, err
	}
	return nil, own
}

// openDeclared opens a kernel or initramfs.
func (s *Service) openDeclared(f plan.File) (content, error) {
	name, err := s.host.Artifacts.Path(&f)
	if err != nil {
		return nil, &miss{errNotFound, err.Error()}
	}
	h, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not block
	if err != nil {
		return nil, unavailable(err, name)
	}
	return s.contentOf(h, name)
}

// openOwn opens a file of the user's own below root. Neither dots nor symbolic
// links lead out of it, and files whose name begins with a dot are not served.
func (s *Service) openOwn(root, path string) (content, error) {
	name := strings.TrimPrefix(path, "/")
	if name == "" || strings.HasPrefix(name, ".") || strings.Contains(name, "/.") {
		return nil, &miss{errNotFound, "there is no such file"}
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		return nil, unavailable(err, root)
	}
	defer func() { _ = dir.Close() }()
	h, err := dir.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, unavailable(err, printable(name))
	}
	return s.contentOf(h, printable(name))
}

// contentOf takes h over.
func (s *Service) contentOf(h *os.File, name string) (content, error) {
	keep := false
	defer func() {
		if !keep {
			_ = h.Close()
		}
	}()
	st, err := h.Stat()
	if err != nil {
		return nil, unavailable(err, name)
	}
	if !st.Mode().IsRegular() {
		return nil, &miss{errNotFound, name + " is not a file"}
	}
	b, ok, err := s.cache.get(h, st)
	if err != nil {
		return nil, unavailable(err, name)
	}
	if ok {
		return memory(b), nil
	}
	keep = true
	return &file{f: h, len: st.Size()}, nil
}

// unavailable turns an error of the file system into a miss.
func unavailable(err error, name string) *miss {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ENAMETOOLONG):
		return &miss{errNotFound, name + " does not exist on the helper; put it there"}
	case errors.Is(err, fs.ErrPermission):
		return &miss{errAccess, fmt.Sprintf("%s: %v; make it readable for the user that helperd runs as", name, files.Cause(err))}
	}
	// Links that lead out of the folder end here, as do broken disks.
	return &miss{errAccess, fmt.Sprintf("%s: %v", name, files.Cause(err))}
}

// probes are files that firmware and boot loaders ask for and do without; a
// miss is no news. Shim asks for revocations and certificates, GRUB for its
// module lists, PXELINUX for a file by UUID before the one by MAC and for ever
// shorter addresses after it.
var probes = regexp.MustCompile(`(?i)(^|/)(revocations[^/]*\.efi|shim_certificate[^/]*\.efi|[^/]*\.lst|` +
	`pxelinux\.cfg/([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{1,7}))$`)

func isProbe(path string) bool { return path == checkPath || probes.MatchString(path) }
