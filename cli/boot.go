package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"helperd/boot"
	"helperd/plan"
)

// parmArch is the architecture that boots from a parameter file and not from the network.
const parmArch = "s390x"

func (a *app) bootCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "boot",
		Short: "Show what nodes boot from",
		Args:  noArgs,
	}
	c.AddCommand(bootRenderCmd())
	return c
}

// rendering is what the flags of `boot render` say.
type rendering struct {
	config  string
	kinds   map[string]*bool
	columns int
}

func bootRenderCmd() *cobra.Command {
	r := rendering{kinds: map[string]*bool{}}
	c := &cobra.Command{
		Use:   "render NODE",
		Short: "Write the boot file of a node, as it follows from the configuration file",
		Long: "Write what installs a node: the script or configuration of a boot loader, or the\n" +
			"parameter file of a machine of IBM Z, which goes beside kernel and initramfs on the\n" +
			"virtual reader of z/VM, or with --columns 0 into an LPAR. It needs no daemon, and has\n" +
			"no ignition token: the daemon puts one into the files that it gives to nodes.",
		Args: func(_ *cobra.Command, args []string) error {
			if n := len(r.chosen()); n > 1 {
				return fmt.Errorf("%s are given; write one of them", "--"+strings.Join(r.chosen(), " and --"))
			}
			return oneArg("NODE")(nil, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			p, err := loadPlan(r.config, c.ErrOrStderr())
			if err != nil {
				return err
			}
			return r.write(c.OutOrStdout(), c.ErrOrStderr(), p, args[0])
		},
	}
	f := c.Flags()
	f.StringVar(&r.config, "config", defaultConfig, "configuration `FILE`")
	for _, k := range []struct{ name, usage string }{
		{"ipxe", "iPXE script (default for x86_64 and aarch64)"},
		{"grub", "GRUB configuration (default for ppc64le)"},
		{"pxelinux", "PXELINUX configuration, for petitboot too"},
		{parmArch, "parameter file of IBM Z (default for s390x)"},
	} {
		r.kinds[k.name] = f.Bool(k.name, false, k.usage)
	}
	f.IntVar(&r.columns, "columns", boot.CardColumns, "of a parameter file's lines; 0: all in one line, for an LPAR")
	return c
}

// chosen are the kinds that are asked for, in the order of the alphabet.
func (r *rendering) chosen() []string {
	var out []string
	for name, on := range r.kinds {
		if *on {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// kind of file that n is to have.
func (r *rendering) kind(n *plan.Node) (string, error) {
	chosen := r.chosen()
	switch {
	case len(chosen) == 0 && n.Arch == "ppc64le":
		return "grub", nil
	case len(chosen) == 0 && n.Arch == parmArch:
		return parmArch, nil
	case len(chosen) == 0:
		return "ipxe", nil
	case (chosen[0] == parmArch) != (n.Arch == parmArch):
		return "", fmt.Errorf("node %s has arch %s, and --%s is not for it", n.Name, n.Arch, chosen[0])
	}
	return chosen[0], nil
}

func (r *rendering) write(out, notes io.Writer, p *plan.Plan, name string) error {
	n := p.NodeByName(name)
	switch {
	case n == nil:
		return fmt.Errorf("%s has no node %q, or more than one cluster has: write its full name, such as master-0.ocp4.example.com", r.config, name)
	case n.Boot == nil && len(p.Streams) > 0:
		return fmt.Errorf("node %s: what it boots is in a stream that could not be read here; save the stream JSON in a file of this machine and write stream: {file: ...}", n.Name)
	case n.Boot == nil:
		return fmt.Errorf("node %s boots nothing from here; write artifacts: at its cluster", n.Name)
	}
	kind, err := r.kind(n)
	if err != nil {
		return err
	}
	var text []byte
	switch kind {
	case "grub":
		text = boot.GRUB(n, boot.Options{})
	case "pxelinux":
		text = boot.PXELINUX(n, boot.Options{})
	case parmArch:
		if text, err = r.parm(notes, n); err != nil {
			return err
		}
	default:
		text = boot.IPXE(n, boot.Options{})
	}
	_, err = out.Write(text)
	return err
}

// parm is the parameter file of n; what there is to say about it goes to notes.
func (r *rendering) parm(notes io.Writer, n *plan.Node) ([]byte, error) {
	if r.columns < 0 || r.columns > 0 && r.columns < 20 {
		return nil, errors.New("--columns is 20 or more, or 0 for one line")
	}
	text := boot.Parm(n, boot.Options{}, r.columns)
	_, _ = fmt.Fprintf(notes, "start %s with %s%s and %s%s\n", n.Name, n.Boot.BaseURL, n.Boot.Kernel, n.Boot.BaseURL, n.Boot.Initramfs)
	if size := boot.ParmSize(text, r.columns); size > boot.MaxParm {
		_, _ = fmt.Fprintf(notes, "the file takes %d bytes in memory, and older kernels read %d; make kernel_args shorter if the end is missing from /proc/cmdline\n", size, boot.MaxParm)
	}
	return text, nil
}
