package iso

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// patch is bytes that stand in place of the ISO's own.
type patch struct {
	offset int64
	data   []byte
}

func (p patch) end() int64 { return p.offset + int64(len(p.data)) }

// patches are what is written for a node with the kernel arguments args and the
// ignition file; nil: none. The error says what does not fit and what to do.
func (l *Layout) patches(args []string, ignition []byte) ([]patch, error) {
	all := append([]string{}, args...)
	var out []patch
	if ignition != nil {
		if !l.config {
			all = append(all, fileURL())
		}
		p, err := l.ignitionPatch(args, ignition)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	kargs, err := l.kargsPatches(all)
	if err != nil {
		return nil, err
	}
	out = append(out, kargs...)
	slices.SortFunc(out, func(a, b patch) int { return cmp.Compare(a.offset, b.offset) })
	for i := 1; i < len(out); i++ {
		if out[i].offset < out[i-1].end() {
			return nil, fmt.Errorf("the areas of the ISO overlap: it was changed by hand; take the one of the release")
		}
	}
	return out, nil
}

func (l *Layout) ignitionPatch(args []string, ignition []byte) (patch, error) {
	config, err := liveConfig(ignition, args, l.config)
	if err != nil {
		return patch{}, err
	}
	packed, err := archive(config)
	if err != nil {
		return patch{}, err
	}
	if int64(len(packed)) > l.ignition.length {
		return patch{}, fmt.Errorf("the ignition file of %d bytes takes %d when packed, and the ISO has room for %d; boot the node from the network, or shrink what was added to the file",
			len(ignition), len(packed), l.ignition.length)
	}
	data := make([]byte, l.ignition.length) // zeros are what an initramfs may end with
	copy(data, packed)
	return patch{l.ignition.offset, data}, nil
}

// kargsPatches keep the arguments that the ISO has: they name its own file system.
func (l *Layout) kargsPatches(args []string) ([]patch, error) {
	for _, a := range args {
		if !sayable(a) {
			return nil, fmt.Errorf("kernel argument %q: the boot loader of the ISO takes one of its characters for a command; leave it out of kernel_args, or set it after the installation", a)
		}
	}
	text := strings.TrimSpace(l.args + " " + strings.Join(args, " "))
	var out []patch
	for _, k := range l.kargs {
		if over := int64(len(text)) + 1 - k.length; over > 0 {
			return nil, fmt.Errorf("the kernel arguments are %d bytes, %d more than the ISO has room for; shorten kernel_args of the node or the cluster", len(text), over)
		}
		data := bytes.Repeat([]byte{k.pad}, int(k.length))
		data[copy(data, text)] = k.end
		out = append(out, patch{k.offset, data})
	}
	return out, nil
}

// sayable reports whether GRUB and ISOLINUX pass a on as it is: both read it in
// a line of their configuration, and what one has for quotes the other has not.
func sayable(a string) bool {
	return a != "" && !strings.HasPrefix(a, "#") && !strings.ContainsFunc(a, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune("\"'\\$;&|<>{}", r)
	})
}
