package daemon

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	v1 "scomconnector/api/v1"
	"scomconnector/cluster"
	"scomconnector/cluster/state"
	"scomconnector/poller"
)

func TestVerdictSaysOnlyWhatIsSo(t *testing.T) {
	led := stateOf(t, state.TermStart{Node: "a", ClusterID: "c", At: time.Now()})
	leading := cluster.View{NodeID: "a", Leader: "a", Leading: true, State: led}
	following := cluster.View{NodeID: "b", Leader: "a", State: led}
	pipe := poller.Status{Name: "alerts/default", Phase: poller.PhaseFirst}
	sending := pipe
	sending.LastSent = time.Now()
	late, down := sending, pipe
	late.UnansweredSince, late.SCOMError, late.Phase = time.Now(), "no answer in 60 s", poller.PhaseCatchingUp
	down.UnansweredSince, down.ConsolesDownSince, down.SCOMError = time.Now(), time.Now(), "no answer in 60 s"
	first := pipe
	first.UnansweredSince = time.Now()
	besideSlow, behindSlow := leading, following
	besideSlow.Members = []cluster.MemberView{{Member: cluster.Member{NodeID: "b"}, Slow: cluster.Slowness{Text: "is too slow for Timing lan", Do: "more CPU"}}}
	behindSlow.Members = []cluster.MemberView{{Member: cluster.Member{NodeID: "c"}, Slow: besideSlow.Members[0].Slow}}
	for name, c := range map[string]struct {
		in    verdictInput
		level v1.Level
		says  string
	}{
		"a leader that SCOM has not answered yet":  {verdictInput{view: leading, pipes: []poller.Status{pipe}}, v1.OK, "Starting"},
		"a leader in the middle of its first read": {verdictInput{view: leading, pipes: []poller.Status{sending}}, v1.OK, "Delivering"},
		"a leader that waits for the next poll":    {verdictInput{view: leading, pipes: []poller.Status{late}}, v1.Degraded, "SCOM was not read when last asked: no answer in 60 s"},
		"a leader whose first poll has failed":     {verdictInput{view: leading, pipes: []poller.Status{first}}, v1.Degraded, "SCOM was not read"},
		"a leader whose first polls have failed":   {verdictInput{view: leading, pipes: []poller.Status{down}}, v1.Stopped, "NOT DELIVERING"},
		"a leader whose store has failed":          {verdictInput{view: leading, health: cluster.Health{StoreFault: "no space"}}, v1.Stopped, "NOT DELIVERING"},
		"a leader on a machine that is too slow":   {verdictInput{view: leading, health: cluster.Health{Slow: cluster.Slowness{Text: "is too slow for Timing lan", Do: "more CPU"}}}, v1.Degraded, "This machine is too slow for Timing lan."},
		"a leader beside a machine that is slow":   {verdictInput{view: besideSlow}, v1.Degraded, "Delivering, but the machine of b is too slow for Timing lan."},
		"a follower beside a machine that is slow": {verdictInput{view: behindSlow}, v1.OK, "Standing by"},
		"a follower whose store has failed":        {verdictInput{view: following, health: cluster.Health{StoreFault: "no space"}}, v1.Degraded, "a leads, but this node cannot follow"},
		"a follower":                               {verdictInput{view: following}, v1.OK, "Standing by"},
	} {
		n := &node{started: time.Now()}
		got := n.verdict(&v1.Status{Node: c.in.view.NodeID, Store: v1.Store{FreeBytes: -1}}, c.in)
		if got.Level != c.level || !strings.HasPrefix(got.Text, c.says) {
			t.Errorf("%s: got %s %q, want %s %q", name, got.Level, got.Text, c.level, c.says)
		}
	}
}

// What the nodes of a cluster mean for each other is said on each one's page.
func TestVerdictOnTheCluster(t *testing.T) {
	long := time.Now().Add(-time.Hour)
	away := func(id string) func(*fakeCluster) {
		return func(c *fakeCluster) {
			c.change(id, func(m *cluster.MemberView) { m.Fault, m.LastContact = "timeout", long })
		}
	}
	noVote := func(c *fakeCluster) {
		c.change("secondary", func(m *cluster.MemberView) { m.Suffrage = "nonvoter" })
	}
	flagged := func(c *fakeCluster) { c.apply(state.SetMaintenance{Node: "secondary", On: true}) }
	notice := func(c *fakeCluster) { c.view.Notice = "Keys were put back." }
	full := func(c *fakeCluster) {
		today := time.Now().UTC().Truncate(24 * time.Hour)
		c.view.Stall = cluster.Stall{Text: "etcd takes no writes", Do: "etcdctl", Since: today.Add(14*time.Hour + 27*time.Minute)}
	}
	sent := []poller.Status{{Name: "alerts/default", Phase: poller.PhasePolling, LastSent: time.Now(), LastPoll: time.Now()}}
	for name, c := range map[string]struct {
		members      int
		self, leader string
		is           func(*fakeCluster)
		back         pendingReturn
		level        v1.Level
		text, do     string
	}{
		"all well":                        {members: 2, self: "primary", leader: "primary", level: v1.OK, text: "Delivering: all that SCOM shows"},
		"a pair whose other one is lost":  {2, "primary", "primary", away("secondary"), pendingReturn{}, v1.Degraded, "If this machine dies now, nobody takes over by itself", "start secondary"},
		"a pair whose other one is back":  {2, "primary", "primary", noVote, pendingReturn{}, v1.Degraded, "secondary has no vote until it has caught up. If this machine dies now", "wait"},
		"of three one is lost":            {3, "primary", "primary", away("secondary"), pendingReturn{}, v1.Degraded, "Delivering, but secondary is not in contact.", "start secondary"},
		"of three one has no vote yet":    {members: 3, self: "primary", leader: "primary", is: noVote, level: v1.OK, text: "Delivering"},
		"a fail-back is due":              {members: 3, self: "secondary", leader: "secondary", back: pendingReturn{to: "primary", at: time.Date(2026, 1, 1, 12, 0, 5, 0, time.UTC)}, level: v1.OK, text: "primary takes over again at 12:00:05 UTC"},
		"the other one is in maintenance": {members: 3, self: "primary", leader: "primary", is: flagged, level: v1.OK, text: "secondary is in maintenance: it does not take over."},
		"in maintenance":                  {members: 3, self: "secondary", leader: "primary", is: flagged, level: v1.OK, text: "In maintenance: this node does not take over. primary leads"},
		"the witness":                     {members: 3, self: "witness", leader: "primary", level: v1.OK, text: "Witness: primary leads"},
		"only the witness is left":        {3, "witness", "witness", away("primary"), pendingReturn{}, v1.Stopped, "only a witness is left", "start"},
		"a term that is over":             {2, "primary", "primary", func(c *fakeCluster) { c.idle = true }, pendingReturn{}, v1.Degraded, "Nothing is delivered right now", "nothing yet"},
		"without the etcd":                {2, "secondary", "primary", func(c *fakeCluster) { c.view.Waiting, c.view.Do = "etcd does not answer", "doctor" }, pendingReturn{}, v1.Degraded, "does not know who leads: etcd does not answer.", "doctor"},
		"nobody leads":                    {2, "secondary", "", away("primary"), pendingReturn{}, v1.Stopped, "primary is out of contact", "start primary"},
		"an alarm beside a leader":        {3, "secondary", "primary", func(c *fakeCluster) { c.view.Alarm = "witness is of another cluster." }, pendingReturn{}, v1.Degraded, "witness is of another cluster", "mend"},
		"an alarm without one":            {3, "secondary", "", func(c *fakeCluster) { c.view.Alarm = "primary is of another cluster" }, pendingReturn{}, v1.Stopped, "NOT DELIVERING", "mend"},
		"what was put back, leader":       {members: 2, self: "primary", leader: "primary", is: notice, level: v1.OK, text: "has reached Moogsoft. Keys were put back."},
		"what was put back, follower":     {members: 2, self: "secondary", leader: "primary", is: notice, level: v1.OK, text: "on its page. Keys were put back."},
		"a leader that cannot commit":     {2, "primary", "primary", full, pendingReturn{}, v1.Stopped, "NOT DELIVERING since 14:27 UTC: etcd takes no writes.", "etcdctl"},
		"a follower of one":               {2, "secondary", "primary", full, pendingReturn{}, v1.Stopped, "NOT DELIVERING since 14:27 UTC: etcd takes no writes.", "etcdctl"},
	} {
		f := newFakeCluster(t, c.members, c.self, "primary").seeded("")
		f.lead(c.leader, cluster.CauseElected)
		if c.is != nil {
			c.is(f)
		}
		n := nodeOf(f, nil)
		n.started = long
		n.sawLeader.Store(true)
		v := f.View()
		in := verdictInput{view: v, back: c.back}
		if slices.Contains(n.unready(), "etcd takes no writes") != (v.Stall.Text != "") {
			t.Errorf("%s: not ready because of %q", name, n.unready())
		}
		if v.Leading {
			in.pipes = sent
		}
		got := n.verdict(&v1.Status{Node: c.self, Members: n.members(v), Store: v1.Store{FreeBytes: -1}}, in)
		if got.Level != c.level || !strings.Contains(got.Text, c.text) || strings.Contains(got.Text, "..") || !strings.Contains(got.Do, c.do) || (got.Level != v1.OK) != (got.Do != "") {
			t.Errorf("%s: got %s %q, do %q; want %s %q, do %q", name, got.Level, got.Text, got.Do, c.level, c.text, c.do)
		}
	}
}

// With an etcd a member is ready, without etcd, or out of contact: what it said last does not count once it is away.
func TestWhatAMemberOfAnEtcdCouldDo(t *testing.T) {
	for part, is := range map[string]func(m *cluster.MemberView){
		v1.PartReady:   func(m *cluster.MemberView) { m.Suffrage = "candidate" },
		v1.PartWithout: func(m *cluster.MemberView) { m.Suffrage = "none" },
		v1.PartAway:    func(m *cluster.MemberView) { m.Suffrage, m.Fault = "candidate", "connection refused" },
	} {
		f := newFakeCluster(t, 2, "primary", "primary")
		f.change("secondary", is)
		n := nodeOf(f, nil)
		n.opts.Node.Coordination = "etcd"
		got := n.members(f.View())[1]
		if got.Part != part || got.Voter != (part == v1.PartReady) {
			t.Errorf("got part %q, voter %v; want %q", got.Part, got.Voter, part)
		}
		got.LastContact = time.Now().Add(-inContact / 2)
		want := map[string]int{v1.PartReady: 0, v1.PartWithout: 1, v1.PartAway: 0}[part] // one just gone may be back at once
		if list := memberFinding(got, true, true); len(list) != want {
			t.Errorf("%s: got %+v", part, list)
		}
		got.LastContact = time.Now().Add(-2 * inContact)
		if list := memberFinding(got, true, true); part == v1.PartAway && (len(list) != 1 || !strings.Contains(list[0].text, "not in contact. If this machine dies now, nobody takes over")) {
			t.Errorf("%s for long: got %+v", part, list)
		}
	}
}

func TestAMemberIsNamedWithItsRoleOnce(t *testing.T) {
	for want, m := range map[string]v1.Member{"primary": {Node: "primary", Role: "Primary"}, "witness scomc3": {Node: "scomc3", Role: "Witness"}} {
		if got := titled(m); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Every hand-over is counted by its cause; a cause that the metric does not have would break the closed set of its label.
func TestHandoversAreCountedByCause(t *testing.T) {
	n := nodeOf(newFakeCluster(t, 2, "primary", "primary"), nil)
	n.countHandover(cluster.CauseStop, nil)
	n.countHandover(cluster.CauseWitness, errors.New("it lags"))
	n.countHandover(cluster.CauseWitness, errors.New("it lags"))
	n.countHandover(cluster.CauseLost, nil)
	for labels, want := range map[[2]string]float64{{"stop", "ok"}: 1, {"stop", "failed"}: 0, {"witness", "failed"}: 2, {"failback", "ok"}: 0} {
		if got := testutil.ToFloat64(n.handovers.WithLabelValues(labels[0], labels[1])); got != want {
			t.Errorf("handover_total%v: got %v, want %v", labels, got, want)
		}
	}
	if got := testutil.CollectAndCount(n.handovers); got != len(handoverReasons)*len(handoverOutcomes) {
		t.Errorf("%d series, want %d", got, len(handoverReasons)*len(handoverOutcomes))
	}
}

// Only a node that has not seen a leader yet is starting.
func TestWhoHasSeenALeaderIsNotStarting(t *testing.T) {
	f := newFakeCluster(t, 2, "secondary", "primary")
	n := nodeOf(f, nil)
	verdict := func(leader string) v1.Verdict {
		f.lead(leader, cluster.CauseElected)
		return n.verdict(&v1.Status{Node: "secondary", Store: v1.Store{FreeBytes: -1}}, verdictInput{view: f.View()})
	}
	for i, want := range []v1.Level{v1.OK, v1.OK, v1.Stopped} {
		if got := verdict([]string{"", "primary", ""}[i]); got.Level != want {
			t.Errorf("step %d: got %s %q, want %s", i, got.Level, got.Text, want)
		}
	}
}

// With its only endpoint gone a leader said, until its lease had ended, that nothing stops while a majority works.
func TestALeaderWhoseEtcdIsGoneDoesNotSayThatNothingStops(t *testing.T) {
	gone := v1.EtcdEndpoint{URL: "https://etcd1:2379", Fault: "connection refused", Version: "3.4.23"}
	there := v1.EtcdEndpoint{URL: "https://etcd2:2379", Version: "3.4.23"}
	for _, c := range []struct {
		name      string
		endpoints []v1.EtcdEndpoint
		do        string
	}{
		{"one of two", []v1.EtcdEndpoint{gone, there}, "nothing stops"},
		{"the only one", []v1.EtcdEndpoint{gone}, "nobody delivers"},
		{"all", []v1.EtcdEndpoint{gone, gone, gone}, "nobody delivers"},
	} {
		found := etcdFindings(&v1.Status{Leader: "a", Etcd: &v1.Etcd{Endpoints: c.endpoints}})
		if len(found) == 0 || !strings.Contains(found[0].do, c.do) {
			t.Errorf("%s: got %+v, want %q", c.name, found, c.do)
		}
	}
}
