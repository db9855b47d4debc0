package config

import (
	"strings"

	"helperd/internal/suggest"
)

// nearest finds the word that s was probably meant to be; empty: none is near.
// Words of the file have underscores where people write hyphens and spaces.
func nearest(s string, words []string) string {
	if near := suggest.Near(strings.NewReplacer("-", "_", " ", "_").Replace(s), words); len(near) > 0 {
		return near[0]
	}
	return ""
}
