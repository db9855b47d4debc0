package files

import (
	"errors"
	"io/fs"
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

func TestOpenBelow(t *testing.T) {
	top := t.TempDir()
	root := filepath.Join(top, "root")
	if err := os.MkdirAll(filepath.Join(root, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"root/out": "../secret", "root/in": "dir/file", "root/up": ".."} {
		if err := os.Symlink(to, filepath.Join(top, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"secret", "root/dir/file"} {
		if err := os.WriteFile(filepath.Join(top, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"dir/file": "file", "/dir/file": "file", "//dir/file/": "file", "in": "file", "dir/../dir/file": "file",
		"": "folder", "/": "folder", "dir": "folder", "fifo": "other",
		"out": "", "up/secret": "", "../secret": "", "/../secret": "", "dir/../../secret": "", filepath.Join(top, "secret"): "", "nope": "",
	} {
		f, st, err := OpenBelow(root, name)
		got := ""
		if err == nil {
			got = map[bool]string{true: "folder", false: "other"}[st.IsDir()]
			if st.Mode().IsRegular() {
				got = "file"
			}
			f.Close()
		}
		if got != want {
			t.Errorf("%q gives %q (%v), want %q", name, got, err, want)
		}
	}
	gone := filepath.Join(top, "gone")
	var pe *fs.PathError
	if _, _, err := OpenBelow(gone, "file"); !errors.As(err, &pe) || pe.Path != gone {
		t.Errorf("without a root: %v", err)
	}
	if _, _, err := OpenBelow(root, "nope"); !errors.As(err, &pe) || pe.Path != "nope" {
		t.Errorf("without a file: %v", err)
	}
}
