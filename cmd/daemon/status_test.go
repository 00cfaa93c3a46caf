package daemon

import (
	"testing"

	"scomconnector/cluster/state"
)

// A term is found in the log by the name that the status has for it.
func TestTheStatusNamesATermAsTheLogDoes(t *testing.T) {
	f := newFakeCluster(t, 3, "secondary", "primary").seeded("")
	n := nodeOf(f, nil)
	if s := n.status(); s.Token != "" {
		t.Errorf("before the first term its name is %q", s.Token)
	}
	f.view.Token = state.Token{Epoch: state.Epoch{Number: 1, Node: "primary"}, Term: 1}
	s := n.status()
	if want := f.view.Token.String(); s.Token != want || want != "1.primary.1" {
		t.Errorf("the term is %q, in the log it is %q", s.Token, want)
	}
	if len(s.Changes) != 1 || s.Changes[0].Token != s.Token {
		t.Errorf("the changes %+v name it otherwise", s.Changes)
	}
}
