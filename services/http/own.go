package http

import (
	"cmp"
	"errors"
	"fmt"
	"html"
	"io/fs"
	"mime"
	nethttp "net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"helperd/internal/files"
)

// serveOwn sends a file of the user's own.
func (x *exchange) serveOwn(root string) {
	if x.serveCached() {
		return
	}
	f, st, err := files.OpenBelow(root, x.path)
	if err != nil {
		x.refuseOwn(err)
		return
	}
	defer func() { _ = f.Close() }()
	switch {
	case st.IsDir():
		x.serveFolder(f)
	case st.Mode().IsRegular() && !strings.HasSuffix(x.path, "/"):
		x.own = true
		kind := cmp.Or(mime.TypeByExtension(path.Ext(x.path)), "application/octet-stream")
		x.w.Header().Set("Content-Type", kind)
		x.state.cache.keep(x.path, filepath.Join(root, x.path), kind, f, st)
		x.serveFile(f, st)
	default:
		x.missed("there is no such file")
	}
}

// refuseOwn answers for a file that cannot be opened. A link that leads out
// of the folder looks like one that leads nowhere.
func (x *exchange) refuseOwn(err error) {
	if errors.Is(err, fs.ErrPermission) {
		x.count.misses.Add(1)
		x.text(nethttp.StatusForbidden, "the file is not readable on the helper; give the user that helperd runs as the right to read it\n")
		return
	}
	x.missed("there is no such file")
}

// serveFolder lists a folder, if the user wants that. Hidden files are left out.
func (x *exchange) serveFolder(f *os.File) {
	if !x.state.plan.HTTP.Listing {
		x.missed("folders are not listed; write `listing: true` under `http:` if they should be")
		return
	}
	if !strings.HasSuffix(x.path, "/") {
		nethttp.Redirect(x.w, x.r, (&url.URL{Path: path.Base(x.path) + "/"}).String(), nethttp.StatusMovedPermanently)
		return
	}
	entries, err := f.ReadDir(-1)
	if err != nil {
		x.refuseOwn(err)
		return
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	var page strings.Builder
	title := html.EscapeString(x.path)
	fmt.Fprintf(&page, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%s</title></head><body>\n<h1>%s</h1>\n<pre>\n", title, title)
	if x.path != "/" {
		page.WriteString("<a href=\"../\">../</a>\n")
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || strings.ContainsAny(name, "\\") {
			continue
		}
		if e.IsDir() {
			name += "/"
		}
		link := url.URL{Path: "./" + name} // ./ keeps a colon in a name from being a scheme
		fmt.Fprintf(&page, "<a href=\"%s\">%s</a>\n", html.EscapeString(link.String()), html.EscapeString(name))
	}
	page.WriteString("</pre></body></html>\n")
	h := x.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'")
	nethttp.ServeContent(x.w, x.r, "", time.Time{}, strings.NewReader(page.String()))
}
