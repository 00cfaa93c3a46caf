// Command scomconnector carries alerts from Microsoft SCOM to Moogsoft. One binary holds the node,
// the tools that make and check its files, and a demonstration with simulators on both sides.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	_ "time/tzdata" // the world's time zones, where the system has none: Windows, images with nothing else in them

	_ "golang.org/x/crypto/x509roots/fallback" // the web's authorities, where the system has none
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version = "dev"

func main() { os.Exit(dispatch(os.Args[1:], terminal{os.Stdin, os.Stdout, os.Stderr})) }

// Exit codes, the same for every command.
const (
	exitOK    = 0
	exitFail  = 1 // it did not work; invalid settings too
	exitUsage = 2 // wrong flags
)

// terminal is where a command reads and writes; tests give their own.
type terminal struct {
	in       io.Reader
	out, err io.Writer
}

// command is one subcommand. run gets the arguments behind its name.
type command struct {
	name, args, short string
	run               func(t terminal, args []string) error
	help              string // flags and an example
}

// commands in the order of --help. A function, since the help command lists them.
func commands() []command {
	return []command{
		{"run", "[--node FILE] [--config FILE]", "run this node until it is told to stop", runNode, helpRun},
		{"demo", "[--storm N] [--for TIME]", "show it working: simulated SCOM and LAM, a three-node cluster", runDemo, helpDemo},
		{"init", "--primary HOST --scom HOST --lam URL --out DIR", "write ready-to-copy files for each node", runInit, helpInit},
		{"check", "[--node FILE] [--config FILE] [--json]", "read both settings files and say all that is wrong", runCheck, helpCheck},
		{"doctor", "[--node FILE] [--config FILE] [--probe-lam] [--probe-write ID]", "look at every hop between SCOM and Moogsoft, and say what to do", runDoctor, helpDoctor},
		{"cert", "ca|issue|renew|show [flags]", "certificates between the nodes: make, renew, show", runCert, helpCert},
		{"config", "show|diff|apply|rollback|import [flags]", "the settings that the cluster shares: see, change, undo", runConfig, helpConfig},
		{"outbox", "[--settled] [flags]", "close requests from Moogsoft: who asked what, and where it stands", runOutbox, helpOutbox},
		{"parked", "list|show|retry|remove [KEY] [flags]", "what was refused for good: look at it, try it again, remove it", runParked, helpParked},
		{"cursors", "show|rewind [PIPELINE] --to TIME [flags]", "how far each pipeline has delivered; deliver again from a time on", runCursors, helpCursors},
		{"reconcile", "confirm [flags]", "say that alerts which vanished from SCOM are really gone", runReconcile, helpReconcile},
		{"status", "[--url URL] [--json]", "what a running node says of itself and the cluster", runStatus, helpStatus},
		{"members", "[remove ID] [flags]", "the nodes of the cluster; drop one", runMembers, helpMembers},
		{"maintenance", "[show] | enter [NODE] | leave [NODE] [flags]", "have a node lead no more, so that it may be stopped", runMaintenance, helpMaintenance},
		{"transfer", "[--to NODE] [--force]", "have another node lead", runTransfer, helpTransfer},
		{"takeover", "[--force] [--yes]", "lead although the other nodes are gone", runTakeover, helpTakeover},
		{"migrate", "--to etcd|raft [--node FILE] [--force] [--yes]", "carry a stopped cluster's state to an etcd, or back", runMigrate, helpMigrate},
		{"log-level", "[LEVEL] [flags]", "how much a node logs; change it while it runs", runLogLevel, helpLogLevel},
		{"secret", "keygen|seal [--node FILE] [--for KEY]", "seal passwords, so that the settings may show them to anybody", runSecret, helpSecret},
		{"service", "install|uninstall|start|stop [flags]", "have the operating system hold this node", runService, helpService},
		{"upgrade-check", "[--to VERSION] [flags]", "which node to upgrade next, so that nothing is interrupted", runUpgradeCheck, helpUpgrade},
		{"version", "[--json]", "print the version", runVersion, helpVersion},
	}
}

// usageError makes the process exit 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// hinted is an error that knows what to do about it.
type hinted struct {
	err  error
	hint string
}

func (h hinted) Error() string { return h.err.Error() }
func (h hinted) Unwrap() error { return h.err }

// reported says that the command has already printed everything; only the exit code is left.
var errReported = errors.New("already reported")

func dispatch(args []string, t terminal) int {
	if len(args) == 0 || args[0] == "help" && len(args) == 1 || args[0] == "-h" || args[0] == "--help" {
		usage(t.out)
		if len(args) == 0 {
			return exitUsage
		}
		return exitOK
	}
	name, rest := args[0], args[1:]
	if name == "help" {
		name, rest = args[1], []string{"--help"}
	}
	if name == "--version" {
		name = "version"
	}
	for _, c := range commands() {
		if c.name == name {
			return report(t, c, c.run(t, rest))
		}
	}
	fmt.Fprintf(t.err, "error: there is no command %q\nhint: scomconnector --help lists them all\n", name)
	return exitUsage
}

// report is the one place that prints errors for people.
func report(t terminal, c command, err error) int {
	var use usageError
	var hint hinted
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(t.out, "usage: %s\n\n%s", strings.TrimSpace("scomconnector "+c.name+" "+c.args), c.help)
		return exitOK
	case errors.Is(err, errReported):
		return exitFail
	case errors.As(err, &use):
		fmt.Fprintf(t.err, "error: %v\nhint: scomconnector %s --help\n", use.err, c.name)
		return exitUsage
	case errors.As(err, &hint):
		fmt.Fprintf(t.err, "error: %v\nhint: %s\n", err, hint.hint)
		return exitFail
	}
	fmt.Fprintf(t.err, "error: %v\n", err)
	return exitFail
}

func usage(w io.Writer) {
	fmt.Fprint(w, `scomconnector carries alerts from Microsoft SCOM to Moogsoft, and loses none.

usage: scomconnector COMMAND [flags]

`)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-13s %s\n", c.name, c.short)
	}
	fmt.Fprint(w, `
scomconnector COMMAND --help shows its flags and an example.
exit code: 0 fine, 1 failed (invalid settings too), 2 wrong flags
`)
}

// flags makes a flag set that reports through report instead of printing by itself.
func flags(name string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	return fs
}

// parse reads the flags; positional arguments beyond max are refused.
func parse(fs *flag.FlagSet, args []string, max int) error {
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{plainFlagError(err)}
	}
	if fs.NArg() > max {
		return usageError{fmt.Errorf("unexpected argument %q", fs.Arg(max))}
	}
	return nil
}

// plainFlagError says it in our words: package flag writes one hyphen where we write two, and calls an
// undefined flag what its author sees in it. Its errors have no types, so only the text can be turned; what
// is not recognised is shown as it is.
func plainFlagError(err error) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		return fmt.Errorf("there is no flag --%s", strings.TrimPrefix(name, "-"))
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return fmt.Errorf("--%s needs a value behind it", strings.TrimPrefix(name, "-"))
	}
	if rest, ok := strings.CutPrefix(text, "invalid value "); ok {
		if value, rest, ok := strings.Cut(rest, " for flag -"); ok {
			if name, why, ok := strings.Cut(rest, ": "); ok {
				return fmt.Errorf("--%s %s: %s", name, value, why)
			}
		}
	}
	return err
}

// list is a flag that may be given several times, or once with commas.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }
func (l *list) Set(s string) error {
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			*l = append(*l, part)
		}
	}
	return nil
}

const helpVersion = `Prints the program's version, the Go version it was built with, and its platform.

  --json   the same as JSON

example: scomconnector version
`

func runVersion(t terminal, args []string) error {
	fs := flags("version")
	asJSON := fs.Bool("json", false, "")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	if *asJSON {
		return printJSON(t, map[string]string{"version": version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
	}
	fmt.Fprintf(t.out, "scomconnector %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
