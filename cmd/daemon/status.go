package daemon

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/cluster"
	"scomconnector/cluster/state"
	"scomconnector/cmd/settings"
	"scomconnector/poller"
	"scomconnector/poller/scom"
)

// inContact is how long ago a member may have been heard of to count as present: several
// heartbeats of the slowest timing.
const inContact = 10 * time.Second

// status assembles all that this node knows. What only the leader knows (lag, last error, health of
// consoles and LAMs) is empty elsewhere, and the verdict says where to look.
func (n *node) status() v1.Status {
	view, health := n.coord.View(), n.coord.Health()
	st := view.State
	n.mu.Lock()
	running, encoders, f, trouble, back, writeback := n.running, n.encoders, n.feed, n.trouble, n.back, n.closing
	n.mu.Unlock()
	var closing poller.WritebackStatus
	if writeback != nil {
		closing = writeback.Status()
	}

	config := st.Config()
	s := v1.Status{
		Node: n.opts.Node.NodeID, Role: string(n.opts.Node.Role), Version: n.opts.Version, Time: time.Now().UTC(),
		Leader: view.Leader, Term: view.Token.Term, Epoch: view.Token.Epoch.Number, Token: named(view.Token),
		Maintenance: n.inMaintenance(), Takeover: takeover(view.Outlook), Notes: notes(st.Notes()), Archives: archives(view.Archives),
		Config: n.configState(config), Store: n.store(health), Certificates: n.shownCertificates(),
	}
	if n.opts.Levels != nil {
		s.LogLevel = n.opts.Levels.Level()
	}
	totals := st.Totals()
	s.Totals = v1.Totals{Processed: totals.Accepted, Parked: totals.Parked}
	var cfg *settings.Cluster
	if config.Version > 0 {
		cfg, _ = n.settingsOf(config.Version) // a version that cannot be read is the verdict's business
	}
	s.Cluster, s.ClusterID = n.clusterName(cfg, st), st.ClusterID()
	s.Outbox, s.Refused = n.closes()
	s.Members = n.members(view)
	s.Etcd = n.etcd(health)
	s.Changes = changes(st.Changes())
	s.Pipelines, s.Parked = n.pipelines(st, running)
	s.SCOM, s.LAMs = n.endpoints(cfg, f, view.Leading)
	leader := n.leadersReport(view)
	leader.show(&s)
	n.carry(&s)
	found := n.weaknesses(f, view.Leading)
	for _, e := range encoders {
		found = append(found, e.warning()...)
	}
	for _, p := range statuses(running) {
		found = append(found, p.Warnings...)
	}
	found = append(found, n.clusterWarnings(view, back)...)
	s.Warnings = leader.others(n.warnings(cfg, found, s.Config.DiffersFromFile))
	var lacks string
	if cfg != nil && !view.Leading && n.opts.Node.Role != cluster.Witness {
		lacks = n.lacksSecrets(cfg)
	}
	s.Verdict = n.verdict(&s, verdictInput{
		lacks: lacks, view: view, health: health, trouble: trouble, pipes: statuses(running), back: back, closes: closing, refused: s.Refused.Count, leader: leader, logons: n.refusedLogons(),
	})
	return s
}

func (n *node) clusterName(cfg *settings.Cluster, st *state.State) string {
	if cfg == nil {
		return cmp.Or(st.ManagementGroup(), n.primary())
	}
	return cfg.ClusterName(st.ManagementGroup(), n.primary())
}

func (n *node) members(view cluster.View) []v1.Member {
	self, _ := member(view, view.NodeID)
	out := make([]v1.Member, 0, len(view.Members))
	for _, m := range view.Members {
		s := v1.Member{
			Node: m.NodeID, Role: string(m.Role), URL: m.Url, Voter: m.Candidate(),
			Leader: m.NodeID == view.Leader, LastContact: m.LastContact, Version: m.Version, Fault: m.Fault, Slow: m.Slow.Text,
		}
		if n.opts.Node.Coordination == "etcd" {
			s.Voter = s.Voter && present(m) // else it is what was last heard
			switch {
			case s.Voter:
				s.Part = v1.PartReady
			case present(m):
				s.Part = v1.PartWithout
			default:
				s.Part = v1.PartAway
			}
		}
		if m.Applied < self.Applied {
			s.Behind = self.Applied - m.Applied
		}
		for _, flag := range view.State.Maintenance() {
			if flag.Node == m.NodeID {
				s.Maintenance, s.Sticky = true, flag.Sticky
			}
		}
		out = append(out, s)
	}
	return out
}

// etcd is nil where the nodes decide among themselves.
func (n *node) etcd(h cluster.Health) *v1.Etcd {
	if n.opts.Node.Coordination != "etcd" {
		return nil
	}
	e := &v1.Etcd{Prefix: n.opts.Node.Etcd.Prefix, LeaseSeconds: h.Lease.TTL.Seconds(), LeaseLeftSeconds: h.Lease.Left.Seconds(), Endpoints: []v1.EtcdEndpoint{}}
	for _, p := range h.Endpoints {
		e.Endpoints = append(e.Endpoints, v1.EtcdEndpoint{
			URL: p.URL, Fault: p.Fault, Alarm: p.Alarm, Version: p.Version, Leader: p.Leader, SizeBytes: p.SizeBytes, LatencyMS: milliseconds(p.Took),
		})
	}
	return e
}

func takeover(o cluster.Outlook) v1.Takeover {
	return v1.Takeover{Possible: o.Possible, Refusal: o.Refusal, LastHeard: o.LastHeard, Warnings: append([]string{}, o.Warnings...), At: o.At}
}

func notes(all []state.Note) []v1.Note {
	out := make([]v1.Note, 0, len(all))
	for _, n := range all {
		out = append(out, v1.Note{At: n.At, Node: n.Node, Text: n.Text})
	}
	return out
}

func archives(all []cluster.Archive) []v1.Archive {
	out := make([]v1.Archive, 0, len(all))
	for _, a := range all {
		out = append(out, v1.Archive{Name: a.Name, At: a.At, Epoch: a.Epoch.Number})
	}
	return out
}

func changes(all []state.Change) []v1.Change {
	out := make([]v1.Change, 0, len(all))
	for _, c := range all {
		out = append(out, v1.Change{At: c.At, Node: c.Node, Term: c.Token.Term, Epoch: c.Token.Epoch.Number, Token: named(c.Token), Cause: c.Cause, Reason: c.Reason})
	}
	return out
}

// named is a term as the log names it; none where nobody has led yet.
func named(t state.Token) string {
	if t.IsZero() {
		return ""
	}
	return t.String()
}

func statuses(running []*poller.Pipeline) []poller.Status {
	out := make([]poller.Status, 0, len(running))
	for _, p := range running {
		out = append(out, p.Status())
	}
	return out
}

// Most entries of each kind that the status carries; lists of their own have the rest.
const (
	newestParked  = 20
	oldestWaiting = 20
	newestSettled = 10
)

// configState is which settings are in use, and which were before.
func (n *node) configState(c state.ConfigVersion) v1.ConfigState {
	return v1.ConfigState{Version: c.Version, Author: c.Author, At: c.At, DiffersFromFile: n.differs(c), Versions: applier{n}.Versions()}
}

// closes are the close requests that wait, those that came to their end last, and those that SCOM refuses.
func (n *node) closes() (v1.OutboxList, v1.ParkedRequestList) {
	refused := closer{n}.ParkedRequests()
	return closer{n}.outbox(oldestWaiting, newestSettled), v1.ParkedRequestList{Count: len(refused), Requests: refused[:min(len(refused), newestParked)]}
}

// store is what is known of the disk that holds DataDir.
func (n *node) store(h cluster.Health) v1.Store {
	s := v1.Store{Fault: h.StoreFault, WriteMS: milliseconds(h.StoreWrite), FreeBytes: -1}
	if n.opts.Memory != nil {
		return s
	}
	if free := n.diskFree(n.opts.Node.DataDir); !math.IsNaN(free) {
		s.FreeBytes = int64(min(free, 1<<60))
	}
	return s
}

// shownCertificates are those of this node, also those that cannot be read.
func (n *node) shownCertificates() []v1.Certificate {
	all, faults := n.certificates()
	out := make([]v1.Certificate, 0, len(all)+len(faults))
	for _, f := range faults {
		out = append(out, v1.Certificate{Fault: f})
	}
	for _, c := range all {
		out = append(out, v1.Certificate{Name: c.What, Ends: c.End})
	}
	return out
}

// pipelines joins what is replicated with what the running pipelines know.
func (n *node) pipelines(st *state.State, running []*poller.Pipeline) ([]v1.Pipeline, v1.Parked) {
	live := map[string]poller.Status{}
	for _, s := range statuses(running) {
		live[s.Name] = s
	}
	out := []v1.Pipeline{}
	for _, info := range st.Pipelines() {
		if !info.RemovedAt.IsZero() {
			continue
		}
		p := v1.Pipeline{
			Name: info.Name, Cursor: info.Cursor.Time(), Sent: info.Accepted, Parked: info.ParkedNow, Remembered: info.Remembered,
		}
		if s, ok := live[info.Name]; ok {
			p.LagSeconds, p.LagKnown = s.Lag.Seconds(), s.LagKnown
			p.LatenessSeconds, p.LastPoll, p.LastSent = s.Lateness.Seconds(), s.LastPoll, s.LastSent
			p.Phase, p.Progress, p.LastError, p.Flow = s.Phase, s.Progress, s.LastError, n.flows.of(time.Now(), s)
		}
		out = append(out, p)
	}
	all := parkedEntries(st)
	return out, v1.Parked{Count: len(all), Newest: all[:min(len(all), newestParked)]}
}

func parkedEntry(pipeline string, e state.Parked) v1.ParkedEntry {
	entry := v1.ParkedEntry{
		Key: e.Key.String(), Pipeline: pipeline, At: e.At, Reason: e.Reason, LAM: e.LAM, Status: e.Status, Answer: e.Answer,
	}
	if !e.Version.ID.IsZero() {
		entry.Alert = e.Version.ID.String()
	}
	return entry
}

// endpoints lists consoles and LAMs: with their health where this node uses them, by name elsewhere.
func (n *node) endpoints(cfg *settings.Cluster, f *feed, leading bool) ([]v1.Console, []v1.LAM) {
	consoles, lams := []v1.Console{}, []v1.LAM{}
	if cfg == nil {
		return consoles, lams
	}
	if leading && f != nil && f.cfg == cfg {
		for _, c := range f.scom.Status() {
			consoles = append(consoles, v1.Console{
				Name: c.Name, URL: c.URL, Priority: c.Priority, InUse: c.InUse, State: tried(string(c.State), c.LastOK), LastOK: c.LastOK,
				LatencyMS: milliseconds(c.Latency), LastError: c.LastError, Brief: c.Brief, LastFailed: c.LastFailed.UTC(), Warning: c.Warning,
				Features: features(c),
			})
		}
		for _, l := range f.lines {
			for _, m := range l.dest.Status() {
				lams = append(lams, v1.LAM{
					Name: m.Name, URL: m.URL, Destination: l.cfg.Name[len(pipelineName("")):], InUse: m.InUse, State: tried(m.State, m.LastOK),
					LastOK: m.LastOK, LatencyMS: milliseconds(m.Latency), LastError: m.LastError, Brief: m.Brief, Do: m.Do, LastFailed: m.LastFailed.UTC(), Warning: m.Warning,
				})
			}
		}
		return consoles, lams
	}
	for _, c := range cfg.ScomServers {
		consoles = append(consoles, v1.Console{Name: c.Name, URL: c.Url, Priority: c.Priority, State: "unknown"})
	}
	for _, d := range cfg.Destinations() {
		for _, m := range d.LAMs {
			lams = append(lams, v1.LAM{Name: m.Name, URL: m.Address, Destination: d.Name, State: "unknown"})
		}
	}
	return consoles, lams
}

func features(c scom.ConsoleStatus) *v1.ConsoleFeatures {
	f := c.Features
	if f.LogOn.IsZero() {
		return nil
	}
	return &v1.ConsoleFeatures{
		LogOn: f.LogOn.UTC(), Version: f.Version(), Role: f.Role, Group: c.Group, CSRF: string(f.CSRF), AlertColumns: string(f.AlertColumns),
		ManagementGroup: string(f.ManagementGroup), AlertDetails: string(f.AlertDetails), ResetMonitor: string(f.ResetMonitor),
		UTCColumns: string(f.UTCColumns), DateForm: f.DateForm, Times: f.Times,
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// warnings are what an operator should mend some day: what the settings say, and what work has shown.
func (n *node) warnings(cfg *settings.Cluster, found []string, differs bool) []string {
	out := append([]string{}, n.opts.Node.Warnings.Strings()...)
	if cfg != nil {
		out = append(out, cfg.Warnings.Strings()...)
	}
	out = append(out, found...)
	if differs {
		out = append(out, "the settings file of this node differs from the settings in use: "+aboutFile(n.opts.ClusterFile, n.state().Config().Text))
	}
	return out
}

// clusterWarnings are what may happen one day between the nodes, and what a leader that is not the Primary waits for.
func (n *node) clusterWarnings(v cluster.View, back pendingReturn) []string {
	out := n.certificateWarnings(time.Now())
	for _, e := range n.coord.Health().Endpoints {
		if e.Warning != "" {
			out = append(out, "etcd "+e.URL+": "+e.Warning)
			break // it is of the etcd as a whole
		}
	}
	if len(n.opts.Node.Members) == 2 && len(n.workers()) == 2 && n.opts.Node.Coordination == "raft" && n.opts.Node.PairTakeover == "availability" && v.Leading {
		out = append(out, fmt.Sprintf("this pair has no witness: if the nodes lose each other for %v while both reach SCOM and a LAM, both deliver until they meet again, and Moogsoft "+
			"folds the duplicates; a third member with Role Witness prevents that, and has the other node take over within seconds", n.opts.Node.TakeoverAfter))
	}
	if back.held != "" {
		out = append(out, fmt.Sprintf("%s does not take over again yet: %s", back.to, back.held))
	}
	return out
}

// weaknesses are what the consoles and LAMs in use have shown. What their settings alone show, such as http://, the settings'
// own warnings say.
func (n *node) weaknesses(f *feed, leading bool) []string {
	if f == nil || !leading {
		return nil
	}
	var out []string
	for _, c := range f.scom.Status() {
		if c.Found != "" {
			out = append(out, fmt.Sprintf("SCOM server %s: %s", c.Name, c.Found))
		}
	}
	for _, l := range f.lines {
		for _, m := range l.dest.Status() {
			if m.Found != "" {
				out = append(out, fmt.Sprintf("LAM %s: %s", m.Name, m.Found))
			}
		}
	}
	return out
}

// namedEncoder is what makes a pipeline's events.
type namedEncoder struct {
	pipeline string
	*grouped
}

// warning tells of expressions that fail on some alerts, which the types could not show when the settings were read.
func (e namedEncoder) warning() []string {
	n := e.Errors()
	if n == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s: %d %s failed, and the alert was sent as if that key were not set; the last: %v",
		e.pipeline, n, plural(int(min(n, 1<<30)), "expression", "expressions"), e.LastError())}
}

// unready lists why this node cannot take over the work of the cluster or a part of it.
func (n *node) unready() []string {
	why, view := n.failing(), n.coord.View()
	if view.Leader == "" {
		why = append(why, "no leader is known")
	}
	if view.Waiting != "" {
		why = append(why, view.Waiting)
	}
	if view.Stall.Text != "" {
		why = append(why, view.Stall.Text)
	}
	if n.state().Config().Version == 0 {
		why = append(why, "this node knows no settings yet")
	}
	return why
}

// failing is why this process cannot do its part, whatever the others do; empty: it can.
func (n *node) failing() []string {
	var why []string
	if n.stopping.Load() {
		why = append(why, "this node is stopping")
	}
	if fault := n.coord.Health().StoreFault; fault != "" {
		why = append(why, "the store has failed: "+fault)
	}
	return why
}

// watch logs the verdict's sentence whenever it has changed for good, and counts changes of leadership.
func (n *node) watch(ctx context.Context) {
	said := verdictLog{log: n.changes()}
	var shown supervised
	var term state.Token
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		n.leaderChanges.Add(termsSince(&term, n.state().Changes()))
		n.mu.Lock()
		running := n.running
		n.mu.Unlock()
		n.flows.note(time.Now(), statuses(running))
		v := n.status().Verdict
		n.opts.Supervisor.Beat()
		n.mu.Lock()
		cause, found := n.lastVerdict.cause, n.found
		n.mu.Unlock()
		said.note(time.Now(), found)
		if shown.changed(time.Now(), string(v.Level)+" "+cause) {
			n.opts.Supervisor.Verdict(v.Sentence())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// termsSince counts the terms that have begun after the last one, which becomes the newest of the changes. All of a history that the last
// one is not in, as before the first look, count as one.
func termsSince(last *state.Token, changes []state.Change) uint64 {
	if len(changes) == 0 {
		return 0
	}
	since := slices.IndexFunc(changes, func(c state.Change) bool { return c.Token == *last })
	*last = changes[0].Token
	if since < 0 {
		return 1
	}
	return uint64(since)
}

// tried is a server's state; one that has only been connected to, and has done no work for this leader yet, is not known to be ok.
func tried(state string, lastOK time.Time) string {
	if state == "ok" && lastOK.IsZero() {
		return "unknown"
	}
	return state
}
