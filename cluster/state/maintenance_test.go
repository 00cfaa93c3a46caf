package state

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func enter(node string, start uint64, unless ...string) SetMaintenance {
	return SetMaintenance{Node: node, On: true, Start: start, Unless: unless, Author: "ann", At: t0}
}

func TestOnlyOneOfTwoNodesGoesIntoMaintenance(t *testing.T) {
	s := started(t)
	mustApply(t, s, 1, enter("primary", 1, "secondary"))
	mustRefuse(t, s, 1, enter("secondary", 1, "witness", "primary"), ErrMaintenance)
	mustApply(t, s, 1, enter("witness", 1)) // who names nobody waits for nobody
	mustApply(t, s, 1, enter("primary", 2, "primary", "secondary"))
	var names []string
	for _, m := range s.Maintenance() {
		names = append(names, m.Node)
	}
	if want := []string{"primary", "witness"}; !slices.Equal(names, want) {
		t.Errorf("in maintenance are %v, want %v", names, want)
	}
	if !s.InMaintenance("primary") || s.InMaintenance("secondary") || !s.InMaintenance("witness") || s.InMaintenance("") {
		t.Error("InMaintenance differs from the list")
	}
	mustApply(t, s, 1, SetMaintenance{Node: "primary", At: t0})
	mustApply(t, s, 1, enter("secondary", 1, "primary"))
}

func TestAFlagIsReplacedAsAWhole(t *testing.T) {
	s := started(t)
	first := enter("primary", 3)
	first.Sticky = true
	mustApply(t, s, 1, first)
	again := SetMaintenance{Node: "primary", On: true, Start: 4, Author: strings.Repeat("ü", 1000), At: t0.AddDate(0, 0, 1)}
	mustApply(t, s, 1, again)
	got := s.Maintenance()
	if len(got) != 1 || got[0].Sticky || got[0].Start != 4 || len(got[0].Author) != maxText || !got[0].At.Equal(again.At) {
		t.Errorf("got %+v, want the second with its author cut to %d bytes", got, maxText)
	}
	got[0].Node = "x"
	if !s.InMaintenance("primary") || s.Maintenance()[0].Node != "primary" {
		t.Error("a reader's copy is not its own")
	}
}

func TestANodeEndsOnlyTheFlagThatItHasSeen(t *testing.T) {
	s := started(t)
	mustApply(t, s, 1, enter("primary", 7))
	mustRefuse(t, s, 1, SetMaintenance{Node: "primary", Start: 6, At: t0}, ErrStale)
	mustApply(t, s, 1, SetMaintenance{Node: "primary", Start: 7, At: t0})
	before := snapshotBytes(t, s)
	for _, start := range []uint64{0, 7} { // nothing to end
		if parts := mustApply(t, s, 1, SetMaintenance{Node: "primary", Start: start, At: t0}); len(parts) > 0 {
			t.Errorf("ending what is not there changed %v", parts)
		}
	}
	if !bytes.Equal(before, snapshotBytes(t, s)) || s.InMaintenance("primary") {
		t.Error("ending what is not there changed the state, or the flag is still there")
	}
	mustApply(t, s, 1, enter("primary", 8))
	mustApply(t, s, 1, SetMaintenance{Node: "primary", At: t0}) // an operator names no start
	if s.InMaintenance("primary") {
		t.Error("an operator could not end it")
	}
}

func TestFlagsAreLimited(t *testing.T) {
	s := started(t)
	for i := range maxMaintenance {
		mustApply(t, s, 1, enter(fmt.Sprint("n", i), 1))
	}
	mustRefuse(t, s, 1, enter("one-more", 1), ErrFull)
	mustApply(t, s, 1, enter("n7", 2))
}
