package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cmd/daemon"
	"scomconnector/cmd/settings"
)

const helpMigrate = `Carries the cluster's state from the nodes' own folders to the etcd that node.json names, or back, while no node runs: how
far each pipeline is, what was sent, what is parked, close requests, settings and their history. It says what it has read, and asks.

  --to etcd|raft     etcd: from this node's DataDir to the keys below Etcd.Prefix, which must hold no cluster; run it on the
                     node that led last. raft: from the etcd to the Primary's DataDir, which must hold no state
  --node FILE        this node's settings (default as for run); whatever Coordination says there, it needs Etcd
  --force            also where something speaks for a newer state elsewhere; without it that refuses
  --yes              do not ask
  --json             what was carried over as JSON; needs --yes

Neither side is ever written over, and what was read stays as it is. An interrupted run may be repeated. Afterwards set
Coordination in every node.json, and start the nodes; never start any of them on what was left behind.

example: scomconnector migrate --to etcd
         scomconnector migrate --to raft --yes --node /etc/scomconnector/node.json
exit code: 0 once all was carried over; 1 if nothing counts
`

// migrateTime bounds carrying over the largest state that there may be.
const migrateTime = time.Hour

func runMigrate(t terminal, args []string) error {
	fs := flags("migrate")
	var f files
	var n node
	var to string
	var force bool
	fs.StringVar(&to, "to", "", "")
	fs.StringVar(&f.node, "node", "", "")
	fs.BoolVar(&force, "force", false, "")
	fs.BoolVar(&n.yes, "yes", false, "")
	fs.BoolVar(&n.json, "json", false, "")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	if to != "etcd" && to != "raft" {
		return usageError{fmt.Errorf("--to %q: say --to etcd or --to raft", to)}
	}
	f.complete()
	own, faults := settings.LoadNode(f.node)
	if err := faults.Err(); err != nil {
		return hinted{err, "scomconnector check shows all that is wrong with it"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), migrateTime)
	defer cancel()
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: io.Discard}) // what matters is in the errors
	shown := progressOn(t.err)
	cargo, err := daemon.Migration{
		Node: own, To: to, Version: version, Log: log,
		Agree:    func(c daemon.Cargo) error { return n.mayMigrate(t, c, to, force) },
		Progress: func(done, of int) { shown.show(fmt.Sprintf("writing: %d of %d", done, of)) },
	}.Run(ctx)
	shown.end()
	if err != nil {
		return err
	}
	if n.json {
		return printJSON(t, cargoJSON(cargo))
	}
	fmt.Fprintf(t.out, "All of it is in %s. What was read stays in %s, for nobody: do not start a node on it.\nNow set Coordination to %s in every node.json, and start the nodes, this one first.\n", cargo.To, cargo.From, to)
	return nil
}

// mayMigrate shows what was read, and asks the person. nil: go on.
func (n *node) mayMigrate(t terminal, c daemon.Cargo, to string, force bool) error {
	if !n.json {
		printCargo(t, c)
	}
	if len(c.Doubts) > 0 && !force {
		elsewhere := "run it on the node that was stopped last" // a folder is one node's, an etcd all of them have
		if to == "raft" {
			elsewhere = "restore the etcd from a backup"
		}
		return hinted{fmt.Errorf("nothing was changed, for a reason that needs --force: %s", harmless(strings.Join(c.Doubts, "; "))),
			elsewhere + ", or accept with --force that what is newer elsewhere is lost or sent again"}
	}
	ok, err := n.agreed(t, "Is every node stopped, and was this state the last one in use?")
	if err != nil {
		return err
	}
	if !ok {
		fmt.Fprintln(t.out, "Nothing was changed.")
		return errReported
	}
	return nil
}

func printCargo(t terminal, c daemon.Cargo) {
	fmt.Fprintf(t.out, "from %s: %s led last, in epoch %d\n", c.From, orNone(harmless(c.Leader)), c.Token.Epoch.Number)
	for _, p := range c.Pipelines {
		fmt.Fprintf(t.out, "  pipeline %s: delivered up to %s; %d alerts remembered, %d parked\n", harmless(p.Name), p.Cursor, p.Remembered, p.ParkedNow)
	}
	fmt.Fprintf(t.out, "  close requests: %d wait, %d parked\n", c.Outbox, c.ParkedRequests)
	fmt.Fprintf(t.out, "  settings: version %d\n", c.Settings)
	fmt.Fprintf(t.out, "to %s, in epoch %d\n", c.To, c.Epoch.Number)
	for _, d := range c.Doubts {
		fmt.Fprintf(t.out, "  - warning: %s\n", harmless(d))
	}
}

type cargoPipeline struct {
	Name       string `json:"name"`
	Cursor     string `json:"cursor"`
	Remembered int    `json:"remembered"`
	Parked     int    `json:"parked"`
}

func cargoJSON(c daemon.Cargo) any {
	pipelines := []cargoPipeline{}
	for _, p := range c.Pipelines {
		pipelines = append(pipelines, cargoPipeline{p.Name, p.Cursor.String(), p.Remembered, p.ParkedNow})
	}
	return struct {
		From           string          `json:"from"`
		To             string          `json:"to"`
		Leader         string          `json:"leader"`
		EpochBefore    uint64          `json:"epochBefore"`
		Epoch          uint64          `json:"epoch"`
		Pipelines      []cargoPipeline `json:"pipelines"`
		Outbox         int             `json:"outbox"`
		ParkedRequests int             `json:"parkedRequests"`
		Settings       uint64          `json:"settings"`
		Warnings       []string        `json:"warnings,omitempty"`
	}{c.From, c.To, c.Leader, c.Token.Epoch.Number, c.Epoch.Number, pipelines, c.Outbox, c.ParkedRequests, c.Settings, c.Doubts}
}
