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
)

// lead runs one term: pipelines for the settings in use, and others whenever these change. It
// returns when the term ends.
func (n *node) lead(ctx context.Context, term cluster.Term) error {
	n.log.Info("this node leads", "token", term.Token.String())
	defer n.log.Info("this node does not lead any more", "token", term.Token.String())
	for ctx.Err() == nil {
		version := n.state().Config().Version
		part, end := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() {
			n.untilChanged(part, version)
			end()
		})
		n.feedFor(part, term, version)
		end()
		wg.Wait()
	}
	return nil
}

// untilChanged returns when the settings in use are not this version any more, or ctx ends.
func (n *node) untilChanged(ctx context.Context, version uint64) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for n.state().Config().Version == version {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// feedFor delivers under one version of the settings until ctx ends. What keeps it from starting is
// shown and tried again: a secret's file may appear, a console may come back.
func (n *node) feedFor(ctx context.Context, term cluster.Term, version uint64) {
	if version == 0 {
		n.setTrouble(trouble{text: "this cluster has no settings yet", do: "start the Primary with its SCOMConnectorConfig.json"})
		<-ctx.Done()
		return
	}
	defer n.setTrouble(trouble{})
	var last string
	for {
		f, group, err := n.readyFeed(ctx, term, version)
		if err == nil {
			n.setTrouble(trouble{})
			err = n.runFeed(ctx, term, f, group)
		}
		if n.stopping.Load() { // drained: nothing is begun any more
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
func (n *node) readyFeed(ctx context.Context, term cluster.Term, version uint64) (*feed, string, error) {
	f, err := n.feedOf(version)
	if err != nil {
		return nil, "", err
	}
	group, err := f.managementGroup(ctx, term.Propose, n.state())
	if err != nil {
		return nil, "", err
	}
	op := state.SetPipelines{At: time.Now().UTC(), Carry: map[string]string{}}
	for _, l := range f.lines {
		op.Names = append(op.Names, l.name)
		if _, known := n.state().Pipeline(l.name); l.previous != "" && !known {
			op.Carry[l.name] = l.previous
		}
	}
	if res, err := term.Propose(ctx, op); err != nil || res.Err != nil {
		return nil, "", errors.Join(err, res.Err)
	}
	return f, group, nil
}

// runFeed runs all pipelines of the feed until ctx ends, or one of them cannot go on.
func (n *node) runFeed(ctx context.Context, term cluster.Term, f *feed, group string) error {
	if !f.cfg.IsActiveAlertPolling {
		n.setTrouble(trouble{text: "alert polling is switched off in the settings", do: "set IsActiveAlertPolling to true", mild: true})
		<-ctx.Done()
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running []*poller.Pipeline
	for _, l := range f.lines {
		enc, err := f.encoder(n, group, l)
		if err != nil {
			return err
		}
		running = append(running, poller.New(l.cfg, poller.Deps{
			Source: f.scom, Sink: l.dest, Encoder: enc,
			Ledger: &ledger{term: term, state: n.state(), pipeline: l.name},
			Log:    n.log.Named("poller"), Metrics: n.polling,
		}))
	}
	n.setRunning(running)
	defer n.setRunning(nil)
	errs := make([]error, len(running))
	var wg sync.WaitGroup
	for i, p := range running {
		wg.Go(func() {
			if errs[i] = p.Run(ctx); errs[i] != nil {
				cancel() // the term is over for the others, too
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// feedOf returns the feed of this version of the settings, made once and kept for later terms.
func (n *node) feedOf(version uint64) (*feed, error) {
	n.mu.Lock()
	old := n.feed
	n.mu.Unlock()
	if old != nil && old.version == version {
		return old, nil
	}
	cfg, err := n.settingsOf(version)
	if err != nil {
		return nil, err
	}
	f, err := newFeed(n, version, cfg)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.feed = f
	n.mu.Unlock()
	if old != nil {
		old.Close()
	}
	return f, nil
}

// settingsOf reads the replicated text of the version in use; each version is read once.
func (n *node) settingsOf(version uint64) (*settings.Cluster, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.parsed != nil && n.parsedVersion == version {
		return n.parsed, nil
	}
	c := n.state().Config()
	if c.Version != version {
		return nil, errors.New("the settings have changed meanwhile")
	}
	cfg, faults := settings.ParseCluster("settings in use", c.Text, settings.Options{Dir: n.opts.Node.Dir})
	if err := faults.Err(); err != nil {
		return nil, err
	}
	n.parsed, n.parsedVersion = cfg, version
	return cfg, nil
}
