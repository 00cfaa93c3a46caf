package daemon

import (
	"testing"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

// A server that has answered the leader before is not told as one that never has, by the new leader nor by whoever follows it; of
// another address nothing is known.
func TestAGoodAnswerOutlivesItsLeader(t *testing.T) {
	f := newFakeCluster(t, 3, "secondary", "primary").seeded("")
	f.apply(state.Commit{Pipeline: "alerts/default"})
	n := nodeOf(f, nil)
	read, sent := time.Now().Add(-time.Minute).UTC(), time.Now().Add(-time.Hour).UTC()
	cet := time.FixedZone("CET", 3600)
	n.leaders = report{Level: v1.OK, from: "primary", at: time.Now(),
		Pipelines: []v1.Pipeline{{Name: "alerts/default", LastPoll: read, LastSent: sent}},
		SCOM:      []v1.Console{{Name: "scom", URL: "http://scom:80/OperationsManager", LastOK: read.In(cet)}},
		LAMs:      []v1.LAM{{Name: "http://lam:80/events", URL: "http://lam:80/events", Destination: "default", LastOK: sent}}}
	told := func(when string, read, sent time.Time) {
		t.Helper()
		s := n.status()
		if got := s.SCOM[0]; !got.LastOK.Equal(read) || got.LastOK.Location() != time.UTC || when != "followed" && got.State != "unknown" {
			t.Errorf("%s: the console is %s, last good answer %v, want %v", when, got.State, got.LastOK, read)
		}
		if got := s.LAMs[0]; !got.LastOK.Equal(sent) {
			t.Errorf("%s: the LAM last accepted %v, want %v", when, got.LastOK, sent)
		}
		if got := s.Pipelines[0]; !got.LastPoll.Equal(read) || !got.LastSent.Equal(sent) {
			t.Errorf("%s: the pipeline was read at %v and sent at %v, want %v and %v", when, got.LastPoll, got.LastSent, read, sent)
		}
	}
	told("followed", read, sent)
	f.lead("secondary", cluster.CauseLost)
	told("this node leads", read, sent)
	f.lead("witness", cluster.CauseElected)
	told("a leader that has not spoken yet", read, sent)
	f.lead("secondary", cluster.CauseElected)
	f.seeded(`"AuthTokenRequired": false,`)
	told("other settings", read, sent)
	f.lead("primary", cluster.CauseElected)
	n.leaders = report{Level: v1.OK, from: "primary", at: time.Now(), SCOM: []v1.Console{{Name: "scom", URL: "http://scom:80/OperationsManager", State: "unknown"}}, LAMs: n.leaders.LAMs}
	told("a leader that has asked nothing yet", read, sent)
	if got := n.leaders.SCOM[0].LastOK; !got.IsZero() {
		t.Errorf("the leader's own word was changed: %v", got)
	}
	n.answered[answerer{"console", "scom", "http://scom:80/OperationsManager"}] = time.Now().Add(time.Minute)
	if got := n.status().SCOM[0].LastOK; !got.IsZero() {
		t.Errorf("by a clock that is ahead it answered at %v", got)
	}
	n.answered[answerer{"console", "scom", "http://scom:80/OperationsManager"}] = read
	n.answered[answerer{"console", "scom", "http://elsewhere/OperationsManager"}] = read
	delete(n.answered, answerer{"console", "scom", "http://scom:80/OperationsManager"})
	if got := n.status().SCOM[0].LastOK; !got.IsZero() {
		t.Errorf("another address answered at %v", got)
	}
	if len(n.answered) != 3 {
		t.Errorf("remembered: %v, want what the status names", n.answered)
	}
}
