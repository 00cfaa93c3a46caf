package daemon

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/cluster"
	"scomconnector/cluster/state"
	"scomconnector/poller"
)

// Whoever is woken opens any node's page: it says what the leader says, as long as that is known.
func TestAnyNodeTellsWhatTheLeaderSays(t *testing.T) {
	since := time.Date(2026, 1, 2, 3, 2, 0, 0, time.UTC)
	stopped := report{Level: v1.Stopped, Text: "LAM lam1 answers 401, token refused", Do: "check AuthTokenCode", Since: since,
		LAMs: []v1.LAM{{Name: "lam1", State: "failing", InUse: true}}}
	token := state.Token{Epoch: state.Epoch{Number: 1, Node: "primary"}, Term: 5}
	dated := func(leader string, term uint64) report {
		r := stopped
		r.Leader, r.Epoch, r.Term = leader, 1, term
		return r
	}
	fine := report{Level: v1.OK, Text: "Delivering: all that SCOM shows has reached Moogsoft."}
	for name, c := range map[string]struct {
		self    string
		answer  any
		later   time.Duration
		leader  string // at the end; empty: primary still
		level   v1.Level
		says    string
		lams    int
		failing bool
	}{
		"the leader does not deliver":    {"secondary", stopped, 0, "", v1.Stopped, "primary, which leads, says: LAM lam1 answers 401, token refused. Do: check AuthTokenCode", 1, true},
		"the witness says so, too":       {"witness", stopped, 0, "", v1.Stopped, "primary, which leads, says: LAM lam1", 1, true},
		"the leader is fine":             {"secondary", fine, 0, "", v1.OK, "Standing by: primary leads and says: Delivering: all", 0, false},
		"the leader is of an older time": {"secondary", nil, 0, "", v1.OK, "whether it delivers is on its page", 1, false},
		"what it said is old":            {"secondary", stopped, reportHolds, "", v1.OK, "whether it delivers is on its page", 1, false},
		"what it says is of its term":    {"secondary", dated("primary", 5), 0, "", v1.Stopped, "primary, which leads, says: LAM lam1", 1, true},
		"it speaks of an earlier term":   {"secondary", dated("primary", 4), 0, "", v1.OK, "whether it delivers is on its page", 1, false},
		"it did not know that it leads":  {"secondary", dated("", 5), 0, "", v1.OK, "whether it delivers is on its page", 1, false},
		"another one leads":              {"secondary", stopped, 0, "witness", v1.OK, "whether it delivers is on its page", 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeCluster(t, 3, c.self, "primary").seeded("")
				f.answer("primary", c.answer)
				f.view.Token = token
				n := nodeOf(f, nil)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() { defer close(ended); n.watchLeader(ctx) }()
				time.Sleep(reportEvery + time.Millisecond)
				cancel()
				<-ended
				time.Sleep(c.later)
				if c.leader != "" {
					f.lead(c.leader, cluster.CauseElected)
				}
				s := n.status()
				if s.Verdict.Level != c.level || !strings.Contains(s.Verdict.Sentence(), c.says) {
					t.Errorf("got %s %q, want %s %q", s.Verdict.Level, s.Verdict.Sentence(), c.level, c.says)
				}
				if c.level == v1.Stopped && (!strings.HasPrefix(s.Verdict.Text, "NOT DELIVERING since") || !s.Verdict.Since.Equal(since)) {
					t.Errorf("got %q since %v, want what the leader says", s.Verdict.Text, s.Verdict.Since)
				}
				if len(s.LAMs) != c.lams || c.failing && s.LAMs[0].State != "failing" {
					t.Errorf("got LAMs %+v", s.LAMs)
				}
			})
		})
	}
}

// What is replicated is this node's own word, as the totals are: the leader's is some seconds old.
func TestWhatIsReplicatedIsNotTakenFromTheLeader(t *testing.T) {
	own := v1.Pipeline{Name: "p", Sent: 90, Remembered: 12, Parked: 1, Cursor: time.UnixMilli(2000)}
	s := v1.Status{Totals: v1.Totals{Processed: 90}, Pipelines: []v1.Pipeline{own}}
	theirs := v1.Pipeline{Name: "p", Sent: 88, Remembered: 11, Cursor: time.UnixMilli(1000), Phase: "idle", LagSeconds: 3, LagKnown: true}
	report{from: "primary", Pipelines: []v1.Pipeline{theirs}}.show(&s)
	want := own
	want.Phase, want.LagSeconds, want.LagKnown = theirs.Phase, theirs.LagSeconds, theirs.LagKnown
	if got := s.Pipelines[0]; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// An alert that was accepted after the leader's word was in the total and not in the count beside it: 62 accepted in all, 61 since the term.
func TestTheLeadersCountsAgreeWithTheTotals(t *testing.T) {
	flow := func(read, sent, accepted uint64, waiting int) v1.Flow {
		return v1.Flow{Since: time.UnixMilli(1000), Read: v1.Step{Count: read}, Sent: v1.Step{Count: sent}, Accepted: v1.Step{Count: accepted}, Waiting: waiting}
	}
	for _, c := range []struct {
		name      string
		own       uint64
		flow      v1.Flow
		theirs    v1.Flow
		theirSent uint64
	}{
		{"the same", 61, flow(70, 61, 61, 3), flow(70, 61, 61, 3), 61},
		{"one more, which was sent", 62, flow(70, 62, 62, 2), flow(70, 62, 61, 3), 61},
		{"five more, not read yet", 66, flow(66, 66, 66, 0), flow(61, 61, 61, 3), 61},
		{"this copy is behind", 60, flow(70, 61, 60, 3), flow(70, 61, 61, 3), 61},
		{"this copy is behind from before the term", 50, flow(70, 61, 0, 3), flow(70, 61, 5, 3), 61},
	} {
		s := v1.Status{Pipelines: []v1.Pipeline{{Name: "p", Sent: c.own}}}
		report{from: "primary", Pipelines: []v1.Pipeline{{Name: "p", Sent: c.theirSent, Flow: c.theirs}}}.show(&s)
		if got := s.Pipelines[0].Flow; got != c.flow {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.flow)
		}
	}
}

// Of a leader that is out of contact nothing is told as its present word.
func TestALeaderOutOfContactSaysNothing(t *testing.T) {
	f := newFakeCluster(t, 3, "secondary", "primary").seeded("")
	n := nodeOf(f, nil)
	n.leaders = report{Level: v1.OK, Text: "Delivering.", from: "primary", at: time.Now()}
	if got := n.leadersReport(f.View()); got.from == "" {
		t.Error("what a leader in contact says is not shown")
	}
	f.change("primary", func(m *cluster.MemberView) { m.Fault, m.LastContact = "timeout", time.Now().Add(-2*reportEvery) })
	if got := n.leadersReport(f.View()); got.from != "" {
		t.Errorf("got %+v of a leader out of contact", got)
	}
}

func TestTheLeaderReportsItsVerdictWithoutTheTime(t *testing.T) {
	f := newFakeCluster(t, 2, "primary", "primary").seeded("")
	n := nodeOf(f, nil)
	n.setTrouble(trouble{text: "SCOM does not answer", do: "start it"})
	request, err := json.Marshal(question{Ask: askReport})
	if err != nil {
		t.Fatal(err)
	}
	body, err := n.serveAsk(t.Context(), "secondary", request)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(body, &r); err != nil || r.Level != v1.Stopped || r.Text != "SCOM does not answer" || r.Do != "start it" || len(r.SCOM) != 1 {
		t.Errorf("got %s, %v", body, err)
	}
}

func TestADiskThatIsNearlyFullIsTold(t *testing.T) {
	for free, want := range map[float64]v1.Level{100 << 20: v1.Degraded, 100 << 30: v1.OK, math.NaN(): v1.OK} {
		f := newFakeCluster(t, 2, "secondary", "primary").seeded("")
		n := nodeOf(f, nil)
		n.diskFree = func(string) float64 { return free }
		s := n.status()
		if s.Verdict.Level != want || want == v1.Degraded && !strings.Contains(s.Verdict.Sentence(), "only 100 MB left") {
			t.Errorf("%v bytes: got %s %q, want %s", free, s.Verdict.Level, s.Verdict.Sentence(), want)
		}
		if known := s.Store.FreeBytes >= 0; known == math.IsNaN(free) {
			t.Errorf("%v bytes: the status says %d", free, s.Store.FreeBytes)
		}
	}
}

func TestRatesAreOfTheLastMinute(t *testing.T) {
	var f flows
	start := time.Now()
	f.begin(start)
	at := func(seconds int, polls, accepted uint64) v1.Flow {
		now := start.Add(time.Duration(seconds) * time.Second)
		p := poller.Status{Name: "p", Undelivered: 3, Flow: poller.Flow{Polls: polls, Accepted: accepted}}
		got := f.of(now, p)
		f.note(now, []poller.Status{p})
		return got
	}
	for _, c := range []struct {
		seconds         int
		polls, accepted uint64
		rate            float64
	}{
		{0, 0, 0, 0}, {30, 10, 60, 120}, {60, 20, 120, 120}, {90, 30, 120, 60}, {120, 40, 120, 0}, {150, 50, 620, 500},
	} {
		got := at(c.seconds, c.polls, c.accepted)
		if got.Accepted != (v1.Step{Count: c.accepted, PerMinute: c.rate}) || got.Waiting != 3 {
			t.Errorf("after %d s: got %+v, want %v a minute", c.seconds, got.Accepted, c.rate)
		}
	}
	f.note(start, nil)
	if len(f.past) != 0 {
		t.Error("pipelines that do not run are remembered")
	}
}

// What was read before the first sample and accepted after it has one rate, and pipelines of a few seconds have none; when others
// begin, all counts anew.
func TestRatesOfARowBelongTogether(t *testing.T) {
	var f flows
	start := time.Now()
	f.begin(start)
	at := func(seconds int, flow poller.Flow) v1.Flow {
		now := start.Add(time.Duration(seconds) * time.Second)
		p := poller.Status{Name: "p", Flow: flow}
		f.note(now, []poller.Status{p})
		return f.of(now, p)
	}
	at(1, poller.Flow{Polls: 2, Read: 44})
	if got := at(4, poller.Flow{Polls: 4, Read: 58, Posted: 58, Accepted: 58}); got.RatesKnown || got.Polls != (v1.Step{Count: 4}) {
		t.Errorf("after 4 s: %+v, want no rates", got)
	}
	got := at(30, poller.Flow{Polls: 15, Read: 58, Posted: 58, Accepted: 58})
	if want := (v1.Step{Count: 58, PerMinute: 116}); !got.RatesKnown || got.Read != want || got.Sent != want || got.Accepted != want || got.Polls.PerMinute != 30 {
		t.Errorf("after 30 s: %+v, want %+v for each", got, want)
	}
	start = start.Add(40 * time.Second)
	f.begin(start)
	if got := at(20, poller.Flow{Polls: 20}); got.Polls.PerMinute != 60 || !got.Since.Equal(start) {
		t.Errorf("20 s after others began: %+v, want 60 polls a minute since then", got)
	}
}
