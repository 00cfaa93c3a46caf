package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/term"

	"scomconnector/cmd/doctor"
	"scomconnector/cmd/settings"
	"scomconnector/poller/alert"
)

const helpDoctor = `Looks at every hop between SCOM and Moogsoft from this machine, a line for each: what was seen and what to do. Names, TCP,
TLS with the days that certificates have left, log-on, rights, SCOM's version as far as it shows, clocks, a poll of
the last hour, each LAM, the other nodes, an etcd that decides between them, the disk. Works beside a running node, which
is asked for what only the cluster knows, and without one. Takes at most two minutes.

It changes nothing: one log-on for each web console, none while the cluster leaves a refused account alone; nothing is
posted. What was not tried is called "not tried".

  --node FILE         this node's settings, as for run
  --config FILE       the cluster's settings, as for run
  --url URL           the running node's address (default: from node.json)
  --token-file FILE   token for reading, if the node asks for one (default: ReadTokenFile of node.json)
  --probe-lam         post two events to each LAM, marked as tests and of severity 0: one small, one of MaxPayloadSizeInMB
  --probe-write ID    close the alert ID in SCOM, as proof that the account may
  --force             log on although the account is left alone after a refusal; it may get locked
  --json              {"node","version","time","ok","text","hops":[{"part","name","step","result","seen","do","ms"}]};
                      result is "ok", "warning", "fail" or "not tried"; members may be added, none is renamed

example: scomconnector doctor --node /etc/scomconnector/node.json
exit code: 0 nothing that was tried keeps the job from running, 1 something does
`

func runDoctor(t terminal, args []string) error {
	var f files
	var tokenFile string
	var asJSON bool
	opt := doctor.Options{Version: version}
	fs := flags("doctor")
	fs.StringVar(&f.node, "node", "", "")
	fs.StringVar(&opt.ClusterFile, "config", "", "")
	fs.StringVar(&opt.URL, "url", "", "")
	fs.StringVar(&tokenFile, "token-file", "", "")
	fs.StringVar(&opt.ProbeWrite, "probe-write", "", "")
	fs.BoolVar(&opt.ProbeLAM, "probe-lam", false, "")
	fs.BoolVar(&opt.Force, "force", false, "")
	fs.BoolVar(&asJSON, "json", false, "")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	if opt.ProbeWrite != "" {
		if _, err := alert.ParseID(opt.ProbeWrite); err != nil {
			return usageError{fmt.Errorf("--probe-write %q: accepted is the id of an alert, a GUID such as 5d0c6c2e-8d0f-4a27-9c36-6a86b2ec7a01, as the page and SCOM show it", clip(opt.ProbeWrite, 60))}
		}
	}
	f.complete()
	opt.NodeFile = f.node
	if tokenFile != "" {
		var err error
		opt.Token, err = settings.ReadToken(tokenFile)
		if err != nil {
			return hinted{fmt.Errorf("read the token: %w", err), "--token-file names the file that the node's ReadTokenFile names"}
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	shown := progressOn(t.err)
	opt.Progress = func(what string) { shown.show("looking at: " + what) }
	report := doctor.Run(ctx, opt)
	shown.end()
	if asJSON {
		if err := printJSON(t, &report); err != nil {
			return err
		}
	} else {
		report.Print(t.out)
	}
	if !report.OK {
		return errReported
	}
	return nil
}

// progress is a line on a terminal that is written over and over; elsewhere it is nothing.
type progress struct {
	to io.Writer // nil: no terminal

	mu sync.Mutex // guards to's line: all servers are looked at at once
}

func progressOn(w io.Writer) *progress {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &progress{to: w}
	}
	return &progress{}
}

// clearLine goes back to the line's beginning and empties it, on every terminal since the VT100.
const clearLine = "\r\x1b[K"

func (p *progress) show(doing string) {
	if p.to == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprint(p.to, clearLine+doing)
}

func (p *progress) end() {
	if p.to != nil {
		fmt.Fprint(p.to, clearLine)
	}
}
