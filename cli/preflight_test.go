package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helperd/preflight"
)

func TestPreflightCommand(t *testing.T) {
	// An address of no machine, and no DHCP: nothing is sent.
	file := filepath.Join(t.TempDir(), "helper.yaml")
	text := `version: 1
helper: {address: 203.0.113.2}
networks:
  - {cidr: 203.0.113.0/24, gateway: 203.0.113.1, dhcp: {mode: "off"}}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		code int
		says string // in what is printed
	}{
		{"table", []string{"preflight", "--config", file}, exitPreflight, "do:  give it to the interface that faces 203.0.113.0/24"},
		{"json", []string{"preflight", "--config", file, "-o", "json"}, exitPreflight, `"what": "no interface holds it"`},
		{"unknown user", []string{"preflight", "--config", file, "--user", "no-such-user"}, exitError, "unknown user no-such-user"},
		{"other output", []string{"preflight", "--config", file, "-o", "xml"}, exitUsage, "write table, json"},
		{"no file", []string{"preflight", "--config", file + ".missing"}, exitError, "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := Main(t.Context(), "test", tt.args, &out, &errs); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if !strings.Contains(out.String()+errs.String(), tt.says) {
				t.Errorf("does not say %q:\n%s%s", tt.says, out.String(), errs.String())
			}
			var found []preflight.Finding
			if err := json.Unmarshal(out.Bytes(), &found); tt.name == "json" && (err != nil || len(found) == 0) {
				t.Errorf("%v in %s", err, out.String())
			}
		})
	}
}
