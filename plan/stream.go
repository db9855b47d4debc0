package plan

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"helperd/config"
)

// A StreamFact is what is known of a stream JSON.
type StreamFact struct {
	Stream  *Stream // nil: it is not read yet
	Problem string  // why it is not read, or why it may be an old one
}

// A Stream says where the files of one release are for each architecture. It is
// what `openshift-install coreos print-stream-json` prints and what Fedora CoreOS publishes.
type Stream struct {
	Name   string // such as rhel-9.6 or stable
	Arches map[string]StreamArch
}

// StreamArch is the live installer of one architecture. Every source that is there has url and sha256.
type StreamArch struct {
	Release                   string // such as 9.6.20250701-0
	Kernel, Initramfs, Rootfs Origin
	Metal, ISO                Origin // zero: the stream has none
}

// streamJSON is the part of the format that helperd reads
// (https://coreos.github.io/coreos-assembler/stream-metadata-rationale/ and the Go package stream-metadata-go).
type streamJSON struct {
	Stream        string `json:"stream"`
	Architectures map[string]struct {
		Artifacts struct {
			Metal struct {
				Release string                           `json:"release"`
				Formats map[string]map[string]streamFile `json:"formats"`
			} `json:"metal"`
		} `json:"artifacts"`
	} `json:"architectures"`
}

type streamFile struct {
	Location string `json:"location"`
	SHA256   string `json:"sha256"`
}

// ParseStream reads a stream JSON. Architectures without a live installer are
// left out. The error says what is wrong and where.
func ParseStream(b []byte) (*Stream, error) {
	var doc streamJSON
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("it is no stream JSON: %w", err)
	}
	if len(doc.Architectures) == 0 {
		return nil, errors.New(`it is no stream JSON: it has no "architectures"`)
	}
	s := &Stream{Name: doc.Stream, Arches: map[string]StreamArch{}}
	for arch, a := range doc.Architectures {
		metal := a.Artifacts.Metal
		out := StreamArch{Release: metal.Release}
		for _, f := range []struct {
			format, file string
			to           *Origin
		}{
			{"pxe", "kernel", &out.Kernel},
			{"pxe", "initramfs", &out.Initramfs},
			{"pxe", "rootfs", &out.Rootfs},
			{"raw.gz", "disk", &out.Metal},
			{"iso", "disk", &out.ISO},
		} {
			from, ok := metal.Formats[f.format][f.file]
			if !ok {
				continue
			}
			if bad := from.bad(); bad != "" {
				return nil, fmt.Errorf("architectures.%s.artifacts.metal.formats.%s.%s: %s", arch, f.format, f.file, bad)
			}
			*f.to = Origin{URL: from.Location, SHA256: strings.ToLower(from.SHA256)}
		}
		if none := (Origin{}); out.Kernel != none && out.Initramfs != none && out.Rootfs != none {
			s.Arches[arch] = out
		}
	}
	if len(s.Arches) == 0 {
		return nil, errors.New("no architecture of it has kernel, initramfs and rootfs (metal, pxe)")
	}
	return s, nil
}

func (f *streamFile) bad() string {
	u, err := url.Parse(f.Location)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Sprintf("location %.80q cannot be fetched", Shown(f.Location))
	}
	if sum, err := hex.DecodeString(f.SHA256); err != nil || len(sum) != 32 {
		return fmt.Sprintf("sha256 %.80q is not 64 hex digits", f.SHA256)
	}
	return ""
}

// StreamSources are where the file says that stream JSONs are.
func StreamSources(c *config.Config) []Origin {
	var out []Origin
	for _, a := range c.Artifacts {
		if a.Stream != (Origin{}) && !slices.Contains(out, a.Stream) {
			out = append(out, a.Stream)
		}
	}
	return out
}
