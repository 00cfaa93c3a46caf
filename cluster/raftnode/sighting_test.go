package raftnode

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cluster"
)

// A node that is restarted twice in a moment calls before the one it takes the place of is out of contact. That is no clone: of a clone
// and its original, who has answered goes on answering.
func TestANodeRestartedTwiceInAMinuteIsNoClone(t *testing.T) {
	for name, c := range map[string]struct {
		answers string // who answers after the second process has called
		want    bool
	}{
		"restarted once":        {"second", false},
		"restarted twice":       {"third", false},
		"a clone that is there": {"first", true},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPeer(cluster.Member{NodeID: "secondary"}, hclog.NewNullLogger())
			p.note(greeting{Process: "first"})
			p.noteRival(greeting{Process: "second"})
			if p.twin() {
				t.Errorf("%s: an alarm before anybody has answered", name)
			}
			time.Sleep(2 * statusTimeout)
			p.note(greeting{Process: c.answers})
			if got := p.twin(); got != c.want {
				t.Errorf("%s: two processes: %v, want %v", name, got, c.want)
			}
		})
	}
}
