package raftnode

import (
	"sync"
	"testing"
	"testing/synctest"

	"scomconnector/test/pipenet"
)

// What two connections bring is looked at in any order. An older word, taken for the newest, made a node that had just been taken in
// an older copy of itself: its data was put aside a second time.
func TestGreetingThatArrivesLateChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := inMemory(t, pipenet.New(), "primary", two...)
		says := greeting{NodeID: "secondary", Incarnation: "at first", Start: 1, Process: "p", Serial: 5, Applied: 9, LastIndex: 9, Ready: true}
		n.meet(says)
		wiped := greeting{NodeID: "secondary", Incarnation: "wiped", Start: 1, Process: "p", Serial: 6, Empty: true}
		says.Incarnation, says.Serial = "taken in", 7
		n.meet(says)
		n.meet(wiped)
		if got := n.peers["secondary"].now(); got.Incarnation != "taken in" || got.Empty {
			t.Errorf("after a greeting that came late the secondary is known as %+v", got.greeting)
		}
		says.Serial = 8
		n.meet(says)
		if got, older := n.peers["secondary"].older(); older {
			t.Errorf("%+v is taken for an older copy", got)
		}
	})
}

// A greeting is of one moment: which folder it is, and what is in it.
func TestGreetingIsOfOneFolderWhileItIsWiped(t *testing.T) {
	n := inMemory(t, pipenet.New(), "secondary", two...)
	holds := map[string]uint64{} // by incarnation
	var seen []greeting
	done := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if g := n.greeting(); len(seen) == 0 || g.Incarnation != seen[len(seen)-1].Incarnation || g.LastIndex != seen[len(seen)-1].LastIndex {
				seen = append(seen, g)
			}
		}
	})
	for i := range uint64(3000) {
		holds[n.ident().Incarnation] = i + 1
		n.kept.Store(i + 1)
		if err := n.wipe(); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	reader.Wait()
	held := map[string]bool{}
	for _, g := range seen {
		switch {
		case g.Empty && held[g.Incarnation]:
			t.Fatalf("folder %s was wiped and has not changed its name: %+v", g.Incarnation, g)
		case !g.Empty && g.LastIndex != holds[g.Incarnation]:
			t.Fatalf("folder %s holds %d entries and is said to hold %d", g.Incarnation, holds[g.Incarnation], g.LastIndex)
		}
		held[g.Incarnation] = !g.Empty
	}
}
