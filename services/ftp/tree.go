package ftp

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	ftpserver "github.com/fclairamb/ftpserverlib"

	"helperd/boot"
	"helperd/internal/files"
	"helperd/internal/human"
	"helperd/plan"
	"helperd/timeline"
)

// bootFolder is where loaders and iPXE scripts are.
const bootFolder = "/boot"

// scriptFolders are where loaders look for scripts. What is in them is made when
// it is fetched; clients go to a folder before.
var scriptFolders = []string{"/grub", "/pxelinux.cfg"}

// What a client is told. No answer names a path of this machine, and what lies
// outside of the tree looks like what is not there.
var (
	errNone       = errors.New("there is no such file or folder")
	errUnreadable = errors.New("it is not readable on the helper; give the user that helperd runs as the right to read it")
	errUnlisted   = errors.New("folders are not listed; write `listing: true` under `ftp:` if they should be")
	errMade       = errors.New("it is made when it is fetched; fetch it")
)

// tree is what a client sees: artifacts, boot files, loaders, and files of the user's own.
type tree struct {
	readOnly
	session *session
}

// folders gives the folders that files and loaders are in, each with the names in it.
func folders(list []plan.File) map[string][]string {
	found := map[string]map[string]bool{"/": {}}
	add := func(name string) {
		for name != "/" {
			dir := path.Dir(name)
			if found[dir] == nil {
				found[dir] = map[string]bool{}
			}
			found[dir][path.Base(name)] = true
			name = dir
		}
	}
	for _, dir := range scriptFolders {
		add(dir)
		found[dir] = map[string]bool{}
	}
	for _, f := range list {
		add(f.Path)
	}
	for _, l := range boot.Missing(nil) { // all that there are
		add(path.Join(bootFolder, string(l.Loader)))
	}
	out := map[string][]string{}
	for dir, names := range found {
		out[dir] = slices.Sorted(maps.Keys(names))
	}
	return out
}

// safe reports whether a clean path names nothing hidden.
func safe(name string) bool {
	return strings.HasPrefix(name, "/") && !strings.Contains(name, "/.") && !strings.ContainsAny(name, "\\\x00")
}

// Stat implements afero.Fs.
func (t *tree) Stat(name string) (fs.FileInfo, error) {
	return guarded(t.session, func() (fs.FileInfo, error) { return t.stat(name) })
}

func (t *tree) stat(name string) (fs.FileInfo, error) {
	st, err := t.current()
	if err != nil {
		return nil, err
	}
	if _, isFolder := st.folders[name]; isFolder {
		return folder(name), nil
	}
	f, info, err := t.open(st, name)
	if err != nil {
		return nil, err
	}
	_ = f.Close()
	if !info.IsDir() && !info.Mode().IsRegular() {
		return nil, errNone
	}
	return named{info, path.Base(name)}, nil
}

// GetHandle implements ftpserver.ClientDriverExtentionFileTransfer.
func (t *tree) GetHandle(name string, flags int, offset int64) (ftpserver.FileTransfer, error) {
	return guarded(t.session, func() (ftpserver.FileTransfer, error) {
		if flags != os.O_RDONLY {
			return nil, errReadOnly
		}
		d, err := t.download(name, offset)
		if err != nil {
			t.missed(name, err)
			return nil, err
		}
		t.session.download.Store(d)
		return d, nil
	})
}

func (t *tree) download(name string, offset int64) (*download, error) {
	st, err := t.current()
	if err != nil {
		return nil, err
	}
	d := &download{session: t.session, path: name, offset: offset}
	if file, ok, _ := t.session.script(st, name); ok {
		body := t.render(st, file, name)
		d.content, d.size = script{bytes.NewReader(body)}, int64(len(body))
		return d, nil
	}
	f, info, err := t.open(st, name)
	if err != nil {
		return nil, err
	}
	if d.content, d.size = f, info.Size(); !info.Mode().IsRegular() || offset < 0 || offset > d.size {
		_ = f.Close()
		return nil, errNone
	}
	return d, nil
}

// current is what is served now, to this client.
func (t *tree) current() (*state, error) {
	st := t.session.state.Load()
	switch {
	case !st.plan.FTP.Enabled:
		return nil, errors.New("the FTP server is switched off")
	case !st.machine(t.session.addr):
		return nil, errNone
	}
	return st, nil
}

// refused says why a machine that asks for its boot file boots nothing.
type refused struct{ boot.File }

func (r *refused) Error() string { return r.Refused }

// missed counts it. That a node asked for it is an event, and so is a machine that wants to boot.
func (t *tree) missed(name string, err error) {
	x := t.session
	x.count.misses.Add(1)
	var r *refused
	switch {
	case errors.As(err, &r):
		t.refuse(r.File, name)
	case x.state.Load().nodes[x.addr] != nil:
		x.host.Events.Emit(timeline.Event{Kind: timeline.FTPMiss, Addr: x.addr, File: human.Printable(name), Detail: err.Error()})
	}
}

// refuse tells of a machine that boots nothing.
func (t *tree) refuse(f boot.File, name string) {
	t.session.host.Events.Emit(timeline.Event{Kind: timeline.BootRefused, MAC: f.MAC, Addr: t.session.addr, File: human.Printable(name), Detail: f.Refused})
}

// script finds the boot file that a name means for this client; an error says
// why there is none under a name that means one machine. What any machine may
// ask for gives way to the user's own.
func (x *session) script(st *state, name string) (boot.File, bool, error) {
	f, ok := st.boot.Resolve(name, x.host.Nodes.Holder(st.plan, x.addr))
	switch {
	case !ok && f.Refused == "", (!ok || f.Shared) && x.hasOwn(st, name):
		return boot.File{}, false, nil
	case !ok:
		return boot.File{}, false, &refused{f}
	}
	return f, true, nil
}

// render gives what a boot file says to this client, as of now.
func (t *tree) render(st *state, f boot.File, name string) []byte {
	if f.Refused != "" {
		t.refuse(f, name)
	}
	var o boot.Options
	if f.Node != nil {
		say := t.session.host.Nodes.Answer(st.plan, f.Node, t.session.addr)
		o = boot.Options{Token: say.Token, Disk: say.Disk}
	}
	return f.Render(o)
}

// open opens a file, or a folder of the user's own.
func (t *tree) open(st *state, name string) (content, fs.FileInfo, error) {
	if !safe(name) {
		return nil, nil, errNone
	}
	if f := st.files[name]; f != nil {
		file, err := t.session.host.Artifacts.Path(f)
		if err != nil {
			return nil, nil, err
		}
		if f.Inside != "" {
			return t.session.openInside(file, f.Inside)
		}
		return told(files.Open(file))
	}
	if _, ok, err := t.session.script(st, name); err != nil {
		return nil, nil, err
	} else if ok {
		return nil, nil, errMade
	}
	f, info, err := t.session.openOwn(st, name)
	if dir, base := path.Split(name); err != nil && path.Clean(dir) == bootFolder {
		if file := boot.FindLoader(plan.Loader(base), st.plan.TFTP.Root); file != "" {
			return told(files.Open(file))
		}
	}
	return f, info, err
}

// openOwn opens a file of the user's own below root.
func (x *session) openOwn(st *state, name string) (*os.File, fs.FileInfo, error) {
	if st.plan.FTP.Root == "" {
		return nil, nil, errNone
	}
	return told(files.OpenBelow(st.plan.FTP.Root, name))
}

// openInside opens a loader that is inside an ISO.
func (x *session) openInside(iso string, l plan.Loader) (content, fs.FileInfo, error) {
	body, changed, err := x.vendor.Loader(iso, l)
	if err != nil {
		return nil, nil, err
	}
	return script{bytes.NewReader(body)}, loader{int64(len(body)), changed}, nil
}

func (x *session) hasOwn(st *state, name string) bool {
	f, info, err := x.openOwn(st, name)
	if err != nil {
		return false
	}
	_ = f.Close()
	return info.Mode().IsRegular()
}

// told is what files gave, with what a client is told of err.
func told(f *os.File, info fs.FileInfo, err error) (*os.File, fs.FileInfo, error) {
	if err != nil {
		return nil, nil, reason(err)
	}
	return f, info, nil
}

// reason is what a client is told of err.
func reason(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return errUnreadable
	}
	return errNone
}
