package helperd_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"helperd/config"
)

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// Every YAML block that a user may copy from the documents must load.
func TestDocumentsLoad(t *testing.T) {
	var files []string
	for _, glob := range []string{"*.md", "docs/*.md", "*/README.md", "services/*/README.md"} {
		found, err := filepath.Glob(glob)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	blocks := 0
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range yamlBlock.FindAllStringSubmatch(string(b), -1) {
			blocks++
			if _, diags := config.Load([]byte(m[1])); diags.HasErrors() {
				t.Errorf("%s: a YAML block does not load:\n%s\n%s", path, diags.Error(), m[1])
			}
		}
	}
	if blocks < 5 {
		t.Errorf("found %d YAML blocks: README.md and every service have one", blocks)
	}
}

func TestReadmeShowsTheExample(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("examples/ocp4.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```yaml\n"+string(example)+"```") {
		t.Error("README.md does not show examples/ocp4.yaml as it is")
	}
}
