package daemon

import (
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
