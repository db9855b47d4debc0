package ghost

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
)

// checked passes on what is written to it and compares its checksum at the end.
type checked struct {
	to   io.Writer
	name string
	want string    // SHA-256 in hex
	hash hash.Hash // nil: there is nothing to compare with
}

// check gives a writer for the content of name, which may be a URL or a path.
func (n *Node) check(name string, to io.Writer) *checked {
	c := &checked{to: to, name: name, want: n.Sums[base(name)]}
	if c.want != "" {
		c.hash = sha256.New()
	}
	return c
}

// Write implements io.Writer.
func (c *checked) Write(p []byte) (int, error) {
	if c.hash != nil {
		_, _ = c.hash.Write(p) // never fails
	}
	return c.to.Write(p)
}

// done says whether it was what it should be.
func (c *checked) done() error {
	if c.hash == nil {
		return nil
	}
	if got := hex.EncodeToString(c.hash.Sum(nil)); got != c.want {
		return fmt.Errorf("%s came with checksum %s and should have %s", base(c.name), got, c.want)
	}
	return nil
}
