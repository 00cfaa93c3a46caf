package daemon

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// A node that has yielded finds the winner's settings, perhaps under the number that its own had.
func TestOtherSettingsUnderTheSameNumberAreRead(t *testing.T) {
	c := newFakeCluster(t, 2, "primary", "primary").seeded(`"ConnectorDescription": "ours",`)
	n := nodeOf(c, nil)
	ours, err := n.settingsOf(1)
	if err != nil || ours.ConnectorDescription != "ours" {
		t.Fatalf("settings: %+v, %v", ours, err)
	}
	if again, err := n.settingsOf(1); again != ours || err != nil {
		t.Errorf("the same version was read twice: %v", err)
	}
	winner := newFakeCluster(t, 2, "secondary", "secondary").seeded(`"ConnectorDescription": "theirs",`)
	var b bytes.Buffer
	if _, err := winner.View().State.Snapshot().WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if err := n.live.Restore(&b); err != nil {
		t.Fatal(err)
	}
	theirs, err := n.settingsOf(1)
	if err != nil || theirs.ConnectorDescription != "theirs" {
		t.Errorf("settings after joining the other epoch: %+v, %v", theirs, err)
	}
}

// keepsBack is a log that keeps everything back but what changes a state.
type keepsBack struct {
	hclog.Logger
	all hclog.Logger
}

func (k keepsBack) Milestones() hclog.Logger { return k.all }

// What a term goes on with is never kept back.
func TestThatSettingsHaveChangedIsAlwaysSaid(t *testing.T) {
	n := nodeOf(newFakeCluster(t, 2, "primary", "primary").seeded(""), nil)
	var out bytes.Buffer
	n = newNode(Options{Node: n.opts.Node, Log: keepsBack{hclog.NewNullLogger(), hclog.New(&hclog.LoggerOptions{Output: &out})}})
	n.live = newFakeCluster(t, 2, "primary", "primary").seeded("").View().State
	n.goesOn(otherSettings, footing{version: 6})
	n.goesOn(otherSecret, footing{})
	if n := strings.Count(out.String(), "delivery goes on"); n != 2 {
		t.Errorf("%d of 2 changes are said:\n%s", n, out.String())
	}
}
