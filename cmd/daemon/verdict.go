package daemon

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/cluster"
	"scomconnector/poller"
	"scomconnector/poller/scom"
)

// verdictInput is what the verdict is made of beside the status itself.
type verdictInput struct {
	view    cluster.View
	health  cluster.Health
	trouble trouble
	pipes   []poller.Status
	closes  poller.WritebackStatus
	refused int // close requests that SCOM has refused for good
	back    pendingReturn
	leader  report
	logons  []scom.RefusedAccount
	lacks   string // of secrets and files that the settings name: why this node, which stands by, could not lead
}

// verdictMemory remembers since when the present state of affairs has lasted.
type verdictMemory struct {
	cause string
	text  string // as found, without the time
	since time.Time
}

// finding is one thing that is wrong; the worst becomes the verdict.
type finding struct {
	level v1.Level
	cause string // stays the same while the matter does: Since counts from its first sight
	since time.Time
	text  string
	do    string
	// The rest is the log's: see verdictLog.
	matter string // what is told once, where that is not each cause for itself
	area   area
	over   string // how its end is told, "LAM lam1 takes events again"; empty: that it is over
	tries  int    // that failed so far
	server string // of the area, that it is about
	facts  []any  // keys and values beside the sentence, such as what a server answered
	heard  bool   // from the node that leads, which tells it in its own log
}

// area is what a finding belongs to: beside an outage of it, its smaller matters are the same story.
type area string

const (
	areaSCOM  area = "scom"
	areaLAM   area = "lam"
	areaNode  area = "node" // of this node, whoever leads
	areaOther area = ""
)

// noLeaderCause is that of the finding that nobody leads.
const noLeaderCause = "no leader"

// delivered is the cause of the verdict where there is nothing to say.
const delivered = "delivering"

// littleSpace is what a node needs for its snapshots, its log and a storm; below it the page says so.
const littleSpace = 512 << 20

// settling is how long a node may take after its start, or a term after its beginning, before the
// absence of a leader or of a first poll is called a fault.
const settling = 10 * time.Second

// verdict is the state of affairs in one sentence: the worst of all findings.
func (n *node) verdict(s *v1.Status, in verdictInput) v1.Verdict {
	if in.view.Leader != "" {
		n.sawLeader.Store(true)
	}
	findings := n.findings(s, in)
	worst := allIsWell(in)
	n.mu.Lock()
	n.found = affairs{leading: in.view.Leading, leader: in.view.Leader, calm: calm(in), findings: append(findings, linkFindings(s, in.view)...), over: overAgain(in)}
	n.mu.Unlock()
	for _, f := range findings {
		if rank(f.level) > rank(worst.level) {
			worst = f
		}
	}
	since := n.remember(worst)
	return v1.Verdict{Level: worst.level, Text: sentence(worst, since), Do: worst.do, Since: since}
}

// ended is a stranger's text as a sentence.
func ended(text string) string { return strings.TrimRight(text, ". ") + "." }

func rank(l v1.Level) int {
	switch l {
	case v1.Stopped:
		return 2
	case v1.Degraded:
		return 1
	}
	return 0
}

// sentence puts the time, in the local zone and UTC, into what has stopped. Whoever reads it, such as in a browser, may be in another
// zone than this node: it is named.
func sentence(f finding, since time.Time) string {
	if f.level != v1.Stopped {
		return f.text
	}
	form := "15:04"
	if time.Since(since) > 12*time.Hour {
		form = "2006-01-02 15:04"
	}
	at := since.UTC().Format(form) + " UTC"
	if local := since.Local(); local.Format(form) != since.UTC().Format(form) {
		at = local.Format(form) + " " + zone(local) + " (" + at + ")"
	}
	return fmt.Sprintf("NOT DELIVERING since %s: %s", at, f.text)
}

// zone is the name of t's zone; those that have none are numbers.
func zone(t time.Time) string {
	name, _ := t.Zone()
	if strings.HasPrefix(name, "+") || strings.HasPrefix(name, "-") {
		return "UTC" + name
	}
	return name
}

func (n *node) remember(f finding) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lastVerdict.cause != f.cause {
		n.lastVerdict = verdictMemory{cause: f.cause, since: time.Now().UTC()}
	}
	n.lastVerdict.text = f.text
	if !f.since.IsZero() {
		return f.since.UTC()
	}
	return n.lastVerdict.since
}

// allIsWell is the verdict where nothing is found.
func allIsWell(in verdictInput) finding {
	notice := ""
	if in.view.Notice != "" && !strings.Contains(in.leader.Text, in.view.Notice) {
		notice = " " + in.view.Notice
	}
	if !in.view.Leading {
		return finding{level: v1.OK, cause: "standing by " + in.view.Leader + " " + in.leader.Cause, text: standingBy(in.view, in.leader) + notice}
	}
	cause, text := delivering(in)
	if !in.back.at.IsZero() {
		text += fmt.Sprintf(" %s takes over again at %s, if nothing comes between.", in.back.to, in.back.at.UTC().Format("15:04:05 UTC"))
	}
	for _, m := range in.view.Members {
		if in.view.State.InMaintenance(m.NodeID) {
			text += fmt.Sprintf(" %s is in maintenance: it does not take over.", m.NodeID)
		}
	}
	return finding{level: v1.OK, cause: cause, text: text + notice}
}

// calm is the same for this node's own log: what another one does stands in the log of that one.
func calm(in verdictInput) finding {
	f := allIsWell(in)
	if !in.view.Leading {
		f.cause = "standing by " + in.view.Leader
		f.text = strings.Replace(standingBy(in.view, report{}), "; whether it delivers is on its page.", ".", 1)
	}
	return f
}

func standingBy(v cluster.View, leader report) string {
	self, _ := member(v, v.NodeID)
	delivers := "; whether it delivers is on its page."
	if leader.from != "" {
		delivers = " and says: " + leader.Text
	}
	switch {
	case v.Leader == "":
		return "Starting."
	case self.Role == cluster.Witness:
		return fmt.Sprintf("Witness: %s leads%s", v.Leader, delivers)
	case v.State.InMaintenance(v.NodeID):
		return fmt.Sprintf("In maintenance: this node does not take over. %s leads%s", v.Leader, delivers)
	}
	return fmt.Sprintf("Standing by: %s leads%s", v.Leader, delivers)
}

func delivering(in verdictInput) (cause, text string) {
	for _, p := range in.pipes {
		if p.LastPoll.IsZero() && p.LastSent.IsZero() { // nothing has come from SCOM, whatever phase that is
			return "starting", "Starting: waiting for SCOM's answer."
		}
	}
	for _, p := range in.pipes {
		if p.Phase == poller.PhaseCatchingUp || p.Phase == poller.PhaseFirst {
			return "catching up", fmt.Sprintf("Delivering: %s %s.", p.Phase, p.Progress)
		}
	}
	if len(in.pipes) == 0 {
		return "starting", "Starting."
	}
	return delivered, "Delivering: all that SCOM shows has reached Moogsoft."
}

func (n *node) findings(s *v1.Status, in verdictInput) []finding {
	var out []finding
	add := func(f finding) { out = append(out, f) }
	if in.health.StoreFault != "" {
		f := finding{level: v1.Stopped, cause: "store", area: areaNode, text: "this node's store has failed: " + in.health.StoreFault, do: "check the disk that holds DataDir"}
		if in.view.Leader != "" && !in.view.Leading { // the cluster goes on without this node
			f.level, f.text = v1.Degraded, fmt.Sprintf("%s leads, but this node cannot follow: its store has failed: %s", in.view.Leader, in.health.StoreFault)
		}
		add(f)
	}
	if free := s.Store.FreeBytes; free >= 0 && free < littleSpace && in.health.StoreFault == "" {
		add(finding{level: v1.Degraded, cause: "disk", area: areaNode, over: "There is room on the disk again", text: fmt.Sprintf("The disk that holds this node's DataDir has only %d MB left; the node stops when it is full.", free>>20),
			do: "make room there, such as by removing old logs"})
	}
	if slow := in.health.Slow; slow.Text != "" { // before the members, whose loss it explains
		add(finding{level: v1.Degraded, cause: "slow machine", text: "This machine " + slow.Text + ".", do: slow.Do, heard: true}) // the cluster's own line tells it
	}
	if stall := in.view.Stall; stall.Text != "" {
		add(finding{level: v1.Stopped, cause: "stall", area: areaNode, since: stall.Since, text: ended(stall.Text), do: stall.Do, over: "Etcd takes writes again"})
	} else if !working(in.view) && !in.view.Leading && (in.view.Leader == "" && n.sawLeader.Load() || time.Since(n.started) > settling) {
		text, do := leaderless(in.view)
		add(finding{level: v1.Stopped, cause: noLeaderCause, area: areaNode, since: in.view.Outlook.LastHeard, text: text, do: do, facts: awayFacts(s)})
	} else if in.view.Alarm != "" {
		add(finding{level: v1.Degraded, cause: "alarm", area: areaNode, text: ended(in.view.Alarm), do: "mend what the message names"})
	} else if n.sawLeader.Load() && !in.view.Leading {
		if f, is := unsettled(in.view); is {
			add(f)
		}
	}
	if in.lacks != "" {
		add(finding{level: v1.Degraded, cause: "lacks", area: areaNode, over: "This node could take over again", text: "This node could not take over: " + ended(in.lacks),
			do: "put it there on this machine, readable for the account that runs the node"})
	}
	if in.view.Leading && in.trouble.text != "" {
		level := v1.Stopped
		if in.trouble.mild {
			level = v1.Degraded
		}
		f := finding{level: level, cause: "trouble", text: in.trouble.text, do: in.trouble.do, area: in.trouble.area, facts: in.trouble.facts}
		if f.area == areaSCOM {
			f.matter, f.over = "scom", scomOver
		}
		add(f)
	}
	out = append(out, n.lasting(in.view, in.leader, in.pipes)...)
	out = append(out, logonFindings(in.logons)...)
	out = append(out, in.leader.finding()...)
	out = append(out, clusterFindings(s, in)...)
	for i := range out {
		out[i].locate(s)
	}
	return out
}

// unsettled is the time in which the last leader is still named and this node cannot know that it leads, before somebody else does or it is
// known that nobody does. The cluster's own lines tell it in the log.
func unsettled(v cluster.View) (f finding, is bool) {
	f = finding{level: v1.Degraded, cause: "unsettled", area: areaNode, heard: true, do: cmp.Or(v.Do, "nothing yet: that takes some seconds")}
	switch {
	case v.Waiting != "":
		f.text = "This node does not know who leads: " + ended(v.Waiting)
	case v.Leader == v.NodeID:
		f.text = "Nothing is delivered right now: the term of this node is over, or has not begun yet."
	default:
		return finding{}, false
	}
	return f, true
}

// locate adds where the server is to what the log says.
func (f *finding) locate(s *v1.Status) {
	url := ""
	for _, c := range s.SCOM {
		if f.area == areaSCOM && c.Name == f.server {
			url = c.URL
		}
	}
	for _, l := range s.LAMs {
		if f.area == areaLAM && l.Name == f.server {
			url = l.URL
		}
	}
	if url != "" {
		f.facts = append([]any{"url", url}, f.facts...)
	}
}

func pipelineFindings(p poller.Status) []finding {
	var out []finding
	if p.Blocked != "" {
		out = append(out, finding{level: v1.Stopped, cause: "blocked " + p.Name, text: p.Name + ": " + p.Blocked})
	}
	if !p.LAMAwaySince.IsZero() {
		out = append(out, finding{level: v1.Stopped, cause: "lam " + p.Name, since: p.LAMAwaySince, text: p.LAMBrief, area: areaLAM, server: p.LAMName,
			do: cmp.Or(p.LAMDo, "check that the LAM is up and reachable from this node"), over: "LAM " + p.LAMName + " takes events again", tries: p.LAMTries, facts: said(p.LAMSaid, p.LAMBrief)})
	}
	f := finding{cause: scomCause + p.Name, matter: "scom", area: areaSCOM, server: p.SCOMConsole, text: cmp.Or(p.SCOMBrief, p.SCOMError), do: AboutConsole(p.SCOMFault, p.SCOMError),
		over: scomOver, tries: p.SCOMTries, facts: said(p.SCOMSaid, p.SCOMBrief)}
	if !p.ConsolesDownSince.IsZero() {
		f.level, f.since = v1.Stopped, p.ConsolesDownSince
		out = append(out, f)
	} else if !p.UnansweredSince.IsZero() {
		f.level, f.since, f.text = v1.Degraded, p.UnansweredSince, "SCOM was not read when last asked: "+f.text
		out = append(out, f)
	}
	if p.SetAside > 0 {
		out = append(out, finding{level: v1.Degraded, cause: "aside " + p.Name,
			text: fmt.Sprintf("%d %s refused by a LAM and held; the reason is below.", p.SetAside, plural(p.SetAside, "event is", "events are")),
			do:   p.SetAsideDo + "; each is tried again, and parked once that LAM takes others"})
	}
	if p.Vanished > 0 {
		out = append(out, finding{level: v1.Degraded, cause: "vanished " + p.Name,
			text: fmt.Sprintf("%d alerts that were sent are not shown by SCOM any more; too many to close unasked.", p.Vanished),
			do:   "check the SCOM account's scope"})
	}
	return out
}

// closeFindings tell of what Moogsoft wanted closed and is not. Alerts are delivered all the same.
func closeFindings(s *v1.Status, in verdictInput) []finding {
	var out []finding
	if in.closes.Blocked != "" {
		out = append(out, finding{level: v1.Degraded, cause: "closes blocked", text: "Close requests are held up: " + in.closes.Blocked,
			do: "look at the refused close requests below; retry or remove them"})
	}
	if in.closes.Error != "" && s.Outbox.Pending > 0 {
		out = append(out, finding{level: v1.Degraded, cause: "closes wait", area: areaSCOM, over: "SCOM takes close requests again", since: in.closes.Since,
			text: fmt.Sprintf("%d close %s for SCOM: %s", s.Outbox.Pending, plural(s.Outbox.Pending, "request waits", "requests wait"), in.closes.Error),
			do:   "check the web console, and the rights of the account that closes there"})
	}
	if in.refused > 0 {
		out = append(out, finding{level: v1.Degraded, cause: "closes refused",
			text: fmt.Sprintf("Delivering, but SCOM has refused %d close %s for good: parked.", in.refused, plural(in.refused, "request", "requests")),
			do:   "`scomconnector parked list` has the reason, `scomconnector parked retry ID` sends one again"})
	}
	return out
}

func clusterFindings(s *v1.Status, in verdictInput) []finding {
	out := slowFindings(s, in.view)
	for _, m := range s.Members {
		if m.Node == s.Node || !in.view.Leading {
			continue
		}
		out = append(out, memberFinding(m, len(s.Members) == 2, s.Etcd != nil)...)
	}
	if s.Parked.Count > 0 {
		out = append(out, finding{level: v1.Degraded, cause: "parked",
			text: fmt.Sprintf("Delivering, but %d %s refused for good and parked.", s.Parked.Count, plural(s.Parked.Count, "entry was", "entries were")),
			do:   "look at the parked entries below"})
	}
	out = append(out, closeFindings(s, in)...)
	out = append(out, etcdFindings(s)...)
	for _, c := range s.SCOM {
		if c.State == "failing" && !c.InUse {
			out = append(out, finding{level: v1.Degraded, cause: "console " + c.Name, area: areaSCOM, server: c.Name, facts: said(c.LastError, c.Brief),
				text: fmt.Sprintf("Delivering, but SCOM server %s failed when it was last tried%s: it %s.", c.Name, at(c.LastFailed), cmp.Or(c.Brief, "said "+c.LastError)),
				do:   cmp.Or(bySign(c.LastError), "check that web console"), over: "SCOM server " + c.Name + " can be used again"})
		}
	}
	for _, l := range s.LAMs {
		if l.State == "failing" && !l.InUse {
			out = append(out, finding{level: v1.Degraded, cause: "lam " + l.Name, area: areaLAM, server: l.Name, facts: said(answerOf(l), l.Brief),
				text: fmt.Sprintf("Delivering, but LAM %s failed when it was last tried%s: it %s.", l.Name, at(l.LastFailed), cmp.Or(l.Brief, "said "+l.LastError)),
				do:   cmp.Or(l.Do, "check that LAM"), over: "LAM " + l.Name + " can be used again"})
		}
	}
	return out
}

// etcdFindings tell of endpoints that fail while others work; without any there is no leader, which says it all.
func etcdFindings(s *v1.Status) []finding {
	var out []finding
	if s.Etcd == nil || s.Leader == "" {
		return nil
	}
	do := "mend what the message names; while a majority of the etcd works, nothing stops"
	if !slices.ContainsFunc(s.Etcd.Endpoints, func(e v1.EtcdEndpoint) bool { return e.Fault == "" }) { // the lease has not ended yet
		do = "mend what the message names at once: no other endpoint answers, and nobody delivers until one does"
	}
	for _, e := range s.Etcd.Endpoints {
		switch {
		case e.Fault != "" && e.Version == "" && e.LatencyMS == 0: // not asked yet
		case e.Fault != "":
			out = append(out, finding{level: v1.Degraded, cause: "etcd " + e.URL, text: ended(fmt.Sprintf("etcd endpoint %s: %s", e.URL, e.Fault)), do: do})
		case e.Alarm != "" && !strings.Contains(e.Alarm, "NOSPACE"): // which stops everything
			out = append(out, finding{level: v1.Degraded, cause: "etcd alarm " + e.URL, text: ended(fmt.Sprintf("etcd endpoint %s complains: %s", e.URL, e.Alarm)), do: "mend what `etcdctl alarm list` names"})
		}
	}
	return out
}

// said are what a server answered, as keys and values, where the words for it do not say it all.
func said(answer, words string) []any {
	if answer == "" || strings.Contains(words, strings.TrimPrefix(answer, "HTTP ")) {
		return nil
	}
	return []any{"said", answer}
}

// answerOf is what a LAM said, without our words for it, which stand before.
func answerOf(l v1.LAM) string {
	return strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(l.LastError, l.Brief), ": "+l.Do), ": ")
}

// at is when something was, in a sentence.
func at(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	form := "15:04 UTC"
	if time.Since(t) > 12*time.Hour {
		form = "2006-01-02 15:04 UTC"
	}
	return " at " + t.UTC().Format(form)
}

// memberFinding is what a member that cannot help means for the leader. Of a pair, it says what a second loss would do.
func memberFinding(m v1.Member, pair, etcd bool) []finding {
	f := finding{level: v1.Degraded, cause: "member " + m.Node, over: m.Node + " is there again"}
	switch {
	case time.Since(m.LastContact) >= inContact || pair && !etcd && !m.Voter && m.Fault != "":
		f.since = m.LastContact
		f.text = fmt.Sprintf("Delivering, but %s is not in contact.", titled(m))
		f.do, f.facts = "start "+m.Node+" or mend the network between the nodes", said(m.Fault, "")
	case m.Part == v1.PartWithout:
		f.text = fmt.Sprintf("Delivering, but %s does not reach the etcd.", m.Node)
		f.do = "mend the network between " + m.Node + " and the etcd"
	case pair && !etcd && !m.Voter:
		f.text = fmt.Sprintf("Delivering, but alone: %s has no vote until it has caught up.", m.Node)
		f.do = "wait some seconds; if it lasts, look at that node's log"
	default:
		return nil
	}
	if pair && !etcd || m.Part == v1.PartWithout || m.Part == v1.PartAway {
		f.text += " If this machine dies now, nobody takes over by itself."
	}
	return []finding{f}
}

// slowFindings tell on the leader's page of the others' machines, which their own logs have told; they come before the members that are
// lost, as it explains that.
func slowFindings(s *v1.Status, v cluster.View) []finding {
	var out []finding
	for _, m := range v.Members {
		if m.NodeID == s.Node || !v.Leading || m.Slow.Text == "" {
			continue
		}
		out = append(out, finding{level: v1.Degraded, cause: "slow machine " + m.NodeID, heard: true, text: fmt.Sprintf("Delivering, but the machine of %s %s.", m.NodeID, m.Slow.Text), do: m.Slow.Do})
	}
	return out
}

// linkFindings are for the log of a node that follows: what it means that this one and another do not reach each other is the leader's
// to judge, and why they do not is known here.
func linkFindings(s *v1.Status, v cluster.View) []finding {
	var out []finding
	for _, m := range s.Members {
		if v.Leading || v.Leader == "" || m.Node == s.Node || m.Node == v.Leader || m.Fault == "" {
			continue
		}
		out = append(out, finding{level: v1.Degraded, cause: "link " + m.Node, area: areaNode, text: "This node does not reach " + titled(m) + ".",
			over: "This node reaches " + m.Node + " again", facts: said(m.Fault, "")})
	}
	return out
}

// awayFacts is why the members that are away are, by their names.
func awayFacts(s *v1.Status) []any {
	var out []any
	for _, m := range s.Members {
		if m.Node != s.Node && m.Fault != "" {
			out = append(out, m.Node, m.Fault)
		}
	}
	return out
}

// titled is a member with its role, once where both are one word.
func titled(m v1.Member) string {
	if strings.EqualFold(m.Role, m.Node) {
		return m.Node
	}
	return strings.ToLower(m.Role) + " " + m.Node
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
