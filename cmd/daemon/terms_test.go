package daemon

import (
	"testing"

	"scomconnector/cluster/state"
)

func TestEachTermIsCountedOnce(t *testing.T) {
	history := func(terms ...uint64) (out []state.Change) { // newest first
		for _, n := range terms {
			out = append(out, state.Change{Token: state.Token{Epoch: state.Epoch{Number: 1, Node: "n1"}, Term: n}})
		}
		return out
	}
	var last state.Token
	for i, look := range []struct {
		changes []state.Change
		want    uint64
	}{
		{nil, 0},
		{history(7, 6, 5), 1}, // it all began before this node did
		{history(7, 6, 5), 0},
		{history(10, 9, 8, 7, 6), 3}, // three within a second
		{history(11, 10, 9, 8, 7, 6), 1},
		{history(3, 2), 1}, // of another cluster's history, which took its place
	} {
		if got := termsSince(&last, look.changes); got != look.want {
			t.Errorf("look %d: %d terms, want %d", i, got, look.want)
		}
	}
}
