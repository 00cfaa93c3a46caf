package daemon

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/cluster"
	"scomconnector/poller"
)

// An outage lasts since it began, whoever has led meanwhile and however often the settings have changed.
func TestAnOutageIsDatedOverTerms(t *testing.T) {
	const name = "alerts/default"
	leading := cluster.View{NodeID: "b", Leader: "b", Leading: true}
	following := cluster.View{NodeID: "b", Leader: "a"}
	for what, c := range map[string]struct {
		before report        // of the leader before, as this node heard it
		own    bool          // this node has led before, and has seen it itself
		gap    time.Duration // until it is seen in the new term
		read   bool          // SCOM was read between
		kept   bool
	}{
		"its own, before other settings": {own: true, gap: time.Minute, kept: true},
		"its own, and SCOM was read":     {own: true, gap: time.Minute, read: true},
		"the leader's before":            {before: report{from: "a", Level: v1.Stopped, Cause: "scom " + name}, gap: time.Minute, kept: true},
		"another one":                    {before: report{from: "a", Level: v1.Stopped, Cause: "lam " + name}, gap: time.Minute},
		"the leader before was well":     {before: report{from: "a", Level: v1.OK, Cause: "delivering"}, gap: time.Minute},
		"it is long ago":                 {before: report{from: "a", Level: v1.Stopped, Cause: "scom " + name}, gap: outageGap},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, began := &node{}, time.Now()
				away := poller.Status{Name: name, ConsolesDownSince: began}
				time.Sleep(time.Hour)
				if c.own {
					n.lasting(leading, report{}, []poller.Status{away})
				} else {
					c.before.Since, c.before.at = began, time.Now()
					n.lasting(following, c.before, nil)
				}
				n.lasting(leading, report{}, []poller.Status{{Name: name}}) // begins, and knows nothing
				if c.read {
					n.lasting(leading, report{}, []poller.Status{{Name: name, LastPoll: time.Now()}})
				}
				time.Sleep(c.gap)
				again := time.Now()
				for range 3 { // minutes later still
					found := n.lasting(leading, report{}, []poller.Status{{Name: name, ConsolesDownSince: again}})
					want := again
					if c.kept {
						want = began
					}
					if len(found) != 1 || !found[0].since.Equal(want) {
						t.Fatalf("got %+v, want since %v", found, want)
					}
					time.Sleep(time.Minute)
				}
			})
		})
	}
}

// A term whose first question hangs is not well: what was so before is so until it is shown to be over, and who knows nothing says so.
func TestATermThatHasReadNothingIsNotWell(t *testing.T) {
	const name = "alerts/default"
	leading := cluster.View{NodeID: "b", Leader: "b", Leading: true}
	fresh := []poller.Status{{Name: name}}
	levels := func(n *node) (all []v1.Level) {
		for _, f := range n.lasting(leading, report{}, fresh) {
			all = append(all, f.level)
		}
		return all
	}
	synctest.Test(t, func(t *testing.T) {
		n := &node{}
		for _, want := range []struct {
			after  time.Duration
			levels []v1.Level
		}{{0, nil}, {settling - time.Second, nil}, {time.Second, []v1.Level{v1.Degraded}}, {longUnread - settling, []v1.Level{v1.Stopped}}} {
			time.Sleep(want.after)
			if got := levels(n); !slices.Equal(got, want.levels) {
				t.Errorf("after another %v: got %v, want %v", want.after, got, want.levels)
			}
		}
		if got := n.lasting(leading, report{}, []poller.Status{{Name: name, LastPoll: time.Now()}}); len(got) != 0 {
			t.Errorf("with an answer: got %+v", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		n, began := &node{}, time.Now()
		time.Sleep(time.Hour)
		n.lasting(leading, report{}, []poller.Status{{Name: name, ConsolesDownSince: began, SCOMBrief: "SCOM console scom1 hangs"}})
		for range 5 {
			time.Sleep(time.Second)
			got := n.lasting(leading, report{}, fresh)
			if len(got) != 1 || got[0].level != v1.Stopped || got[0].text != "SCOM console scom1 hangs" || !got[0].since.Equal(began) {
				t.Fatalf("got %+v", got)
			}
		}
		// The next leader has not spoken yet.
		got := n.lasting(cluster.View{NodeID: "b", Leader: "c"}, report{}, nil)
		if len(got) != 1 || got[0].level != v1.Degraded || !got[0].heard || !strings.Contains(got[0].text, "Before: SCOM console scom1 hangs") {
			t.Errorf("under another leader: got %+v", got)
		}
		got = n.lasting(cluster.View{NodeID: "b", Leader: "c"}, report{from: "c", Level: v1.OK, Cause: delivered, at: time.Now()}, nil)
		if len(got) != 0 {
			t.Errorf("once it has spoken: got %+v", got)
		}
	})
}
