package plan

import (
	"path/filepath"
	"slices"

	"helperd/config"
)

// root is a folder of the user's own that everybody can fetch from.
type root struct{ key, folder string }

// roots are all that are written. The FTP server has that of the web server by default.
func (b *builder) roots() []root {
	var out []root
	for _, r := range []root{{"http.root", b.c.HTTP.Root}, {"tftp.root", b.c.TFTP.Root}, {"ftp.root", b.c.FTP.Root}} {
		if r.folder != "" && !slices.ContainsFunc(out, func(o root) bool { return o.folder == r.folder }) {
			out = append(out, r)
		}
	}
	return out
}

// holds reports whether folder is r's or below it.
func (r root) holds(folder string) bool {
	rel, err := filepath.Rel(r.folder, folder)
	return err == nil && filepath.IsLocal(rel)
}

// state refuses roots that show what helperd keeps for itself: leases, tokens, the key of its authority.
func (b *builder) state() {
	for _, r := range b.roots() {
		if b.facts.StateDir != "" && r.holds(b.facts.StateDir) {
			b.say(config.Error, r.key, "%s: %s holds helperd's own state, %s, so everybody could fetch its keys and tokens; name a folder of its own, such as /srv/www",
				r.key, r.folder, b.facts.StateDir)
		}
	}
}
