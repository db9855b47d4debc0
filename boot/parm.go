package boot

import (
	"strings"

	"helperd/plan"
)

const (
	// CardColumns is the length of a record of z/VM's virtual reader.
	CardColumns = 80
	// MaxParm is what older kernels take of a parameter file, in bytes; the
	// documentation of RHEL names it. Newer ones take more.
	MaxParm = 895
)

// Parm is the parameter file of n, a machine of IBM Z, which must have a Boot.
// It stands beside kernel and initramfs: on the virtual reader of z/VM, or in
// the .ins file of an LPAR.
//
// The reader's records follow each other without a gap, each filled up with
// blanks to columns. A word that is longer than a record goes on in the first
// column of the next; other words end before the last column, so that a blank
// parts them from what follows. With columns 0 all is one line: an LPAR takes a
// line's end for a blank.
func Parm(n *plan.Node, o Options, columns int) []byte {
	var words []string
	for _, a := range withToken(n.Boot, o.Token) {
		words = append(words, split(a)...)
	}
	if columns <= 0 {
		return []byte(strings.Join(words, " ") + "\n")
	}
	var lines []string
	line := ""
	for _, w := range words {
		if line != "" && len(line)+len(" ")+len(w) < columns {
			line += " " + w
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for line = w; len(line) >= columns; line = line[columns:] {
			lines = append(lines, line[:columns])
		}
		if line == "" {
			line = " " // the word filled its last record
		}
	}
	if strings.TrimSpace(line) != "" {
		lines = append(lines, line)
	}
	return []byte(strings.Join(lines, "\n") + "\n")
}

// ParmSize is the length of a parameter file in the kernel's memory, where all
// records but the last are filled up with blanks to columns.
func ParmSize(parm []byte, columns int) int {
	lines := strings.Split(strings.TrimSuffix(string(parm), "\n"), "\n")
	return (len(lines)-1)*columns + len(lines[len(lines)-1])
}
