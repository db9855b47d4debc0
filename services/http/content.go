package http

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	nethttp "net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"helperd/internal/files"
	"helperd/plan"
	"helperd/timeline"
)

// progressFrom is the size in bytes from which a download tells how far it is.
const progressFrom = 1 << 20

// serveArtifact sends a kernel, an initramfs, a rootfs or a disk image.
func (x *exchange) serveArtifact(a *plan.File) {
	file, err := x.host.Artifacts.Path(a)
	if err != nil {
		if a.OnDemand && x.state.machine(x.addr) {
			x.host.Artifacts.Want(a)
		}
		x.notYet(timeline.HTTPMiss, err.Error())
		return
	}
	if a.Inside != "" {
		x.serveInside(file, a.Inside)
		return
	}
	f, st, err := files.Open(file)
	if err != nil {
		x.notYet(timeline.HTTPMiss, notThere(a.Path, err))
		return
	}
	defer func() { _ = f.Close() }()
	if !st.Mode().IsRegular() {
		x.notYet(timeline.HTTPMiss, a.Path+" is not a file on the helper")
		return
	}
	x.w.Header().Set("Content-Type", "application/octet-stream")
	if x.serveFile(f, st) && x.installs() {
		x.host.Nodes.RootfsFetched(x.node)
	}
}

// serveInside sends a loader that is inside an ISO.
func (x *exchange) serveInside(iso string, l plan.Loader) {
	body, changed, err := x.vendor.Loader(iso, l)
	if err != nil {
		x.notYet(timeline.HTTPMiss, err.Error())
		return
	}
	h := x.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Etag", fmt.Sprintf(`"%x-%x"`, len(body), changed.UnixNano()))
	nethttp.ServeContent(x.w, x.r, "", changed, bytes.NewReader(body))
	switch {
	case x.r.Method != nethttp.MethodGet || x.w.status != nethttp.StatusOK:
	case x.w.err != nil:
		x.broke(int64(len(body)))
	default:
		x.got(int64(len(body)))
	}
}

// installs reports whether a node asks for what it writes to its disk.
func (x *exchange) installs() bool {
	return x.node != nil && x.node.Boot != nil && x.node.Boot.Installs(x.path)
}

// notThere says why a declared file cannot be sent and what to do. The body goes
// to anybody, so it names the URL and not the path on this machine; status has both.
func notThere(name string, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return name + " is not on the helper yet; put the file where the configuration says, it is served at once"
	case errors.Is(err, fs.ErrPermission):
		return name + " is not readable on the helper; give the user that helperd runs as the right to read it"
	}
	return fmt.Sprintf("%s is not readable on the helper: %v", name, files.Cause(err))
}

// serveFile sends f by the conditions and ranges of the request, and tells the
// timeline. It reports whether all of f was sent.
func (x *exchange) serveFile(f *os.File, st fs.FileInfo) (whole bool) {
	size := st.Size()
	x.size = size
	x.w.Header().Set("Etag", etag(st))
	if size == 0 {
		delete(x.r.Header, "Range") // an empty file has no part
	}
	if size >= progressFrom {
		next := time.Now().Add(time.Second)
		x.w.progress = func(now time.Time) {
			if now.After(next) {
				next = now.Add(time.Second)
				x.got(size)
			}
		}
	}
	nethttp.ServeContent(x.w, x.r, "", st.ModTime(), f)
	if x.r.Method != nethttp.MethodGet || x.w.status != nethttp.StatusOK && x.w.status != nethttp.StatusPartialContent {
		return false
	}
	if promised, _ := strconv.ParseInt(x.w.Header().Get("Content-Length"), 10, 64); x.w.sent < promised {
		x.broke(size)
		return false
	}
	if strings.HasPrefix(x.w.Header().Get("Content-Type"), "multipart/") {
		return false // several ranges: how far it is has no number
	}
	// iPXE starts a kernel, and is gone, without acknowledging the last bytes:
	// only for what counts as installed is the client's word waited for.
	if x.installs() && x.delivered() != nil {
		x.broke(size)
		return false
	}
	x.got(size)
	return x.offset() == 0 && x.w.sent == size
}

// etag changes whenever the file does, also within a second and with the same size.
func etag(st fs.FileInfo) string {
	var inode uint64
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		inode = sys.Ino
	}
	return fmt.Sprintf(`"%x-%x-%x"`, inode, st.Size(), st.ModTime().UnixNano())
}

// offset is where the answer begins in the file: the start of its range.
func (x *exchange) offset() int64 {
	r, ok := strings.CutPrefix(x.w.Header().Get("Content-Range"), "bytes ")
	if !ok {
		return 0
	}
	from, _, _ := strings.Cut(r, "-")
	n, _ := strconv.ParseInt(from, 10, 64) // net/http wrote it
	return n
}

// tells reports whether a download of size bytes is for the timeline. What happens to a
// node is, and so is every download of what nodes boot; a small file of the user's own
// that somebody else fetches is in the download log alone.
func (x *exchange) tells(size int64) bool { return !x.own || x.node != nil || size >= progressFrom }

// got tells the timeline how far the download is.
func (x *exchange) got(size int64) {
	if !x.tells(size) {
		return
	}
	x.host.Events.Emit(timeline.Event{Kind: timeline.HTTPGet, Addr: x.addr, File: x.path, Bytes: x.offset() + x.w.sent, Total: size})
}

// broke tells the timeline that the download ended too early. What the client has
// not confirmed did not arrive.
func (x *exchange) broke(size int64) {
	x.w.sent = max(x.w.sent-x.conn.pending(), 0)
	why := errBrokeOff.Error()
	switch {
	case errors.Is(x.w.err, errStalled):
		why = fmt.Sprintf("the client took less than %d KiB in %s and was cut", minTake>>10, x.w.stall)
	case x.w.err == nil:
		why = "the file became shorter while it was sent; replace files by renaming, not by writing into them"
	}
	x.broken = true
	x.count.failed.Add(1)
	if !x.tells(size) {
		return
	}
	x.host.Log.Info("download broke off", "ip", x.addr, "file", x.path, "bytes", x.w.sent, "err", x.w.err)
	x.host.Events.Emit(timeline.Event{Kind: timeline.HTTPFailed, Addr: x.addr, File: x.path, Bytes: x.offset() + x.w.sent, Total: size, Detail: why})
}
