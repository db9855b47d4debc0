package cli

import (
	"bytes"
	"encoding/json"
	"io"

	"go.yaml.in/yaml/v4"
)

// writeYAML prints v with the keys, in the order, that its JSON has.
func writeYAML(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	n, err := yamlNode(d)
	if err != nil {
		return err
	}
	text, err := yaml.Dump(n, yaml.WithLineWidth(-1), yaml.WithIndent(2))
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// yamlNode reads the next JSON value of d. In an object keys and values
// alternate, just as they do in a mapping's content.
func yamlNode(d *json.Decoder) (*yaml.Node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: yaml.MappingNode}
		if v == '[' {
			n.Kind = yaml.SequenceNode
		}
		for d.More() {
			c, err := yamlNode(d)
			if err != nil {
				return nil, err
			}
			if n.Kind == yaml.MappingNode && len(n.Content)%2 == 0 {
				c.Style = 0
			}
			n.Content = append(n.Content, c)
		}
		_, err := d.Token() // the closing bracket
		return n, err
	case string:
		// Texts are quoted: readers of YAML 1.1 take yes for true and some MAC addresses for numbers.
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v, Style: yaml.DoubleQuotedStyle}, nil
	default: // a number, true, false, null: written alike in both
		b, err := json.Marshal(v)
		return &yaml.Node{Kind: yaml.ScalarNode, Value: string(b)}, err
	}
}
