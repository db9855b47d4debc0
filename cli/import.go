package cli

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"helperd/api"
	"helperd/artifacts"
	"helperd/internal/guard"
	"helperd/internal/human"
)

func (a *app) importCmd() *cobra.Command {
	return a.talks(&cobra.Command{
		Use:   "import DIR|TAR",
		Short: "Bring files to a machine without internet: from a folder, or a tar archive (also .tar.gz)",
		Long: "import gives the daemon every file of a folder or tar archive whose checksum the configuration\n" +
			"asks for, whatever it is called, and a stream JSON where an artifact has its stream by url (with\n" +
			"several of them it must be called after the artifact, as in rhcos.json). The rest is left out.",
		Args: oneArg("DIR or TAR"),
		RunE: func(c *cobra.Command, args []string) error {
			from, err := openArchive(args[0])
			if err != nil {
				return err
			}
			result, err := a.sendArchive(c.Context(), c.ErrOrStderr(), from)
			if err != nil {
				return err
			}
			if err := a.show(c.OutOrStdout(), result, func(t *table) { importRows(t, result.Files) }); err != nil {
				return err
			}
			return importOutcome(&result)
		},
	})
}

func importRows(t *table, files []artifacts.Imported) {
	if len(files) == 0 {
		t.line("no file in it")
		return
	}
	t.row("FILE", "SIZE", "SHA256", "OUTCOME", "DETAIL")
	for _, f := range files {
		t.row(f.Name, human.Size(f.Size), fmt.Sprintf("%.12s", f.SHA256), f.Outcome, f.Detail)
	}
}

// importOutcome is an error when something was not done that should have been.
func importOutcome(r *api.Import) error {
	failed := func(f artifacts.Imported) bool { return f.Outcome == artifacts.Refused }
	useful := func(f artifacts.Imported) bool {
		return f.Outcome == artifacts.Taken || f.Outcome == artifacts.Already
	}
	switch {
	case r.Error != "":
		return errors.New(r.Error)
	case slices.ContainsFunc(r.Files, failed):
		return &ExitError{Code: exitError} // the table says why
	case !slices.ContainsFunc(r.Files, useful):
		return errors.New("the configuration asks for none of these files; `helperd artifacts` shows the checksums that it asks for")
	}
	return nil
}

// sendArchive makes a tar archive of what is wanted from and sends it. Stream
// JSONs go first: they say which of the other files are wanted.
func (a *app) sendArchive(ctx context.Context, w io.Writer, from archive) (api.Import, error) {
	total, err := from.size()
	if err != nil {
		return api.Import{}, err
	}
	r, pipe := io.Pipe()
	written := make(chan error, 1)
	done := func() {}
	var out io.Writer = pipe
	if terminal(w) {
		out, done = progressBar(ctx, w, pipe, "import", total)
	}
	guard.New(nil).Go("archive", func() {
		err := errors.New("the archive could not be written")
		defer func() {
			_ = pipe.CloseWithError(err) // nil: the end
			written <- err
		}()
		err = writeArchive(out, from)
	})
	result, err := a.client().Import(ctx, r)
	_ = r.Close() // the writer ends, also when the daemon has not read all
	mine := <-written
	done()
	if mine != nil && !errors.Is(mine, io.ErrClosedPipe) {
		return result, mine
	}
	return result, err
}

// progressBar counts what is written to out, and shows it on w as name.
func progressBar(ctx context.Context, w io.Writer, out io.Writer, name string, total int64) (io.Writer, func()) {
	p := mpb.NewWithContext(ctx, mpb.WithOutput(w), mpb.WithWidth(40), mpb.WithAutoRefresh())
	count := decor.CountersKibiByte(" % .1f of % .1f")
	if total == 0 {
		count = decor.CurrentKibiByte(" % .1f")
	}
	bar := p.AddBar(total, mpb.PrependDecorators(decor.Name(printable(name)+" ")),
		mpb.AppendDecorators(count, decor.AverageSpeed(decor.SizeB1024(0), "  % .1f")))
	return writerFunc(func(b []byte) (int, error) {
			n, err := out.Write(b)
			bar.IncrBy(n)
			return n, err
		}), func() {
			bar.SetTotal(bar.Current(), true)
			p.Wait()
		}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func writeArchive(w io.Writer, from archive) error {
	t := tar.NewWriter(w)
	for _, jsons := range []bool{true, false} {
		err := from.each(func(name string, size int64, r io.Reader) error {
			if isJSON(name) != jsons {
				return nil
			}
			if err := t.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
				return err
			}
			if _, err := io.Copy(t, r); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return t.Close()
}

func openArchive(path string) (archive, error) {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case st.IsDir():
		return folder(path + string(filepath.Separator)), nil // with it a link to a folder is followed
	case st.Mode().IsRegular():
		return tarFile(path), nil
	}
	return nil, fmt.Errorf("%s is neither a folder nor a tar archive", path)
}
