package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"helperd/artifacts"
	"helperd/config"
	"helperd/plan"
)

func (a *app) checkCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Say all that is wrong with a configuration file; needs no root, no network and no daemon",
		Args:  oneArg("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			_, err := loadPlan(args[0], c.ErrOrStderr())
			return err
		},
	}
}

// loadPlan reads and compiles a file. It writes what is to be said about it to
// w, one a line as FILE:line:col: message, and gives an error only when the file is not fit.
func loadPlan(path string, w io.Writer) (*plan.Plan, error) {
	b, err := readConfig(path)
	if err != nil {
		return nil, err
	}
	cfg, diags := config.Load(b)
	var p *plan.Plan
	if !diags.HasErrors() {
		var more config.Diagnostics
		p, more = plan.Compile(cfg, plan.Facts{Serial: 1, Streams: localStreams(cfg)})
		diags = append(diags, more...)
	}
	for _, d := range diags.Sort() {
		_, _ = fmt.Fprintf(w, "%s:%s\n", path, d)
	}
	if diags.HasErrors() {
		return nil, &ExitError{Code: exitInvalid}
	}
	return p, nil
}

// localStreams reads the stream JSONs that are files of this machine.
func localStreams(cfg *config.Config) map[plan.Origin]plan.StreamFact {
	facts := map[plan.Origin]plan.StreamFact{}
	for _, src := range plan.StreamSources(cfg) {
		if src.File == "" {
			continue
		}
		stream, err := artifacts.ReadStream(src.File)
		fact := plan.StreamFact{Stream: stream}
		if err != nil {
			fact.Problem = err.Error()
		}
		facts[src] = fact
	}
	return facts
}

func readConfig(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, config.MaxSize+1)) // one more, so that Load sees that it is too long
}
