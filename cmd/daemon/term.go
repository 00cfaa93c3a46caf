package daemon

import (
	"context"
	"errors"
	"sync"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
	"scomconnector/cmd/settings"
	"scomconnector/poller"
	"scomconnector/publisher"
)

// footing is what pipelines stand on. When it changes they finish what is in flight, and others begin from the committed positions.
type footing struct {
	version uint64 // of the settings
	rewinds uint64 // state.RewindVersion
}

func (n *node) footing() footing {
	return footing{n.state().Config().Version, n.state().RewindVersion()}
}

// lead runs one term: pipelines for the settings in use, and others whenever these change or a cursor is rewound. It returns when
// the term ends.
func (n *node) lead(ctx context.Context, term cluster.Term) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var finishing sync.WaitGroup
	defer finishing.Wait()
	finishing.Go(func() {
		select {
		case <-ctx.Done():
			return
		case <-term.Finish:
		}
		if !n.drain(ctx, cluster.FinishTime) {
			n.log.Warn("the batch in flight was not finished in time; it may be sent again by the next leader")
		}
		cancel()
	})
	for ctx.Err() == nil {
		at := n.footing()
		part, end := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() {
			if what := n.untilChanged(part, at); what != "" && at.version > 0 {
				if !n.drain(part, changeTime) && part.Err() == nil {
					n.log.Warn("the batch in flight was not finished in time; it may be sent again")
				}
				if part.Err() == nil {
					n.goesOn(what, at)
				}
			}
			end()
		})
		n.feedFor(part, term, at)
		end()
		wg.Wait()
	}
	return nil
}

// The changes that a term goes on with.
const (
	otherSettings = "delivery goes on with the changed settings"
	otherSecret   = "delivery goes on with the changed password or token"
	otherCursor   = "delivery goes on from where the cursor was put back to"
)

// goesOn says what is in use from now on.
func (n *node) goesOn(what string, was footing) {
	if what == otherSettings {
		n.changes().Info(what, "version", n.state().Config().Version, "was", was.version)
		return
	}
	n.changes().Info(what)
}

// changeTime is how long the batch in flight may hold up a change of the settings: as long as a LAM may take to answer, and
// the commit behind it. Given up earlier it could arrive twice.
const changeTime = 35 * time.Second

// rereadSecrets is how often the secrets that the settings refer to are looked at: an operator who has just
// corrected a password's file must not see the old one sent again.
const rereadSecrets = 5 * time.Second

// untilChanged returns what has changed when the footing is not this one any more, or a secret is not what the feed was made with;
// nothing when ctx ends.
func (n *node) untilChanged(ctx context.Context, at footing) (what string) {
	tick := time.NewTicker(rereadSecrets)
	defer tick.Stop()
	for {
		st := n.state()
		changed := st.SteeringChanged()
		if n.footing() != at {
			break
		}
		select {
		case <-ctx.Done():
			return ""
		case <-changed:
		case <-tick.C:
			n.mu.Lock()
			f := n.feed
			n.mu.Unlock()
			if f != nil && f.version == at.version && f.stale() {
				return otherSecret
			}
		}
	}
	if n.state().Config().Version == at.version {
		return otherCursor
	}
	return otherSettings
}

// feedFor delivers on one footing until ctx ends. What keeps it from starting is
// shown and tried again: a secret's file may appear, a console may come back.
func (n *node) feedFor(ctx context.Context, term cluster.Term, at footing) {
	if at.version == 0 {
		select { // the Primary's file is on its way
		case <-ctx.Done():
			return
		case <-time.After(settling):
		}
		n.setTrouble(trouble{text: "this cluster has no settings yet", do: "start the Primary with its SCOMConnectorConfig.json"})
		<-ctx.Done()
		return
	}
	defer n.setTrouble(trouble{})
	var last string
	for {
		f, err := n.readyFeed(ctx, term, at.version)
		if err == nil {
			n.setTrouble(trouble{})
			err = n.runFeed(ctx, term, f)
		}
		// Drained for a stop or for another footing: nothing is begun any more.
		if n.stopping.Load() || n.footing() != at {
			<-ctx.Done()
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			t := troubleOf(err)
			n.setTrouble(t)
			logChange(n.log, &last, t.text, "not delivering", "reason", t.text, "do", t.do)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryFeed):
		}
	}
}

// readyFeed makes or finds the feed of this version and what it needs before a pipeline can start.
func (n *node) readyFeed(ctx context.Context, term cluster.Term, version uint64) (*feed, error) {
	f, err := n.feedOf(version)
	if err != nil {
		return nil, err
	}
	op := state.SetPipelines{At: time.Now().UTC(), Carry: map[string]string{}}
	for _, l := range f.lines {
		op.Names = append(op.Names, l.name)
		if _, known := n.state().Pipeline(l.name); l.previous != "" && !known {
			op.Carry[l.name] = l.previous
		}
	}
	if res, err := term.Propose(ctx, op); err != nil || res.Err != nil {
		return nil, errors.Join(err, res.Err)
	}
	return f, nil
}

// runFeed runs all pipelines of the feed until ctx ends, or one of them cannot go on.
func (n *node) runFeed(ctx context.Context, term cluster.Term, f *feed) error {
	var announcing sync.WaitGroup
	defer announcing.Wait()
	defer n.resends.wg.Wait() // they end with the pipelines
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	back, changed := n.newWriteback(term, f)
	announcing.Go(func() { n.announce(ctx, changed) })
	running, encoders, err := n.pipelinesOf(term, f, back)
	if err != nil {
		return err
	}
	n.setRunning(running, encoders, back)
	defer n.setRunning(nil, nil, nil)
	workers := []worker{back}
	for _, p := range running {
		workers = append(workers, p)
	}
	if n.stopping.Load() { // whoever stops the node may have found nothing to drain a moment ago
		for _, p := range workers {
			p.Drain()
		}
	}
	errs := make([]error, len(workers))
	var wg sync.WaitGroup
	for i, p := range workers {
		wg.Go(func() {
			if errs[i] = p.Run(ctx); errs[i] != nil {
				cancel() // the term is over for the others, too
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// worker is what runs for a term: a pipeline, or the writeback.
type worker interface {
	Run(ctx context.Context) error
	Drain()
}

// pipelinesOf makes the pipelines of the feed; none where the settings want no polling.
func (n *node) pipelinesOf(term cluster.Term, f *feed, back *poller.Writeback) ([]*poller.Pipeline, []namedEncoder, error) {
	if !f.cfg.IsActiveAlertPolling {
		n.setTrouble(trouble{text: "alert polling is switched off in the settings", do: "set IsActiveAlertPolling to true", mild: true})
		return nil, nil, nil
	}
	var running []*poller.Pipeline
	var encoders []namedEncoder
	for _, l := range f.lines {
		g, err := f.group(n, term, l)
		if err != nil {
			return nil, nil, err
		}
		g.answered = back.Wake
		deps := poller.Deps{
			Source: g, Sink: l.dest, Encoder: g,
			Ledger: newLedger(term, n.state(), l.name),
			Log:    n.log.Named("poller"), Metrics: n.polling, Alarms: func() []poller.Alarm { return n.alarms(l.name) },
		}
		// With several destinations the others have to hear of what one of them has asked for.
		if len(f.lines) == 1 && !f.cfg.SendOwnChanges {
			deps.Echo = back.Echo
		}
		encoders = append(encoders, namedEncoder{l.name, g})
		running = append(running, poller.New(l.cfg, deps))
	}
	return running, encoders, nil
}

// feedOf returns the feed of this version of the settings, made once and kept for later terms.
func (n *node) feedOf(version uint64) (*feed, error) {
	n.mu.Lock()
	old := n.feed
	n.mu.Unlock()
	cfg, err := n.settingsOf(version)
	if err != nil {
		return nil, err
	}
	if old != nil && old.version == version && old.cfg == cfg && !old.stale() {
		return old, nil
	}
	f, err := newFeed(n, version, cfg, old)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.feed = f
	n.mu.Unlock()
	if old != nil {
		old.close(f)
	}
	return f, nil
}

// settingsOf reads the replicated text of the version in use; each version is read once.
func (n *node) settingsOf(version uint64) (*settings.Cluster, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.state().Config()
	if c.Version != version {
		return nil, errors.New("the settings have changed meanwhile")
	}
	// A node that has joined another epoch may find another text under the same number.
	if n.parsed != nil && n.parsedVersion == version && n.parsedSum == c.Sum() {
		return n.parsed, nil
	}
	cfg, faults := settings.ParseCluster(settings.InUse, c.Text, settings.Options{Dir: n.opts.Node.Dir})
	if err := faults.Err(); err != nil {
		return nil, err
	}
	n.parsed, n.parsedVersion, n.parsedSum = cfg, version, c.Sum()
	publisher.NewMetrics(n.reg, destinationNames(cfg)...)
	return cfg, nil
}
