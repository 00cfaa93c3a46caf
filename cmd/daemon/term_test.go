package daemon

import (
	"bytes"
	"testing"
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
