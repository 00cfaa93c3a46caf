package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cluster"
	"scomconnector/cluster/datadir"
	"scomconnector/cmd/daemon"
	"scomconnector/cmd/journal"
	"scomconnector/cmd/service"
	"scomconnector/cmd/settings"
)

// defaultNodeFile is where a node's settings are without --node.
func defaultNodeFile() string {
	if runtime.GOOS == "windows" {
		return filepath.Join(os.Getenv("ProgramData"), "scomconnector", "node.json")
	}
	return "/etc/scomconnector/node.json"
}

// files are the two flags that most commands share.
type files struct{ node, cluster string }

func (f *files) complete() {
	if f.node == "" {
		f.node = defaultNodeFile()
	}
	if f.cluster == "" {
		f.cluster = filepath.Join(filepath.Dir(f.node), settings.ClusterFileName)
	}
	// Messages name the file so that it can be found, whatever folder the reader is in.
	if abs, err := filepath.Abs(f.cluster); err == nil {
		f.cluster = abs
	}
}

const helpRun = `Runs this node until SIGINT or SIGTERM; then it finishes the batch in flight, hands leadership
over and stops within 10 seconds. A second signal ends it at once.

  --node FILE     this node's settings (default /etc/scomconnector/node.json,
                  on Windows %ProgramData%\scomconnector\node.json)
  --config FILE   the cluster's settings (default SCOMConnectorConfig.json beside node.json);
                  the Primary's file seeds the cluster, from then on its copy is replicated

Held by systemd it says when it serves, how it fares, and that it is alive; held by Windows' service manager a stop and
a shutdown end it as SIGTERM does. As a service it logs to DataDir/logs unless node.json names a Log.File.

example: scomconnector run --node /etc/scomconnector/node.json
`

func runNode(t terminal, args []string) error {
	var f files
	fs := flags("run")
	fs.StringVar(&f.node, "node", "", "")
	fs.StringVar(&f.cluster, "config", "", "")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	f.complete()
	return service.Hold(func(ctx context.Context, s service.Supervisor) error { return f.run(ctx, t, s) })
}

// run runs the node until ctx ends or a signal comes.
func (f files) run(ctx context.Context, t terminal, s service.Supervisor) error {
	opts, err := loadOptions(f)
	if err != nil {
		return err
	}
	if service.Held() && opts.Node.Log.File == "" {
		opts.Node.Log.File = filepath.Join(opts.Node.DataDir, "logs", "scomconnector.log")
		fmt.Fprintf(t.err, "the log is in %s\n", opts.Node.Log.File) // for the journal
	}
	if service.Held() && runtime.GOOS == "windows" {
		opts.Node.Log.EventLog = true
	}
	log, err := openLog(opts.Node, t.err)
	if err != nil {
		return startHint(err)
	}
	defer closeLog(t, log)
	opts.Log, opts.Audit, opts.Levels, opts.Supervisor = log.Logger(), log.Audit(), log, s
	if file := opts.Node.Log.File; file != "" {
		if err := journal.KeepCrashes(filepath.Dir(file)); err != nil {
			opts.Log.Warn("a crash would leave no stack beside the log", "error", err)
		}
	}
	ctx, stop := untilSignal(ctx, opts.Log)
	defer stop()
	if err := daemon.Run(ctx, opts); err != nil {
		if opts.Node.Log.File != "" { // elsewhere the error's own line is the last of the log
			opts.Log.Error("stopped", "error", err, "fatal", true)
		}
		return startHint(err)
	}
	return nil
}

func closeLog(t terminal, log *journal.Journal) {
	if err := log.Close(); err != nil {
		fmt.Fprintln(t.err, "close the log:", err)
	}
}

// startHint adds what to do where the error is one that every operator meets some day.
func startHint(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaAddrInUse) {
		return hinted{err, "another program, or this node itself, listens there already: stop it, or change that address in node.json"}
	}
	if errors.Is(err, datadir.ErrInUse) {
		return hinted{err, "scomconnector service stop stops the node that runs as a service; a second node needs a DataDir of its own"}
	}
	if _, is := errors.AsType[*datadir.Foreign](err); is {
		return hinted{err, "a node takes no other's data, nor a copy of it: give this one a folder of its own, and an empty one is filled by the others"}
	}
	if _, is := errors.AsType[*fs.PathError](err); is && (errors.Is(err, fs.ErrPermission) || errors.Is(err, datadir.ErrReadOnly)) {
		return hinted{err, ownerHint(runtime.GOOS, service.Held())}
	}
	return err
}

// ownerHint is for a file that this account may not use, as a rule one that an administrator has put there since the installation.
func ownerHint(system string, held bool) string {
	switch {
	case system == "windows":
		return "give the account that runs scomconnector access to it (icacls shows who has it)"
	case held:
		return "sudo scomconnector service install, with the flags of the first time, makes what is missing and gives all of the node's files to the service's account again"
	}
	return "run it as the account that the node's files belong to, or with sudo; a service is started by scomconnector service start"
}

// wsaAddrInUse is what Windows says where others say EADDRINUSE.
const wsaAddrInUse = syscall.Errno(10048)

// loadOptions reads both files and reports all that is wrong with either.
func loadOptions(f files) (daemon.Options, error) {
	node, nodeFaults := settings.LoadNode(f.node)
	var all []string
	if err := nodeFaults.Err(); err != nil {
		all = append(all, err.Error())
	}
	opts := daemon.Options{Node: node, ClusterFile: f.cluster, Version: version}
	text, err := os.ReadFile(f.cluster)
	switch {
	case node.Role == cluster.Witness: // it polls and posts nothing, and gets no secrets
	case errors.Is(err, os.ErrNotExist): // the cluster may have settings already
	case err != nil:
		all = append(all, err.Error())
	default:
		opts.ClusterText = text
		if _, faults := settings.ParseCluster(f.cluster, text, settings.Options{Dir: filepath.Dir(f.node)}); len(faults) > 0 {
			all = append(all, faults.Error())
		}
	}
	if len(all) > 0 {
		hint := "scomconnector check shows all of this, and warnings, without starting anything"
		if f.forbidden() { // an administrator's check would find nothing
			hint = ownerHint(runtime.GOOS, service.Held())
		}
		return opts, hinted{fmt.Errorf("the settings are not usable:\n%s", strings.Join(all, "\n")), hint}
	}
	return opts, nil
}

// forbidden reports whether this account may not read one of the two.
func (f files) forbidden() bool {
	return slices.ContainsFunc([]string{f.node, f.cluster}, func(path string) bool {
		file, err := os.Open(path)
		if err == nil {
			file.Close()
		}
		return errors.Is(err, fs.ErrPermission)
	})
}

// openLog begins the log that node.json asks for; console is used where no file is named.
func openLog(node *settings.Node, console io.Writer) (*journal.Journal, error) {
	l := node.Log
	return journal.Open(journal.Config{
		Level: l.Level, Format: l.Format, File: l.File, MaxSizeMB: l.MaxSizeMB, MaxBackups: l.MaxBackups, EventLog: l.EventLog,
	}, console)
}

// untilSignal is a context that ends with the first SIGINT or SIGTERM; the second ends the process.
func untilSignal(ctx context.Context, log hclog.Logger) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		for i := 0; ; i++ {
			select {
			case s := <-signals:
				if i > 0 {
					log.Warn("second signal, ending at once", "signal", s.String())
					os.Exit(exitFail)
				}
				log.Info("stopping", "signal", s.String())
				cancel()
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}
