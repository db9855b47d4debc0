package http

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	nethttp "net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"helperd/iso"
	"helperd/plan"
	"helperd/timeline"
)

// isoFolder is where the ISOs of nodes are: as /iso/NODE.iso?token=TOKEN, and as
// /iso/TOKEN/NODE.iso for management controllers that want a URL to end with .iso.
const isoFolder = "/iso/"

// tokenInPath is a token (crypto/rand.Text) in the path of an ISO.
var tokenInPath = regexp.MustCompile(`^/+iso/+([A-Z2-7]{26})(?:/+(.*))?$`)

// withoutToken takes the token out of the path of an ISO: no log and no event
// must have it, whatever the method and the answer. Without one, token is empty.
func withoutToken(path string) (rest, token string) {
	if strings.Contains(path, isoFolder) { // what is asked for all the time pays for no regular expression
		if m := tokenInPath.FindStringSubmatch(path); m != nil {
			return isoFolder + m[2], m[1]
		}
	}
	return path, ""
}

// serveISO sends the ISO of a node. It reports false when the path means none.
func (x *exchange) serveISO() bool {
	i := x.state.plan.ISOAt(x.path)
	switch {
	case i == nil && x.token == "":
		return false // a file of the user's own, perhaps
	case i == nil:
		x.missed("no node has that name; `helperd nodes` lists them")
		return true
	}
	x.path = i.Path
	token := cmp.Or(x.token, x.r.URL.Query().Get(tokenKey))
	if err := x.mayHaveISO(i, token); err != nil {
		x.count.refused.Add(1)
		x.host.Events.Emit(timeline.Event{Kind: timeline.IgnitionRefused, Addr: x.addr, File: x.path, Detail: err.Error()})
		x.text(nethttp.StatusForbidden, err.Error()+"\n")
		return true
	}
	if i.Problem != "" {
		x.missed(i.Problem)
		return true
	}
	image, err := x.ISO(i)
	if err != nil {
		x.notYet(timeline.HTTPMiss, err.Error())
		return true
	}
	defer func() { _ = image.Close() }()
	x.sendISO(i, image)
	return true
}

// ISOURL is where the ISO of a node is fetched with a token. It ends with .iso.
func ISOURL(i *plan.ISO, token string) string {
	return i.Node.Boot.BaseURL + isoFolder + token + "/" + strings.TrimPrefix(i.Path, isoFolder)
}

// mayHaveISO says why the ISO of a node, which has the secrets of its cluster on
// it, is not given to who asks, and what to do.
func (x *exchange) mayHaveISO(i *plan.ISO, token string) error {
	if (i.Ignition == nil || i.Ignition.Open) && x.state.machine(x.addr) {
		return nil
	}
	if err := x.host.Nodes.CheckISOToken(i.Node, token); err != nil {
		return fmt.Errorf("%w; run `helperd iso %s --url` on the helper and take the URL that it prints", err, i.Node.Name)
	}
	return nil
}

// ISO opens the ISO of a node. The caller closes it. The error says what is
// missing and what to do; it is fit for a client.
func (s *Service) ISO(i *plan.ISO) (*iso.Image, error) {
	if i.Problem != "" {
		return nil, errors.New(i.Problem)
	}
	base, err := s.host.Artifacts.Path(i.Base)
	if err != nil {
		s.host.Artifacts.Want(i.Base) // the ISO of a stream is fetched when somebody asks
		return nil, err
	}
	var ignition []byte
	if i.Ignition != nil {
		if ignition, err = s.host.Nodes.Ignition.Read(i.Ignition, i.Node); err != nil {
			return nil, err
		}
	}
	image, err := s.isos.Open(base, i.Args, ignition)
	if err != nil {
		return nil, fmt.Errorf("ISO of %s: %w", i.Node.Name, err)
	}
	return image, nil
}

// sendISO sends an image by the conditions and ranges of the request. A
// management controller reads it in pieces, for hours: they fit together as long
// as the tag is the same.
func (x *exchange) sendISO(i *plan.ISO, image *iso.Image) {
	x.size = image.Size()
	h := x.w.Header()
	h.Set("Content-Type", "application/x-iso9660-image")
	h.Set("Cache-Control", "private, no-store")
	h.Set("Etag", `"`+image.Tag()+`"`)
	next := time.Now().Add(time.Second)
	x.w.progress = func(now time.Time) {
		if now.After(next) {
			next = now.Add(time.Second)
			x.gotISO(i, image)
		}
	}
	nethttp.ServeContent(isoWriter{x.w, image}, x.r, "", time.Time{}, image)
	promised, _ := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	switch {
	case x.r.Method != nethttp.MethodGet || x.w.status != nethttp.StatusOK && x.w.status != nethttp.StatusPartialContent:
	case x.w.err != nil, x.w.sent < promised:
		x.broke(image.Size())
	default:
		x.gotISO(i, image)
	}
}

// gotISO tells the timeline how far an ISO is. Who fetches it is not the node.
func (x *exchange) gotISO(i *plan.ISO, image *iso.Image) {
	x.host.Events.Emit(timeline.Event{
		Kind: timeline.ISOGet, Node: i.Node.FQDN, Addr: x.addr, File: x.path, Bytes: x.offset() + x.w.sent, Total: image.Size(),
	})
}

// isoWriter sends what of an image is as in the file by sendfile.
type isoWriter struct {
	*writer
	image *iso.Image
}

// ReadFrom implements io.ReaderFrom.
func (w isoWriter) ReadFrom(src io.Reader) (int64, error) {
	if limit, ok := src.(*io.LimitedReader); ok && limit.R == w.image {
		n, err := w.image.Send(w.writer, limit.N)
		limit.N -= n
		return n, err
	}
	return w.writer.ReadFrom(src)
}
