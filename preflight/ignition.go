package preflight

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"
	"time"

	"helperd/plan"
)

// soon is how long before the end of the certificates a warning is due: an
// installation takes an hour or two, and bootstrap must finish before.
const soon = 3 * time.Hour

// ignitions looks at the ignition files: readable, JSON, certificates valid.
func ignitions(_ context.Context, p *plan.Plan, env *Env) []Finding {
	var found []Finding
	for _, i := range p.HTTP.Ignition {
		f := env.file("ignition", i.File, fmt.Sprintf("no %s of %s gets its configuration", i.Role, i.Cluster))
		if f.Level == OK {
			f = env.ignition(i, f)
		} else if f.Level == Problem && f.What == "is not there" {
			f.Do = "make it with: openshift-install create ignition-configs, and copy *.ign there"
		}
		found = append(found, f)
	}
	return found
}

func (env *Env) ignition(i plan.Ignition, f Finding) Finding {
	b, err := env.ReadFile(i.File)
	if err != nil {
		f.Level, f.What, f.Why, f.Do = Skipped, "cannot be read here", err.Error(), "run preflight as root"
		return f
	}
	again := "make the files anew: openshift-install create ignition-configs, in an empty folder"
	var doc struct {
		Ignition struct{ Version string }
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		f.Level, f.What, f.Why, f.Do = Problem, "is no JSON: "+err.Error(), "the installer would stop at it", again
		return f
	}
	if doc.Ignition.Version == "" {
		f.Level, f.What, f.Why, f.Do = Problem, "is no Ignition file: it has no ignition.version", "the installer would stop at it", again
		return f
	}
	end := firstExpiry(b)
	f.What = "is Ignition " + doc.Ignition.Version
	if end.IsZero() {
		return f
	}
	left := end.Sub(env.Now())
	f.What += ", its certificates hold until " + end.Local().Format("2006-01-02 15:04")
	switch {
	case left > soon:
	case left > 0:
		f.Level, f.Why, f.Do = Warning, fmt.Sprintf("%s are left, and bootstrap must finish before", left.Round(time.Minute)), again
	case i.Expired:
		f.Level, f.Why, f.Do = Warning, "they have expired; the file is served because ignition_expired says so", again
	default:
		f.Level, f.Why, f.Do = Problem, "they have expired; helperd refuses to serve the file, and a cluster could not start with it", again
	}
	return f
}

// firstExpiry is the earliest end of a certificate in the data URLs of an
// Ignition file; zero: there is none. Encrypted or compressed contents and
// files of other kinds are passed over.
func firstExpiry(b []byte) time.Time {
	var doc any
	if json.Unmarshal(b, &doc) != nil {
		return time.Time{}
	}
	var first time.Time
	eachString(doc, func(s string) {
		text, ok := dataURL(s)
		for block, rest := pem.Decode(text); ok && block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "CERTIFICATE" {
				continue
			}
			if c, err := x509.ParseCertificate(block.Bytes); err == nil && (first.IsZero() || c.NotAfter.Before(first)) {
				first = c.NotAfter
			}
		}
	})
	return first
}

func eachString(v any, fn func(string)) {
	switch v := v.(type) {
	case string:
		fn(v)
	case []any:
		for _, e := range v {
			eachString(e, fn)
		}
	case map[string]any:
		for _, e := range v {
			eachString(e, fn)
		}
	}
}

// dataURL decodes data:[TYPE][;base64],DATA (RFC 2397).
func dataURL(s string) ([]byte, bool) {
	rest, ok := strings.CutPrefix(s, "data:")
	if !ok {
		return nil, false
	}
	kind, data, ok := strings.Cut(rest, ",")
	if !ok {
		return nil, false
	}
	if strings.HasSuffix(kind, ";base64") {
		b, err := base64.StdEncoding.DecodeString(data)
		return b, err == nil
	}
	text, err := url.PathUnescape(data)
	return []byte(text), err == nil
}
