package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/datadir"
	"scomconnector/cmd/settings"
	"scomconnector/poller/alert"
	"scomconnector/poller/normalise"
	"scomconnector/publisher"
)

const (
	// noLeaderKind is part of the signature of the self-alert.
	noLeaderKind = "noleader"
	// noLeaderAfter is how long a node must have known no leader before it tells Moogsoft, noLeaderAgain how often it repeats that.
	noLeaderAfter = 60 * time.Second
	noLeaderAgain = 15 * time.Minute
	// noLeaderRetry is the pause after a post that no LAM took, noLeaderPost bounds one.
	noLeaderRetry = 30 * time.Second
	noLeaderPost  = time.Minute
)

// noLeader is a node's alarm that nobody leads. No pipeline runs then, so that this node posts it by itself, over connections of
// its own. It is its own goroutine's.
type noLeader struct {
	*node
	since time.Time            // nobody has led since; zero: somebody does
	told  told                 // what is out
	tried map[string]time.Time // by destination: when a post was last tried
}

// told is what of the alarm is out. It outlives the process, so that a node that was restarted meanwhile clears it all the same.
type told struct {
	Cluster string               `json:"cluster"` // the name in the signature
	At      map[string]time.Time `json:"at"`      // by destination: when it was told; zero: it was tried
}

// watchLeaders raises and clears the alarm until ctx ends.
func (n *node) watchLeaders(ctx context.Context) {
	if n.opts.Node.Role == cluster.Witness {
		return // it has no LAM
	}
	a := noLeader{node: n, tried: map[string]time.Time{}}
	a.load()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		v := n.coord.View()
		switch {
		case n.stopping.Load():
		case working(v):
			if !a.since.IsZero() {
				a.since = time.Time{}
				clear(a.tried)
			}
			a.clear(ctx)
		case a.since.IsZero():
			a.since = time.Now()
			clear(a.tried)
		case time.Since(a.since) >= noLeaderAfter:
			a.raise(ctx, v)
		}
	}
}

// working reports whether somebody leads who may, and can: raft knows of a leader, and its term has begun. A witness or a node in
// maintenance leads only until somebody else can, and where nothing can be committed nobody delivers.
func working(v cluster.View) bool {
	if v.Stall.Text != "" || v.Leader == "" || v.State.Leader() != v.Leader || v.State.InMaintenance(v.Leader) {
		return false
	}
	m, ok := member(v, v.Leader)
	return !ok || m.Role != cluster.Witness
}

// raise tells every destination that was not told, or not for a while.
func (a *noLeader) raise(ctx context.Context, v cluster.View) {
	cfg := a.usable()
	if cfg == nil {
		return // nobody knows where Moogsoft is; page and log say what is the matter
	}
	for _, d := range cfg.Destinations() {
		last, known := a.told.At[d.Name]
		if known && !last.IsZero() && time.Since(last) < noLeaderAgain || time.Since(a.tried[d.Name]) < noLeaderRetry {
			continue
		}
		if a.told.Cluster == "" {
			a.told = told{Cluster: a.clusterName(cfg, a.state()), At: map[string]time.Time{}}
		}
		if !known { // before the post, since its outcome may stay unknown
			a.told.At[d.Name] = time.Time{}
			a.save()
		}
		if a.post(ctx, cfg, d, 5, a.text(v)) {
			a.told.At[d.Name] = time.Now().UTC()
			a.save()
			if !known {
				a.log.Warn("told Moogsoft that nobody leads", "destination", d.Name)
			}
		}
	}
}

// clear tells every destination that was told.
func (a *noLeader) clear(ctx context.Context) {
	if len(a.told.At) == 0 {
		return
	}
	cfg := a.usable()
	if cfg == nil {
		return
	}
	for name := range a.told.At {
		i := slices.IndexFunc(cfg.Destinations(), func(d settings.Destination) bool { return d.Name == name })
		if i >= 0 && (time.Since(a.tried[name]) < noLeaderRetry || !a.post(ctx, cfg, cfg.Destinations()[i], 0, cleared)) {
			continue
		}
		if delete(a.told.At, name); len(a.told.At) == 0 {
			a.told = told{}
		}
		a.save()
	}
}

const cleared = "The connector has a leader again; what changed meanwhile is being delivered."

// usable are the settings in use; before there are any, those of this node's own file. nil: none that this node understands.
func (a *noLeader) usable() *settings.Cluster {
	if v := a.state().Config().Version; v > 0 {
		cfg, err := a.settingsOf(v)
		if err != nil {
			return nil
		}
		return cfg
	}
	if len(a.opts.ClusterText) == 0 {
		return nil
	}
	cfg, faults := settings.ParseCluster(a.opts.ClusterFile, a.opts.ClusterText, settings.Options{Dir: a.opts.Node.Dir})
	if len(faults) > 0 {
		return nil
	}
	return cfg
}

// post sends the alarm to one destination and reports whether a LAM took it.
func (a *noLeader) post(ctx context.Context, cfg *settings.Cluster, d settings.Destination, severity int, text string) bool {
	a.tried[d.Name] = time.Now()
	if err := a.tryPost(ctx, cfg, d, severity, text); err != nil {
		a.log.Warn("Moogsoft was not told that nobody leads, or that somebody does again; trying again", "destination", d.Name, "error", err)
		return false
	}
	return true
}

func (a *noLeader) tryPost(ctx context.Context, cfg *settings.Cluster, d settings.Destination, severity int, text string) error {
	encoder, err := normalise.Compile(normalise.Config{
		ManagementGroup: a.state().ManagementGroup(), Cluster: a.told.Cluster, Node: a.opts.Node.NodeID,
		ConnectorAddress: a.opts.Node.AdvertiseUrl,
	})
	if err != nil {
		return err
	}
	body, err := encoder.AppendOwn(nil, alert.Own{Kind: noLeaderKind, Class: "connector", Severity: severity, Description: text, At: time.Now().UTC()})
	if err != nil {
		return err
	}
	c, err := destinationConfig(cfg, d)
	if err != nil {
		return err
	}
	c.Dial = a.opts.Dial
	dest, err := publisher.New(c, a.log, a.publishing)
	if err != nil {
		return err
	}
	defer dest.Close()
	ctx, cancel := context.WithTimeout(ctx, noLeaderPost)
	defer cancel()
	got := dest.Publish(ctx, []alert.Event{{Kind: noLeaderKind, Body: body}})
	switch {
	case len(got.Refusals) > 0:
		r := got.Refusals[0]
		return fmt.Errorf("LAM %s refuses it with %d (%s)", r.LAM, r.Status, r.Answer)
	case got.Err != nil:
		return got.Err
	}
	return nil
}

// text says what is the matter and what to do.
func (a *noLeader) text(v cluster.View) string {
	what, do := leaderless(v)
	return fmt.Sprintf("Nobody delivers alerts to Moogsoft since %s, as %s sees it: %s. No alert is lost: they follow once somebody leads. What to do: %s. Its page: %s",
		a.since.UTC().Format("2006-01-02 15:04:05 UTC"), v.NodeID, what, do, a.opts.Node.AdvertiseUrl)
}

// leaderless says in a clause each why nobody leads, as this node sees it, and what to do.
func leaderless(v cluster.View) (what, do string) {
	var self cluster.MemberView
	var barred, away []string
	for _, m := range v.Members {
		switch {
		case m.NodeID == v.NodeID:
			self = m
		case !present(m):
			away = append(away, m.NodeID)
		}
		if m.Role != cluster.Witness && v.State.InMaintenance(m.NodeID) {
			barred = append(barred, m.NodeID)
		}
	}
	page := self.Url + "/maintenance"
	switch {
	case v.Stall.Text != "":
		return v.Stall.Text, v.Stall.Do
	case len(barred) > 0 && (v.Leader != "" || slices.ContainsFunc(barred, func(id string) bool { return !slices.Contains(away, id) })):
		what = "nobody may lead: " + list(barred) + " in maintenance"
		if len(away) > 0 {
			what += ", and " + list(away) + " out of contact"
		}
		return what, fmt.Sprintf("have %s leave maintenance at %s", barred[0], page)
	case v.Leader != "":
		return "nobody may lead: only a witness is left", "start the Primary or the Secondary"
	case v.Alarm != "":
		return v.Alarm, "mend what the message names"
	case v.Waiting != "":
		return strings.TrimRight(v.Waiting, "."), cmp.Or(v.Do, "start the nodes that it waits for")
	case !v.Outlook.At.IsZero() && time.Now().Before(v.Outlook.At):
		return lost(away), fmt.Sprintf("nothing yet: %s takes over by itself at %s, if it reaches SCOM and a LAM", v.NodeID, v.Outlook.At.UTC().Format("15:04:05 UTC"))
	case majority(v, away) && time.Since(v.Outlook.LastHeard) < electing:
		return "the nodes are electing a leader", "nothing yet: that takes a second or two"
	case majority(v, away):
		return "no leader is known, although most nodes are in contact", "check that they reach each other's ClusterAddress, and look at their logs: a machine or a disk may be too slow"
	case v.Outlook.Possible && len(away) > 0:
		return lost(away), fmt.Sprintf("start %s, or, if that takes too long, take over at %s", strings.Join(away, " and "), page)
	case len(away) > 0:
		return lost(away), "start " + strings.Join(away, " and ")
	}
	return "no leader is known", "check that a majority of the nodes runs and that they reach each other's ClusterAddress"
}

// electing is how long an election may take before something is wrong.
const electing = 10 * time.Second

// majority: of three or more nodes this one and those in contact are enough to elect a leader.
func majority(v cluster.View, away []string) bool {
	return len(v.Members) > 2 && 2*(len(v.Members)-len(away)) > len(v.Members)
}

func lost(away []string) string {
	if len(away) == 0 {
		return "no leader is known"
	}
	return list(away) + " out of contact"
}

// list is for a clause: "a is", "a and b are".
func list(ids []string) string {
	return strings.Join(ids, " and ") + plural(len(ids), " is", " are")
}

// path is where told is kept; empty: nowhere.
func (a *noLeader) path() string {
	if a.opts.Memory != nil || a.opts.Node.DataDir == "" {
		return ""
	}
	return filepath.Join(a.opts.Node.DataDir, "noleader.json")
}

func (a *noLeader) load() {
	if a.path() == "" {
		return
	}
	text, err := os.ReadFile(a.path())
	if err == nil {
		err = json.Unmarshal(text, &a.told)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // the alarm may stay in Moogsoft then
		a.log.Warn("it is not known whether Moogsoft was told that nobody leads; clear that alert by hand if it is open", "error", err)
	}
}

// save keeps what is out; a disk that cannot must not keep the alarm from being raised.
func (a *noLeader) save() {
	if a.path() == "" {
		return
	}
	if err := a.trySave(); err != nil {
		a.log.Warn("what Moogsoft was told is not kept; after a restart of this node it may not be cleared", "error", err)
	}
}

func (a *noLeader) trySave() error {
	if len(a.told.At) == 0 {
		if err := os.Remove(a.path()); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text, err := json.Marshal(a.told)
	if err != nil {
		return err
	}
	if err := os.WriteFile(a.path()+".new", text, 0o600); err != nil {
		return err
	}
	return datadir.Rename(a.path()+".new", a.path())
}
