package daemon

import (
	"errors"
	"fmt"

	"helperd/api"
	"helperd/plan"
	"helperd/services/http"
)

// ISO implements api.Backend.
func (b backend) ISO(name string) (api.Image, error) {
	i, err := b.isoOf(name)
	if err != nil {
		return nil, err
	}
	image, err := find[*http.Service](b.Daemon).ISO(i)
	if err != nil {
		return nil, err
	}
	b.nodes.ISOToken(i.Node) // the token is for others: what counts here is the order
	return image, nil
}

// ISOURL implements api.Backend. An ISO that cannot be made is refused now, and
// not when a machine waits for it.
func (b backend) ISOURL(name string) (string, error) {
	image, err := b.ISO(name)
	if err != nil {
		return "", err
	}
	if err := image.Close(); err != nil {
		return "", err
	}
	i, err := b.isoOf(name)
	if err != nil {
		return "", err
	}
	return http.ISOURL(i, b.nodes.ISOToken(i.Node)), nil
}

func (b backend) isoOf(name string) (*plan.ISO, error) {
	p := b.view().plan
	var n *plan.Node
	if p != nil {
		n = p.NodeByName(name)
	}
	if n == nil {
		return nil, fmt.Errorf("%w node %q; `helperd nodes` lists them", api.ErrUnknown, name)
	}
	i := p.ISOOf(n)
	switch {
	case i != nil:
		return i, nil
	case !p.HTTP.Enabled:
		return nil, errors.New("the web server is switched off, which knows what nodes boot; remove enabled: false under http")
	}
	return nil, fmt.Errorf("%s boots nothing from here; name artifacts at its cluster", n.Name)
}
