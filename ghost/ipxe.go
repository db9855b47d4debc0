package ghost

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// target is what a boot script decided.
type target struct {
	disk    bool // boot from the local disk
	args    []string
	kernel  string
	initrds []string
}

// errDiffers is the outcome of a comparison.
var errDiffers = errors.New("not the same")

// errExit is how an iPXE script ends without booting anything.
var errExit = errors.New("exit")

// ipxe runs the script that the lease names, as iPXE does.
func (r *run) ipxe(ctx context.Context, c client) (target, error) {
	s := &script{run: r, settings: r.settings(c)}
	var text string
	err := r.step(StageLoader, func() (detail string, err error) {
		if !strings.HasPrefix(r.lease.bootFile, "http") {
			return "", fmt.Errorf("iPXE is told to load %q; it should get the URL of a script", orNone(r.lease.bootFile))
		}
		text, err = s.load(ctx, r.lease.bootFile)
		return "iPXE runs " + r.lease.bootFile, err
	})
	if err != nil {
		return target{}, err
	}
	started := time.Now()
	err = s.play(ctx, text)
	if err == nil && s.disk {
		return target{disk: true}, nil
	}
	detail := fmt.Sprintf("%s and %d initramfs by HTTP, %s", base(s.kernel), len(s.initrds), size(s.bytes))
	r.report(Step{Node: r.Name, Stage: StageKernel, Detail: detail, At: started, Took: time.Since(started), Err: err})
	if err != nil {
		return target{}, fmt.Errorf("%s: %s: %w", r.Name, StageKernel, err)
	}
	return target{kernel: s.kernel, initrds: s.initrds, args: s.args}, nil
}

// settings are iPXE's, as far as boot scripts read them.
func (r *run) settings(c client) map[string]string {
	mac := r.MAC.String()
	platform, arch := "pcbios", "x86_64"
	if c.arch != 0 {
		platform = "efi"
	}
	return map[string]string{
		"mac": mac, "mac:hexhyp": strings.ReplaceAll(mac, ":", "-"), "mac:hexraw": strings.ReplaceAll(mac, ":", ""),
		"ip": r.lease.prefix.Addr().String(), "next-server": r.lease.next.String(), "hostname": r.lease.host,
		"domain": r.lease.domain, "platform": platform, "buildarch": arch,
	}
}

// script plays an iPXE script (ipxe.org/scripting).
type script struct {
	*run
	settings map[string]string
	here     *url.URL // of the script: what relative names start from

	kernel  string
	args    []string
	initrds []string
	bytes   int64
	disk    bool
	// forgiven is the last failure that the script has an answer to: why it waits, when it does.
	forgiven error
}

func (s *script) load(ctx context.Context, location string) (string, error) {
	u, err := url.Parse(location)
	if err != nil {
		return "", err
	}
	b, err := s.get(ctx, agentIPXE, location, true)
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(string(b.text), "#!ipxe") {
		return "", fmt.Errorf("%s is no iPXE script: it does not begin with #!ipxe", location)
	}
	s.here = u
	return string(b.text), nil
}

// play runs the lines of text until it boots, exits or fails.
func (s *script) play(ctx context.Context, text string) error {
	lines := strings.Split(text, "\n")
	for i, steps := 0, 0; i < len(lines); i++ {
		if steps++; steps > 1000 {
			return errors.New("the boot script runs in a circle")
		}
		jump, booted, err := s.line(ctx, lines[i])
		switch {
		case errors.Is(err, errExit):
			s.disk = true // firmware goes on with its next boot device
			return nil
		case err != nil && s.forgiven != nil:
			return fmt.Errorf("boot script line %d: %w; before that: %w", i+1, err, s.forgiven)
		case err != nil:
			return fmt.Errorf("boot script line %d: %w", i+1, err)
		case booted:
			return nil
		case jump != "":
			if i = labelLine(lines, jump); i < 0 {
				return fmt.Errorf("boot script: no label %q", jump)
			}
		}
	}
	s.disk = true
	return nil
}

func labelLine(lines []string, label string) int {
	for i, l := range lines {
		if strings.TrimSpace(l) == ":"+label {
			return i
		}
	}
	return -1
}

// line runs commands joined by || and &&, each on the outcome of the one
// before. An empty command succeeds: "command ||" forgives a failure.
func (s *script) line(ctx context.Context, line string) (jump string, booted bool, err error) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' || line[0] == ':' {
		return "", false, nil
	}
	var words []string
	operator := "&&"
	for _, w := range append(strings.Fields(line), "") {
		if w != "||" && w != "&&" && w != "" {
			words = append(words, w)
			continue
		}
		if (err == nil) == (operator == "&&") {
			jump, booted, err = s.command(ctx, s.expandAll(words))
			if jump != "" || booted || errors.Is(err, errExit) || ctx.Err() != nil {
				return jump, booted, err
			}
		}
		if err != nil && w == "||" {
			s.forgive(err)
		}
		operator, words = w, nil
	}
	return "", false, err
}

// forgive notes and reports a failure that the script goes on after. A
// comparison that does not hold is none.
func (s *script) forgive(err error) {
	if errors.Is(err, errDiffers) || s.forgiven != nil && s.forgiven.Error() == err.Error() {
		return
	}
	s.forgiven = err
	s.report(Step{Node: s.Name, Stage: StageLoader, Detail: "waits: " + err.Error(), At: time.Now()})
}

func (s *script) expandAll(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = s.expand(w)
	}
	return out
}

// expand replaces ${name}, innermost first. An unknown setting is empty, as in
// iPXE. Values may make new names, so the number of rounds is bounded.
func (s *script) expand(word string) string {
	for range 100 {
		i := strings.LastIndex(word, "${")
		if i < 0 {
			return word
		}
		end := strings.IndexByte(word[i:], '}')
		if end < 0 {
			return word
		}
		name := word[i+2 : i+end]
		if _, rest, ok := strings.Cut(name, "/"); ok && strings.HasPrefix(name, "net") {
			name = rest
		}
		word = word[:i] + s.settings[name] + word[i+end+1:]
	}
	return word
}

func (s *script) command(ctx context.Context, w []string) (jump string, booted bool, err error) {
	arg := func(i int) string {
		if i < len(w) {
			return w[i]
		}
		return ""
	}
	switch arg(0) {
	case "":
	case "kernel":
		var uri string
		if uri, s.args = positional(w[1:]); uri == "" {
			return "", false, errors.New("kernel without a URL")
		}
		s.kernel, err = s.fetch(ctx, uri)
	case "initrd", "module":
		uri, _ := positional(w[1:])
		uri, err = s.fetch(ctx, uri)
		s.initrds = append(s.initrds, uri)
	case "imgargs":
		s.args = w[min(2, len(w)):]
	case "imgfree":
		s.kernel, s.args, s.initrds = "", nil, nil
	case "boot":
		if s.kernel == "" {
			return "", false, errors.New("boot without a kernel")
		}
		return "", true, nil
	case "chain":
		uri, _ := positional(w[1:])
		var text string
		if text, err = s.load(ctx, s.resolve(uri)); err == nil {
			return "", true, s.play(ctx, text)
		}
	case "sanboot", "exit":
		return "", false, errExit
	case "goto":
		return arg(1), false, nil
	case "set":
		s.settings[arg(1)] = strings.Join(w[min(2, len(w)):], " ")
	case "iseq":
		if arg(1) != arg(2) {
			err = errDiffers
		}
	case "isset":
		if arg(1) == "" {
			err = errDiffers
		}
	case "shell", "config", "login":
		err = fmt.Errorf("%s waits for a person", w[0])
	case "poweroff", "reboot":
		err = fmt.Errorf("the script says %s", w[0])
	case "sleep":
		err = sleep(ctx, arg(1))
	case "echo", "prompt", "clear", "dhcp", "ifopen", "ifconf", "imgstat", "cpuid", "console", "imgtrust":
	default:
		err = fmt.Errorf("%s: no such command", w[0])
	}
	return "", false, err
}

func sleep(ctx context.Context, seconds string) error {
	n, err := strconv.ParseUint(seconds, 10, 16)
	if err != nil {
		return fmt.Errorf("sleep %q", seconds)
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Duration(n) * time.Second):
		return nil
	}
}

// positional splits options off a command: its first word that is no option, and the rest.
func positional(w []string) (first string, rest []string) {
	for i := 0; i < len(w); i++ {
		switch {
		case w[i] == "-n" || w[i] == "--name" || w[i] == "-t" || w[i] == "--timeout":
			i++
		case strings.HasPrefix(w[i], "-"):
		default:
			return w[i], w[i+1:]
		}
	}
	return "", nil
}

func (s *script) resolve(uri string) string {
	u, err := s.here.Parse(uri)
	if err != nil {
		return uri
	}
	return u.String()
}

// fetch downloads an image and gives its full URL.
func (s *script) fetch(ctx context.Context, uri string) (string, error) {
	uri = s.resolve(uri)
	b, err := s.get(ctx, agentIPXE, uri, false)
	if err != nil {
		return uri, err
	}
	if b.bytes == 0 {
		return uri, fmt.Errorf("%s is empty", uri)
	}
	s.bytes += b.bytes
	return uri, nil
}
