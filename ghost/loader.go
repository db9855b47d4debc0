package ghost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// loadLoader fetches the boot file of the lease as the firmware does, and
// behind a shim the GRUB beside it. It gives the loader's name.
func (r *run) loadLoader(ctx context.Context) (name, detail string, err error) {
	name = r.lease.bootFile
	by, load := "TFTP", r.loadByTFTP
	if r.Firmware == UEFIHTTP {
		by, load = "HTTP", r.loadByHTTP
	}
	n, err := load(ctx, name)
	if err == nil && strings.HasPrefix(base(name), "shim") {
		name = strings.Replace(name, "shim", "grub", 1)
		var more int64
		more, err = load(ctx, name)
		n += more
	}
	return name, fmt.Sprintf("%s by %s, %s", base(r.lease.bootFile), by, size(n)), err
}

func (r *run) loadByHTTP(ctx context.Context, url string) (int64, error) {
	n, err := r.head(ctx, agentFirmware, url)
	if err != nil {
		return 0, err
	}
	b, err := r.get(ctx, agentFirmware, url, false)
	if err == nil && n >= 0 && n != b.bytes {
		err = fmt.Errorf("%s: HEAD says %d bytes and GET gave %d", url, n, b.bytes)
	}
	return b.bytes, err
}

func (r *run) loadByTFTP(ctx context.Context, file string) (int64, error) {
	if !r.lease.next.IsValid() {
		return 0, fmt.Errorf("the lease names %s and no server to load it from (siaddr, option 66)", file)
	}
	want := int64(0)
	if r.Firmware == UEFIPXE {
		var err error
		if want, err = tftpSize(ctx, r.link, r.lease.prefix, r.lease.next, file); err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
	}
	n, err := r.tftpGet(ctx, file, tftpFor(r.Firmware), io.Discard)
	switch {
	case err != nil:
	case n == 0:
		err = fmt.Errorf("%s is empty", file)
	case want > 0 && want != n:
		err = fmt.Errorf("%s: tsize says %d bytes and %d came", file, want, n)
	}
	return n, err
}

// tftpGet reads file whole into to and checks it.
func (r *run) tftpGet(ctx context.Context, file string, o tftpOptions, to io.Writer) (int64, error) {
	c := r.check(file, to)
	n, err := tftpGet(ctx, r.link, r.lease.prefix, r.lease.next, file, o, c)
	if err != nil {
		return n, fmt.Errorf("%s: %w", file, err)
	}
	return n, c.done()
}

// menu finds the node's GRUB or PXELINUX file and loads what it says.
func (r *run) menu(ctx context.Context, kind loaderType, loader string) (target, error) {
	m := menu{run: r, kind: kind, folder: loader[:strings.LastIndexByte(loader, '/')+1]}
	var t target
	err := r.step(StageLoader, func() (detail string, err error) {
		file, text, err := m.find(ctx)
		if err != nil {
			return "", err
		}
		var other string
		if t, other = m.parse(string(text)); other != "" && t.kernel == "" {
			file = other
			if text, _, err = m.fetch(ctx, other, true); err != nil {
				return "", err
			}
			t, _ = m.parse(string(text))
		}
		return fmt.Sprintf("%s reads %s", kind, file), nil
	})
	if err != nil || t.disk {
		return t, err
	}
	return t, r.step(StageKernel, func() (string, error) {
		if t.kernel == "" {
			return "", errors.New("the boot file names no kernel")
		}
		total := int64(0)
		for _, file := range append([]string{t.kernel}, t.initrds...) {
			_, n, err := m.fetch(ctx, file, false)
			if err != nil {
				return "", err
			}
			if n == 0 {
				return "", fmt.Errorf("%s is empty", file)
			}
			total += n
		}
		return fmt.Sprintf("%s and %d initramfs, %s", base(t.kernel), len(t.initrds), size(total)), nil
	})
}

type menu struct {
	*run
	kind   loaderType
	folder string // of the loader, with a trailing slash unless empty
}

// names are the files that the loader asks for, in its order, as far as servers have them.
func (m *menu) names() []string {
	mac := "01-" + strings.ReplaceAll(m.MAC.String(), ":", "-")
	ip := m.lease.prefix.Addr().As4()
	hexIP := fmt.Sprintf("%02X%02X%02X%02X", ip[0], ip[1], ip[2], ip[3])
	if m.kind == loaderPXELINUX {
		return []string{m.folder + "pxelinux.cfg/" + mac, m.folder + "pxelinux.cfg/" + hexIP, m.folder + "pxelinux.cfg/default"}
	}
	// Red Hat's GRUB has its prefix beside the loader, Debian's in /grub. It asks with a leading slash.
	var names []string
	prefixes := []string{"/" + m.folder, "/grub/"}
	if strings.HasPrefix(m.folder, "http://") {
		prefixes = []string{m.folder}
	}
	for _, prefix := range prefixes {
		names = append(names, prefix+"grub.cfg-"+mac, prefix+"grub.cfg-"+hexIP, prefix+"grub.cfg")
	}
	return names
}

// find gives the first file of names that the server has.
func (m *menu) find(ctx context.Context) (file string, text []byte, err error) {
	for _, file := range m.names() {
		b, _, err := m.fetch(ctx, file, true)
		var refused *tftpError
		var status *statusError
		if errors.As(err, &refused) || errors.As(err, &status) {
			continue
		}
		return file, b, err
	}
	return "", nil, fmt.Errorf("%s finds no configuration; it asked for %s", m.kind, strings.Join(m.names(), ", "))
}

// fetch reads file, which is a URL, a GRUB device path, or a path on the
// server that the loader came from. Text keeps what came by HTTP.
func (m *menu) fetch(ctx context.Context, file string, text bool) (b []byte, n int64, err error) {
	if device, path, ok := strings.Cut(strings.TrimPrefix(file, "("), ")"); ok && strings.HasPrefix(file, "(") {
		file = path
		if server, ok := strings.CutPrefix(device, "http,"); ok {
			file = "http://" + server + path
		}
	}
	if strings.HasPrefix(m.folder, "http://") && strings.HasPrefix(file, "/") {
		file = m.folder[:strings.IndexByte(m.folder[len("http://"):]+"/", '/')+len("http://")] + file
	}
	if strings.HasPrefix(file, "http://") {
		b, err := m.get(ctx, agentGRUB, file, text)
		return b.text, b.bytes, err
	}
	o := tftpOptions{blksize: 1024, tsize: true}
	if m.kind == loaderPXELINUX {
		o.blksize = 1408
	}
	var kept bytes.Buffer
	var to io.Writer = io.Discard
	if text {
		to = &kept
	}
	n, err = m.tftpGet(ctx, file, o, to)
	return kept.Bytes(), n, err
}

// parse reads the entry that boots; a file is taken to have one. Other is a
// file that it goes on with (GRUB's configfile).
func (m *menu) parse(text string) (t target, other string) {
	for line := range strings.Lines(text) {
		w := strings.Fields(strings.NewReplacer("'", "", `"`, "", `\`, "").Replace(line))
		if len(w) == 0 {
			continue
		}
		switch strings.ToLower(w[0]) {
		case "linux", "linuxefi", "kernel":
			if len(w) > 1 {
				t.kernel, t.args = w[1], append(t.args, w[2:]...)
			}
		case "append":
			t.args = append(t.args, w[1:]...)
			for _, a := range w[1:] {
				if files, ok := strings.CutPrefix(a, "initrd="); ok {
					t.initrds = append(t.initrds, strings.Split(files, ",")...)
				}
			}
		case "initrd", "initrdefi":
			t.initrds = append(t.initrds, w[1:]...)
		case "configfile":
			other = strings.ReplaceAll(w[len(w)-1], "$net_default_mac", m.MAC.String())
		case "localboot", "exit":
			t.disk = true
		}
	}
	t.disk = t.disk && t.kernel == ""
	return t, other
}
