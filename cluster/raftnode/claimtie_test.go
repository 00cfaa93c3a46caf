package raftnode

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/cluster"
	"scomconnector/test/pipenet"
)

// awayClaims are claims on a share that can be away.
type awayClaims struct {
	Claims
	away atomic.Bool
}

var errAway = errors.New("the share is away")

func (c *awayClaims) Claim(ctx context.Context, epoch uint64, by Claim) (Claim, error) {
	if c.away.Load() {
		return Claim{}, errAway
	}
	return c.Claims.Claim(ctx, epoch, by)
}

func (c *awayClaims) Owner(ctx context.Context, epoch uint64) (Claim, bool, error) {
	if c.away.Load() {
		return Claim{}, false, errAway
	}
	return c.Claims.Owner(ctx, epoch)
}

// An operator's force had put both nodes into an epoch 2. The one that yields of two such had claimed epoch 3 before its process ended: it
// waited for the other one to take over what only it had, and the other one for it to go on alone. Nobody ever led again.
func TestNodeThatYieldsUsesTheClaimThatTheOtherWaitsFor(t *testing.T) {
	for _, c := range []struct {
		name string
		away time.Duration // how long the share is away from the node that owns the claim, once it is back
	}{{"share at hand", 0}, {"share away", 20 * time.Second}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net, share := pipenet.New(), FileClaims(t.TempDir())
				claims := &awayClaims{Claims: share}
				primary := Config{NodeID: "primary", Role: cluster.Primary, Members: two, PairTakeover: takeoverClaim, Claims: claims, Memory: NewMemory()}
				secondary := Config{NodeID: "secondary", Role: cluster.Secondary, Members: two, PairTakeover: takeoverClaim, Claims: share, Memory: NewMemory()}
				a, b := inMemoryWith(t, net, primary), inMemoryWith(t, net, secondary)
				votes := func() bool { return a.term.Load() != nil && suffrage(a.servers(), "secondary") == "voter" }
				until(t, 10*time.Second, "the secondary votes", votes)

				claims.away.Store(true)
				net.Cut("primary", "secondary")
				until(t, 10*time.Second, "the secondary goes on alone", func() bool { return b.term.Load() != nil && b.ident().Epoch.Number == 2 })
				until(t, 10*time.Second, "the primary leads no more", func() bool { return a.term.Load() == nil })
				if err := a.TakeOver(t.Context(), "the test", true); err != nil {
					t.Fatal(err)
				}
				claims.away.Store(false)
				if err := a.claim(t.Context(), 3, time.Second); err != nil {
					t.Fatal(err)
				}
				for _, n := range []*Node{a, b} {
					if err := n.Close(); err != nil {
						t.Fatal(err)
					}
				}

				b = inMemoryWith(t, net, secondary)
				until(t, 20*time.Second, "the secondary waits for the primary", func() bool {
					return b.View().Waiting == "primary has claimed to go on alone: waiting for it"
				})
				claims.away.Store(c.away > 0)
				net.Heal("primary", "secondary")
				a = inMemoryWith(t, net, primary)
				time.Sleep(c.away)
				claims.away.Store(false)
				until(t, 20*time.Second, "the primary leads in epoch 3, and the secondary votes", func() bool {
					return votes() && a.ident().Epoch.Number == 3
				})
			})
		})
	}
}
