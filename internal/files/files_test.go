package files

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestRegularAndFolder(t *testing.T) {
	dir := t.TempDir()
	file, fifo, loop := filepath.Join(dir, "file"), filepath.Join(dir, "fifo"), filepath.Join(dir, "loop")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("loop", loop); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, file, folder string }{
		{file, "", "not a folder"},
		{dir, "not a file", ""},
		{fifo, "not a file", "not a folder"},
		{filepath.Join(dir, "nope"), "no such file or directory", "no such file or directory"},
		{filepath.Join(file, "below"), "not a directory", "not a directory"},
		{loop, "too many levels of symbolic links", "too many levels of symbolic links"},
	}
	for _, tt := range tests {
		t.Run(filepath.Base(tt.name), func(t *testing.T) {
			if got := says(Regular(tt.name)); got != line(tt.name, tt.file) {
				t.Errorf("as a file: %q, want %q", got, line(tt.name, tt.file))
			}
			if got := says(Folder(tt.name)); got != line(tt.name, tt.folder) {
				t.Errorf("as a folder: %q, want %q", got, line(tt.name, tt.folder))
			}
		})
	}
}

func says(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func line(name, why string) string {
	if why == "" {
		return ""
	}
	return name + ": " + why
}
