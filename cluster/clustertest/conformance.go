package clustertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
	"scomconnector/poller/alert"
)

// Suite says how a backend is run through Conformance.
type Suite struct {
	Shape Shape
	// New makes a Backend for one test.
	New func(t *testing.T) Backend
	// Bubble runs each test inside synctest: time is simulated, and faults can be had.
	Bubble bool
	// Arbiter: something outside the nodes decides who leads, so that one that is left goes on, or takes over, whatever the others do.
	Arbiter bool
	// Patience is how long anything may take; zero: a minute.
	Patience time.Duration
}

// Conformance runs what every backend of cluster.Coordinator must keep.
func Conformance(t *testing.T, s Suite) {
	if s.Patience == 0 {
		s.Patience = time.Minute
	}
	for _, c := range []struct {
		name string
		test func(*testing.T, Suite, *Cluster)
	}{
		{"OneLeaderWhoseTermIsCommitted", oneLeader},
		{"ProposalsFromEveryNodeReachAll", proposalsReachAll},
		{"CommittedStateSurvivesCrashOfAll", crashOfAll},
		{"SameNodeLeadsAgainWithGreaterToken", leadsAgain},
		{"ProposalOfAnEarlierTermChangesNothing", staleProposal},
		{"LeadThatReturnsIsReplacedOrStartedAgain", leadReturns},
		{"ProposeWithoutLeaderSaysSo", noLeader},
		{"TooLargeACommandIsAnError", tooLarge},
		{"StopHandsOver", stopHandsOver},
		{"TransferReturnsOnceTheTermIsCommitted", transfer},
		{"CutOffLeaderEndsBeforeTheNextBegins", cutOffLeader},
		{"ReasonOfAHandoverIsKept", reasonIsKept},
		{"PlannedHandoverLetsLeadFinish", leadFinishes},
		{"LeadThatLosesItsTermIsNotToldToFinish", lossIsNotPlanned},
		{"NodeInMaintenanceLeadsNotWhileAnotherCan", maintenance},
		{"MembersAnswerEachOther", askEachOther},
		{"LostFollowerStopsNobody", lostFollower},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := func(t *testing.T) {
				cl := NewOver(t, s.Shape, s.New(t))
				cl.real = !s.Bubble
				cl.Start()
				cl.Leader(s.Patience)
				cl.Voters(len(s.Shape), s.Patience)
				cl.Eventually(s.Patience, "lead has been called", func() bool { return len(cl.Leads()) > 0 })
				c.test(t, s, cl)
			}
			if s.Bubble {
				synctest.Test(t, body)
				return
			}
			t.Parallel() // it waits more than it works
			body(t)
		})
	}
}

// propose commits the nth entry of the test's pipeline, through the node.
func propose(ctx context.Context, n cluster.Coordinator, i int) error {
	res, err := n.Propose(ctx, entry(i))
	return errors.Join(err, res.Err)
}

func entry(i int) state.Op {
	id := alert.ID{byte(i >> 16), byte(i >> 8), byte(i)}
	return state.Commit{Pipeline: "test", Sent: []alert.Version{{ID: id, LastModified: alert.Millis(i + 1)}}}
}

// has reports whether the node's copy holds the nth entry.
func has(n cluster.Coordinator, i int) bool {
	_, ok := n.View().State.Sent("test", alert.ID{byte(i >> 16), byte(i >> 8), byte(i)})
	return ok
}

// must commits the nth entry. Where time is real a machine with too much to do costs a leader its lease while an entry is under way;
// nobody knows then what became of it, and committing it twice changes nothing.
func (c *Cluster) must(within time.Duration, i int, nodeID string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	err := propose(ctx, c.nodes[nodeID], i)
	for c.real && errors.Is(err, cluster.ErrUnknownOutcome) && ctx.Err() == nil {
		err = propose(ctx, c.nodes[nodeID], i)
	}
	if err != nil {
		c.t.Fatalf("propose entry %d through %s: %v", i, nodeID, err)
	}
}

// Agree waits until all running nodes have the same state, byte for byte.
func (c *Cluster) Agree(within time.Duration) {
	c.t.Helper()
	what := ""
	defer func() {
		if what != "" {
			c.t.Logf("the states differ: %s", what)
		}
	}()
	c.Eventually(within, "the same state on every node", func() bool {
		what = c.differing()
		return what == ""
	})
}

// level reports whether all running nodes have applied as much, which is cheaper to ask than whether it is the same.
func (c *Cluster) level() bool {
	var applied []uint64
	for _, r := range c.nodes {
		applied = append(applied, r.Health().Applied)
	}
	return len(applied) == 0 || slices.Min(applied) == slices.Max(applied)
}

// differing says what each running node has; empty: all have the same.
func (c *Cluster) differing() string {
	if !c.level() {
		return "not all have applied as much"
	}
	var first []byte
	same, what := true, ""
	for id, r := range c.nodes {
		var b bytes.Buffer
		if _, err := r.View().State.Snapshot().WriteTo(&b); err != nil {
			c.t.Fatal(err)
		}
		if first == nil {
			first = b.Bytes()
		}
		same = same && bytes.Equal(first, b.Bytes())
		h := r.Health()
		what += fmt.Sprintf("; %s: %d bytes, sum %08x, entry %d of %d committed, token %v", id, b.Len(), crc32.ChecksumIEEE(b.Bytes()), h.Applied, h.CommitIndex, r.View().Token)
	}
	if same {
		return ""
	}
	return strings.TrimPrefix(what, "; ")
}

// follower is a node that does not lead, and could.
func (c *Cluster) follower() string {
	leader := c.leading()
	for _, m := range c.shape {
		if m.NodeID != leader && m.Role != cluster.Witness && c.nodes[m.NodeID] != nil {
			return m.NodeID
		}
	}
	return ""
}

// askedFor is the reason of every handover that a test asks for.
var askedFor = cluster.Reason{Cause: cluster.CauseTransfer, Text: "asked for by the test"}

func oneLeader(t *testing.T, s Suite, c *Cluster) {
	leader := c.Leader(s.Patience)
	if leader != c.shape[0].NodeID {
		t.Errorf("the first leader is %s, want the Primary", leader)
	}
	c.Eventually(s.Patience, "every node knows the leader and its term", func() bool {
		for _, r := range c.nodes {
			v := r.View()
			if v.Leader != leader || v.State.Leader() != leader || v.Token.IsZero() || v.Waiting != "" {
				return false
			}
		}
		return true
	})
	leads := c.Leads()
	if got := c.Node(leader).View().State.Token(); got != leads[len(leads)-1].Token {
		t.Errorf("the state is in term %v, lead was given %v", got, leads[len(leads)-1].Token)
	}
	if h := c.Node(leader).Health(); h.Voters != len(c.shape) || h.StoreFault != "" || h.LeaderSince.IsZero() || h.LastCommit.IsZero() {
		t.Errorf("health of the leader: got %+v", h)
	}
	for _, m := range c.Node(leader).View().Members {
		if !m.Candidate() || m.Version == "" || m.LastContact.IsZero() {
			t.Errorf("the leader's view of %s: got %+v", m.NodeID, m)
		}
	}
}

func proposalsReachAll(t *testing.T, s Suite, c *Cluster) {
	for i, m := range c.shape {
		c.must(s.Patience, i, m.NodeID)
	}
	// A refusal comes back as itself, also over the wire.
	for _, m := range c.shape {
		res, err := c.Node(m.NodeID).Propose(t.Context(), state.SetConfig{Expect: 7, Text: []byte("x"), At: time.Now()})
		if err != nil || !errors.Is(res.Err, state.ErrStale) {
			t.Errorf("stale settings through %s: got %v, %v, want ErrStale", m.NodeID, res.Err, err)
		}
	}
	for want, m := range c.shape {
		res, err := c.Node(m.NodeID).Propose(t.Context(), state.SetConfig{Expect: uint64(want), Text: []byte("x"), At: time.Now()})
		if err != nil || res.Err != nil || res.Version != uint64(want)+1 {
			t.Errorf("settings through %s: got %+v, %v, want version %d", m.NodeID, res, err, want+1)
		}
	}
	c.Agree(s.Patience)
	for i := range c.shape {
		for _, m := range c.shape {
			if !has(c.Node(m.NodeID), i) {
				t.Errorf("%s lacks entry %d", m.NodeID, i)
			}
		}
	}
}

func crashOfAll(t *testing.T, s Suite, c *Cluster) {
	for i := range 20 {
		c.must(s.Patience, i, c.shape[0].NodeID)
	}
	before := c.Node(c.shape[0].NodeID).View().State.ClusterID()
	for _, m := range c.shape {
		c.Crash(m.NodeID)
	}
	c.Start()
	c.Leader(s.Patience)
	for _, m := range c.shape {
		c.Eventually(s.Patience, "all entries on "+m.NodeID, func() bool {
			for i := range 20 {
				if !has(c.Node(m.NodeID), i) {
					return false
				}
			}
			return true
		})
	}
	if got := c.Node(c.shape[0].NodeID).View().State.ClusterID(); got != before || got == "" {
		t.Errorf("cluster id after the crash: got %q, want %q", got, before)
	}
}

func leadsAgain(t *testing.T, s Suite, c *Cluster) {
	leader := c.Leader(s.Patience)
	for _, m := range c.shape { // nobody else may take over
		if m.NodeID != leader {
			c.Crash(m.NodeID)
		}
	}
	switch {
	case len(c.shape) == 1, s.Arbiter:
	case len(c.shape) == 2:
		c.Eventually(s.Patience, "the leader goes on alone", func() bool { return c.Node(leader).Health().Voters == 1 })
	default:
		c.Eventually(s.Patience, "the leader steps down", func() bool { return !c.Node(leader).View().Leading })
	}
	c.Crash(leader)
	c.Start()
	c.Leader(s.Patience)
	c.Eventually(s.Patience, "its lead has been called", func() bool { return len(c.Leads()) > 1 })
	leads := c.Leads()
	first, last := leads[0], leads[len(leads)-1]
	if (len(c.shape) == 1 || len(c.shape) == 2 && !s.Arbiter) && last.Node != leader || last.Token.Compare(first.Token) <= 0 {
		t.Errorf("the later term is %v of %s, the first was %v of %s", last.Token, last.Node, first.Token, leader)
	}
}

func staleProposal(t *testing.T, s Suite, c *Cluster) {
	leader := c.Leader(s.Patience)
	old := c.Leads()[len(c.Leads())-1].Term
	res, err := old.Propose(t.Context(), entry(0))
	if err != nil || res.Err != nil {
		t.Fatalf("propose in the term: %v, %v", err, res.Err)
	}
	c.Crash(leader)
	c.Start(leader)
	c.Leader(s.Patience)
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	if res, err := old.Propose(ctx, entry(1)); !errors.Is(err, cluster.ErrTermOver) && !errors.Is(res.Err, cluster.ErrTermOver) {
		t.Errorf("propose after the term: got %v, %v, want ErrTermOver", err, res.Err)
	}
	c.must(s.Patience, 2, leader)
	c.Agree(s.Patience)
	if has(c.Node(leader), 1) {
		t.Error("the late proposal changed the state")
	}
}

func leadReturns(t *testing.T, s Suite, c *Cluster) {
	leader := c.Leader(s.Patience)
	c.Work(func(context.Context, string, cluster.Term) error { return errors.New("a fault in the work") })
	c.Crash(leader)
	c.Start(leader)
	before := len(c.Leads())
	c.Eventually(s.Patience, "lead is called again and again", func() bool { return len(c.Leads()) >= before+3 })
	c.Work(nil)
	c.Leader(s.Patience)
	c.must(s.Patience, 1, leader)
}

func noLeader(t *testing.T, s Suite, c *Cluster) {
	if len(c.shape) < 2 {
		t.Log("a single node always leads")
		return
	}
	left := c.follower()
	for _, m := range c.shape {
		if m.NodeID != left {
			c.Crash(m.NodeID)
		}
	}
	if s.Arbiter && !c.Isolate(left) { // else it would lead itself
		t.Log("this takes a network that can be cut")
		return
	}
	c.Eventually(s.Patience, "the last node knows no leader", func() bool { return c.Node(left).View().Leader == "" })
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond) // before a pair by claim goes on
	defer cancel()
	err := propose(ctx, c.Node(left), 1)
	if len(c.shape) == 2 && c.Node(left).View().Leader != "" {
		return // a pair by claim has just gone on
	}
	if !errors.Is(err, cluster.ErrNoLeader) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("propose without a leader: got %v, want ErrNoLeader and a deadline", err)
	}
}

func tooLarge(t *testing.T, s Suite, c *Cluster) {
	op := state.Commit{Pipeline: "test"}
	for i := range 5000 {
		op.Sent = append(op.Sent, alert.Version{ID: alert.ID{byte(i >> 8), byte(i)}})
	}
	for _, m := range c.shape {
		if _, err := c.Node(m.NodeID).Propose(t.Context(), op); err == nil {
			t.Errorf("a command above the limit through %s: got no error", m.NodeID)
		}
	}
	if _, err := c.Leads()[0].Term.Propose(t.Context(), op); err == nil {
		t.Error("a command above the limit in the term: got no error")
	}
	c.must(s.Patience, 1, c.shape[0].NodeID)
}

func stopHandsOver(t *testing.T, s Suite, c *Cluster) {
	leader := c.Leader(s.Patience)
	if err := c.Stop(leader); err != nil {
		t.Errorf("Run after its context ended: got %v, want nil", err)
	}
	stopped := time.Now()
	if len(c.shape) > 1 {
		next := c.Leader(s.Patience)
		c.must(s.Patience, 0, next)
		leads := c.Leads()
		if took := leads[len(leads)-1].Began.Sub(leads[len(leads)-2].Ended); s.Bubble && took > 100*time.Millisecond {
			t.Errorf("%s began %v after %s ended, %v after it was gone", next, took, leader, time.Since(stopped))
		}
	}
	c.Start(leader)
	c.Leader(s.Patience)
	c.must(s.Patience, 1, leader)
	c.Agree(s.Patience)
}

func transfer(t *testing.T, s Suite, c *Cluster) {
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	if err := c.Node(c.shape[0].NodeID).Transfer(ctx, "nobody", askedFor); err == nil {
		t.Error("transfer to nobody: got no error")
	}
	if len(c.shape) < 2 {
		if err := c.Node(c.shape[0].NodeID).Transfer(ctx, c.shape[0].NodeID, askedFor); err != nil {
			t.Errorf("transfer to the leader itself: %v", err)
		}
		return
	}
	for i := range 4 { // to and fro, asked of either node
		to, via := c.shape[(i+1)%2].NodeID, c.shape[i/2].NodeID
		if err := c.Node(via).Transfer(ctx, to, askedFor); err != nil {
			t.Fatalf("transfer to %s, asked of %s: %v", to, via, err)
		}
		if got := c.Node(via).View().State.Leader(); got != to {
			t.Errorf("after the transfer to %s the state's leader is %s", to, got)
		}
		c.must(s.Patience, i, via)
	}
	for _, m := range c.shape {
		if m.Role != cluster.Witness {
			continue
		}
		if err := c.Node(c.shape[0].NodeID).Transfer(ctx, m.NodeID, askedFor); err == nil {
			t.Error("transfer to the witness: got no error")
		}
	}
}

func cutOffLeader(t *testing.T, s Suite, c *Cluster) {
	if len(c.shape) < 3 && !s.Arbiter || len(c.shape) < 2 || !c.Isolate(c.Leader(s.Patience)) {
		t.Log("this takes three nodes and a network that can be cut")
		return
	}
	old := c.leading()
	next := c.Leader(s.Patience, old)
	c.must(s.Patience, 1, next)
	c.Heal(old)
	c.must(s.Patience, 2, old)
	c.Agree(s.Patience)
	leads := c.Leads() // the watch has failed the test if they overlap
	if c.toldToFinish(old) {
		t.Errorf("%s was told to finish its work as for a planned handover, though it was cut off", old)
	}
	if fmt.Sprint(leads[len(leads)-1].Node) == old {
		t.Errorf("%s leads again although nothing asked for it", old)
	}
}
