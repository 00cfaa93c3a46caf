package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cluster"
	"scomconnector/cmd/settings"
	"scomconnector/poller"
	"scomconnector/poller/scom"
	"scomconnector/publisher"
)

// ability is what a node could do if it led: whether it reaches SCOM and a LAM of each destination. It is found out without a
// log-on and without a post, and a refused log-on is never a lack: who hands over for that has two nodes lock one account.
type ability struct {
	Version uint64        `json:"version"` // of the settings that it is about; 0: the node knows none
	Lines   []lineAbility `json:"lines"`
}

type lineAbility struct {
	Pipeline string `json:"pipeline"`
	Lacks    string `json:"lacks"` // in an operator's words; empty: it could deliver
}

// can reports whether the node could deliver to the pipeline.
func (a ability) can(pipeline string) bool {
	return slices.ContainsFunc(a.Lines, func(l lineAbility) bool { return l.Pipeline == pipeline && l.Lacks == "" })
}

// any reports whether it could deliver to at least one destination.
func (a ability) any() bool {
	return slices.ContainsFunc(a.Lines, func(l lineAbility) bool { return l.Lacks == "" })
}

// lacks is why it cannot deliver everything; empty: it can.
func (a ability) lacks() string {
	if a.Version == 0 {
		return "it knows no settings yet"
	}
	var all []string
	for _, l := range a.Lines {
		if l.Lacks != "" && !slices.Contains(all, l.Lacks) {
			all = append(all, l.Lacks)
		}
	}
	return strings.Join(all, "; ")
}

// covers reports whether the other node, with the same settings, could do all that this one can.
func (a ability) covers(other ability) bool {
	return a.Version == other.Version && a.Version > 0 && !slices.ContainsFunc(other.Lines, func(l lineAbility) bool { return l.Lacks == "" && !a.can(l.Pipeline) })
}

// exceeds reports whether it could do all that the other one can, and more.
func (a ability) exceeds(other ability) bool {
	return a.covers(other) && slices.ContainsFunc(a.Lines, func(l lineAbility) bool { return l.Lacks == "" && !other.can(l.Pipeline) })
}

const (
	// probeTime bounds finding out what a node can do; all is tried at once.
	probeTime = 4 * time.Second
	// probeAgain is how long the answer holds: several may ask at a time.
	probeAgain = 10 * time.Second
)

// prober remembers what was found out last. One slot, taken while somebody finds out.
type prober struct {
	busy chan struct{}
	last ability
	at   time.Time
}

func newProber() *prober { return &prober{busy: make(chan struct{}, 1)} }

// ability finds out what this node could do with the settings in use.
func (n *node) ability(ctx context.Context) ability {
	version := n.state().Config().Version
	if version == 0 {
		return ability{}
	}
	select {
	case n.prober.busy <- struct{}{}:
		defer func() { <-n.prober.busy }()
	case <-ctx.Done():
		return ability{}
	}
	p := n.prober
	if p.last.Version == version && !p.at.IsZero() && time.Since(p.at) < probeAgain {
		return p.last
	}
	cfg, err := n.settingsOf(version)
	if err != nil {
		return ability{Version: version, Lines: []lineAbility{{Lacks: "the settings in use cannot be read by " + n.opts.Node.NodeID + ": " + err.Error()}}}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTime) // whoever asks next has the answer
	defer cancel()
	p.last, p.at = n.probe(ctx, version, cfg), time.Now()
	return p.last
}

// probe tries everything at once.
func (n *node) probe(ctx context.Context, version uint64, cfg *settings.Cluster) ability {
	a := ability{Version: version}
	all := cfg.Destinations()
	lams := make([]error, len(all))
	var consoles error
	var wg sync.WaitGroup
	if cfg.IsActiveAlertPolling {
		wg.Go(func() { consoles = n.reachSCOM(ctx, cfg) })
		for i, d := range all {
			wg.Go(func() { lams[i] = n.reachLAM(ctx, cfg, d) })
		}
	}
	wg.Wait()
	for i, d := range all {
		l := lineAbility{Pipeline: pipelineName(d.Name)}
		if err := errors.Join(consoles, lams[i]); err != nil {
			l.Lacks = n.opts.Node.NodeID + " " + strings.ReplaceAll(err.Error(), "\n", ", and ")
		}
		a.Lines = append(a.Lines, l)
	}
	return a
}

// lacksSecrets says which secret or file that the settings name cannot be read on this machine; empty: none. A node that stands by
// needs them only once it leads, which is too late to find out.
func (n *node) lacksSecrets(cfg *settings.Cluster) string {
	if !cfg.IsActiveAlertPolling {
		return ""
	}
	if _, err := scomConfig(cfg); err != nil {
		return err.Error()
	}
	for _, d := range cfg.Destinations() {
		if _, err := destinationConfig(cfg, d); err != nil {
			return fmt.Sprintf("destination %s: %v", d.Name, err)
		}
	}
	return ""
}

// reachSCOM says why no console can be reached; nil: one can.
func (n *node) reachSCOM(ctx context.Context, cfg *settings.Cluster) error {
	c, err := scomConfig(cfg)
	if err != nil {
		return fmt.Errorf("could not log on to SCOM: %w", err)
	}
	c.Dial = n.opts.Dial
	client, err := scom.New(c, hclog.NewNullLogger())
	if err != nil {
		return fmt.Errorf("cannot use the SCOM servers' settings: %w", err)
	}
	defer client.Close()
	ctx, done := context.WithCancel(ctx)
	defer done()
	faults := make([]error, len(c.Consoles))
	var wg sync.WaitGroup
	for i := range c.Consoles {
		wg.Go(func() {
			if faults[i] = client.Ping(ctx, i); faults[i] == nil {
				done() // one is enough
			}
		})
	}
	wg.Wait()
	if len(faults) == 0 || slices.Contains(faults, nil) {
		return nil
	}
	if ctx.Err() != nil {
		return errors.New("does not reach SCOM in time")
	}
	return fmt.Errorf("does not reach SCOM (%w)", faults[0])
}

// reachLAM says why no LAM of the destination can be reached; nil: one can.
func (n *node) reachLAM(ctx context.Context, cfg *settings.Cluster, d settings.Destination) error {
	c, err := destinationConfig(cfg, d)
	if err != nil {
		return fmt.Errorf("could not post to destination %s: %w", d.Name, err)
	}
	c.Dial = n.opts.Dial
	if err := publisher.Reach(ctx, c); err != nil {
		return fmt.Errorf("does not reach destination %s (%s)", d.Name, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

// doing is what this node, which leads, can do: what runs without an outage it can; the rest is judged as on any node. So a
// console that answers everybody with errors is no reason to hand over: the other one would do so too, and hand it back.
func (n *node) doing(ctx context.Context) (able ability, outage bool) {
	n.mu.Lock()
	running, trouble := statuses(n.running), n.trouble
	n.mu.Unlock()
	outage = trouble.text != "" && !trouble.mild || slices.ContainsFunc(running, down)
	if !outage {
		return ability{}, false
	}
	able = n.ability(ctx)
	able.Lines = slices.Clone(able.Lines)
	for i, l := range able.Lines {
		if slices.ContainsFunc(running, func(p poller.Status) bool { return p.Name == l.Pipeline && !down(p) }) {
			able.Lines[i].Lacks = ""
		}
	}
	return able, true
}

// down: the pipeline's consoles or its destination are away, for whatever reason.
func down(p poller.Status) bool { return !p.ConsolesDownSince.IsZero() || !p.LAMAwaySince.IsZero() }

const (
	// workDwell is how long a leader must have been unable to do its work before it gives it away.
	workDwell = 5 * time.Minute
	// workAgain is the pause after a handover for lack of work that was not made.
	workAgain = time.Minute
)

// lack is a leader's watch over its own ability, owned by the caretaker.
type lack struct {
	since time.Time // zero: it can do everything
	next  time.Time // not before
}

// considerWork has a leader that cannot deliver hand over to one that can do strictly more.
func (n *node) considerWork(ctx context.Context, v cluster.View, l *lack) {
	if time.Now().Before(l.next) {
		return
	}
	mine, outage := n.doing(ctx)
	if !outage || mine.Version == 0 || mine.lacks() == "" {
		*l = lack{}
		return
	}
	l.next = time.Now().Add(probeAgain)
	if l.since.IsZero() {
		l.since = time.Now()
	}
	if time.Since(l.since) < workDwell {
		return
	}
	for _, to := range n.workers() {
		if to == v.NodeID || n.unfit(to) != nil {
			continue
		}
		theirs, err := ask[ability](ctx, n, to, question{Ask: askWork})
		if err != nil || !theirs.exceeds(mine) {
			n.log.Debug("no handover for lack of work", "to", to, "lacks", theirs.lacks(), "error", err)
			continue
		}
		n.changes().Warn("this node cannot deliver and hands over to one that can", "to", to, "reason", mine.lacks())
		if err := n.handOver(ctx, to, cluster.Reason{Cause: cluster.CauseWork, Text: mine.lacks()}); err != nil {
			n.log.Warn("the handover did not succeed", "to", to, "error", err)
			l.next = time.Now().Add(workAgain)
		}
		return
	}
}
