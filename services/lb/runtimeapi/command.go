package runtimeapi

import (
	"fmt"
	"slices"
	"strings"
)

// A command is one that clients may send.
type command struct {
	words string // "set server"
	usage string // of its arguments
	help  string
	admin bool // changes something
	run   func(c *client, args []string)
}

// commands are all there are, in the order of help.
func commands() []command {
	return []command{
		{"clear counters", "[all]", "clear max statistics counters (or all counters)", true, clearCounters},
		{"disable frontend", "<frontend>", "temporarily disable specific frontend", true, pauseFrontend(true)},
		{"disable agent", "<bk>/<srv>", "disable agent checks: there are none", true, agent(false)},
		{"disable health", "<bk>/<srv>", "suspend the checks of a server", true, checking(false)},
		{"disable server", "<bk>/<srv>", "disable a server for maintenance (use 'set server' instead)", true, enableServer(false)},
		{"enable frontend", "<frontend>", "re-enable specific frontend", true, pauseFrontend(false)},
		{"enable agent", "<bk>/<srv>", "enable agent checks: there are none", true, agent(true)},
		{"enable health", "<bk>/<srv>", "take up the checks of a server again", true, checking(true)},
		{"enable server", "<bk>/<srv>", "enable a disabled server (use 'set server' instead)", true, enableServer(true)},
		{"get weight", "<bk>/<srv>", "report a server's current weight", false, getWeight},
		{"set maxconn frontend", "<frontend> <value>", "change a frontend's maxconn setting", true, limitFrontend},
		{"set maxconn global", "<value>", "change the per-process maxconn setting", true, limitAll},
		{"set maxconn server", "<bk>/<srv> <value>", "change a server's maxconn setting", true, limitServer},
		{"set server", "<bk>/<srv> [opts]", "change a server's state, weight or health", true, setServer},
		{"set severity-output", "[none|number|string]", "set presence of severity level in feedback information", false, setSeverity},
		{"set timeout", "cli <delay>", "change a timeout setting", false, setTimeout},
		{"set weight", "<bk>/<srv> <weight>", "change a server's weight (use 'set server' instead)", true, setWeight},
		{"show activity", "", "show activity stats", false, showActivity},
		{"show backend", "", "list backends in the current running config", false, showBackend},
		{"show cli level", "", "display the level of the current CLI session", false, showLevel},
		{"show cli sockets", "", "dump list of cli sockets", false, showSockets},
		{"show errors", "", "report last request and/or response errors for each proxy", false, showErrors},
		{"show events", "[<sink>]", "show event sink state", false, showEvents},
		{"show info", "[desc|json|typed|float]*", "report information about the running process", false, showInfo},
		{"show pools", "", "report information about the memory usage", false, showPools},
		{"show servers conn", "[<backend>]", "dump server connections status (all or for a single backend)", false, showServersConn},
		{"show servers state", "[<backend>]", "dump volatile server information (all or for a single backend)", false, showServersState},
		{"show sess", "[id|all]", "report the list of current sessions or dump this exact session", false, showSessions},
		{"show stat", "[desc|json|no-maint|typed|up]*", "report counters for each proxy and server", false, showStat},
		{"show table", "", "report table usage stats: there are no tables", false, showTable},
		{"show version", "", "show version of the current process", false, showVersion},
		{"shutdown session", "[id]", "kill a specific session", true, shutdownSession},
		{"shutdown sessions server", "<bk>/<srv>", "kill sessions on a server", true, shutdownServer},
		{"operator", "", "lower the level of the current CLI session to operator", false, lower("operator")},
		{"user", "", "lower the level of the current CLI session to user", false, lower("user")},
		{"help", "[<command>]", "list matching or all commands", false, help},
		{"prompt", "", "toggle interactive mode with prompt", false, prompt},
		{"quit", "", "disconnect", false, quit},
	}
}

// ofTheFile begin commands of HAProxy that contradict the one file, or
// work on what only the file has.
var ofTheFile = []string{
	"add server", "del server", "shutdown frontend", "set rate-limit", "set dynamic-cookie-key", "enable dynamic-cookie", "disable dynamic-cookie",
	"add map", "clear map", "commit map", "del map", "get map", "prepare map", "set map", "show map",
	"add acl", "clear acl", "commit acl", "del acl", "get acl", "prepare acl", "show acl",
	"add ssl", "abort ssl", "commit ssl", "del ssl", "dump ssl", "new ssl", "set ssl", "show ssl", "update ssl",
	"set table", "acme", "reload",
}

// inTheFile says where to do what cannot be done here.
const inTheFile = "is not done here: helperd's configuration file is the place. It is read as soon as it is saved, and no connection is lost."

// execute runs one command. An unknown one is answered with those there are.
func (c *client) execute(words []string) {
	if len(words) > 0 && words[0] == "@1" { // how a client of the master socket names its worker
		words = words[1:]
	}
	for _, k := range commands() {
		args, ok := after(words, k.words)
		switch {
		case !ok:
		case k.admin && c.level != "admin":
			c.fail("Permission denied")
			return
		default:
			k.run(c, args)
			return
		}
	}
	for _, w := range ofTheFile {
		if _, ok := after(words, w); ok {
			c.fail(fmt.Sprintf("'%s' %s", w, inTheFile))
			return
		}
	}
	if len(words) == 0 {
		c.say(info, "Unknown command. Please enter one of the following commands only:\n"+list(commands()))
		return
	}
	c.say(info, "Unknown command, but maybe one of the following ones is a better match:\n"+list(matching(words)))
}

// after gives the words behind those of a command.
func after(words []string, command string) (args []string, ok bool) {
	for w := range strings.FieldsSeq(command) {
		if len(words) == 0 || words[0] != w {
			return nil, false
		}
		words = words[1:]
	}
	return words, true
}

// matching gives the commands that begin as words do, else those with their first word, else all.
func matching(words []string) []command {
	var whole, first []command
	for _, k := range commands() {
		if f := strings.Fields(k.words); len(words) > 0 && f[0] == words[0] {
			first = append(first, k)
			if n := min(len(f), len(words)); slices.Equal(f[:n], words[:n]) {
				whole = append(whole, k)
			}
		}
	}
	switch {
	case whole != nil:
		return whole
	case first != nil:
		return first
	}
	return commands()
}

// list is a line for each command, and at the end those that always are there.
func list(ks []command) string {
	var b strings.Builder
	for _, k := range commands() {
		always := k.words == "help" || k.words == "prompt" || k.words == "quit"
		if always || slices.ContainsFunc(ks, func(in command) bool { return in.words == k.words }) {
			fmt.Fprintf(&b, "  %-40s: %s\n", strings.TrimSpace(k.words+" "+k.usage), k.help)
		}
	}
	return b.String()
}

func help(c *client, args []string) {
	c.say(info, "The following commands are valid at this level:\n"+list(matching(args)))
}

// split cuts a line into commands and those into words. A backslash takes the meaning from
// a blank, a semicolon or a backslash behind it.
func split(line string) (parts [][]string) {
	var words []string
	var word strings.Builder
	inside := false
	end := func() {
		if inside {
			words = append(words, word.String())
			word.Reset()
			inside = false
		}
	}
	for i := 0; i < len(line); i++ {
		switch b := line[i]; {
		case b == '\\' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
			inside = true
		case b == ' ' || b == '\t' || b == '\r':
			end()
		case b == ';':
			end()
			parts, words = append(parts, words), nil
		default:
			word.WriteByte(b)
			inside = true
		}
	}
	end()
	if words != nil || len(parts) == 0 {
		parts = append(parts, words)
	}
	return parts
}
