package raftnode

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/cluster"
	"scomconnector/test/pipenet"
)

// The leader came back while the other node asked whether it may take over. The keeper then waited for the whole of a new patience, up to
// an hour: meanwhile no operator could take over, and no raft was started anew.
func TestLeaderThatIsBackWhileItIsAskedDoesNotHoldTheKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, data := pipenet.New(), NewMemory()
		asked, back := make(chan struct{}, 100), make(chan struct{})
		primary := Config{NodeID: "primary", Role: cluster.Primary, Members: two, Memory: data}
		p := inMemoryWith(t, net, primary)
		s := inMemoryWith(t, net, Config{
			NodeID: "secondary", Role: cluster.Secondary, Members: two, TakeoverAfter: 10 * time.Minute,
			MayTakeOver: func(ctx context.Context) error {
				asked <- struct{}{}
				select {
				case <-back:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			},
		})
		until(t, 10*time.Second, "both vote", func() bool { return p.term.Load() != nil && p.Health().Voters == 2 })
		time.Sleep(time.Second)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		<-asked
		inMemoryWith(t, net, primary)
		until(t, mayTimeout, "there is a leader again", s.leaderAlive)
		close(back)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.change(ctx, func() error { return nil }); err != nil {
			t.Errorf("the keeper does nothing: %v", err)
		}
	})
}

// Raft of the leader stands still, and its node does not: it is no machine that was lost, and its own watchdogs end it.
func TestPairAvailabilityDoesNotTakeOverFromANodeThatAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := pipenet.New()
		p, s := inMemory(t, net, "primary", two...), inMemory(t, net, "secondary", two...)
		until(t, 10*time.Second, "both vote", func() bool { return p.term.Load() != nil && p.Health().Voters == 2 })
		time.Sleep(time.Second)
		if err := p.inst.Load().raft.Shutdown().Error(); err != nil {
			t.Fatal(err)
		}
		until(t, 10*time.Second, "the leader has fallen silent", func() bool { return !s.leaderAlive() })
		for range 120 {
			time.Sleep(time.Second)
			if got := s.ident(); got.Epoch.Number != 1 || got.Forced.pending() {
				t.Fatalf("it takes over from a node that answers: %+v", got)
			}
		}
		if err := p.Close(); err != nil {
			t.Log(err)
		}
		until(t, 10*time.Second, "it takes over once that one is gone", func() bool { return s.View().Leading })
	})
}
