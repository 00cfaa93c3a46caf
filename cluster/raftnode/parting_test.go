package raftnode

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/cluster"
	"scomconnector/test/pipenet"
)

// slowClaims has everybody win, once during has returned.
type slowClaims struct{ during func() }

func (c *slowClaims) Claim(_ context.Context, _ uint64, by Claim) (Claim, error) {
	c.during()
	return by, nil
}

func (c *slowClaims) Owner(context.Context, uint64) (Claim, bool, error) { return Claim{}, false, nil }

// While a leader claimed the next epoch its follower came back with an empty disk, lost its vote for that, and was given one anew between
// the last step but one of going on alone and the last. The epoch needed both nodes then, which do not speak to each other before it has
// begun: nobody ever led again.
func TestFollowerIsGivenNoVoteWhileItIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, claims := pipenet.New(), &slowClaims{during: func() {}}
		n := inMemoryWith(t, net, Config{NodeID: "primary", Role: cluster.Primary, Members: two, PairTakeover: takeoverClaim, Claims: claims})
		inMemoryWith(t, net, Config{NodeID: "secondary", Role: cluster.Secondary, Members: two, PairTakeover: takeoverClaim, Claims: claims})
		votes := func() bool { return n.term.Load() != nil && suffrage(n.servers(), "secondary") == "voter" }
		until(t, 10*time.Second, "the secondary votes", votes)
		claims.during = func() {
			until(t, 10*time.Second, "the secondary has lost its vote", func() bool {
				return n.term.Load().inst.raft.DemoteVoter("secondary", 0, 0).Error() == nil
			})
			time.Sleep(3 * time.Second)
			if votes() {
				t.Error("the secondary was given a vote while the primary went on alone")
			}
		}
		if err := n.goOnAlone(t.Context(), n.term.Load(), n.peers["secondary"], "the test says so"); err != nil {
			t.Fatal(err)
		}
		claims.during = func() {}
		until(t, 10*time.Second, "the epoch that was claimed begins", func() bool { return n.fsm.state.Token().Epoch.Number == 2 })
		until(t, 10*time.Second, "the secondary is taken back", votes)
	})
}

// A leader that was stopped after the other node said of a witness that it never leads, and of a pair's other node that it must catch up.
func TestALeaderWithoutAnHeirSaysThatTheOtherOneIsAway(t *testing.T) {
	withWitness := append(slices.Clone(two), cluster.Member{NodeID: "witness", Role: cluster.Witness, ClusterAddress: "witness:8086"})
	for name, members := range map[string][]cluster.Member{"a pair": two, "with a witness": withWitness} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := pipenet.New()
				nodes := map[string]*Node{}
				for _, m := range members {
					nodes[m.NodeID] = inMemory(t, net, m.NodeID, members...)
				}
				n := nodes["primary"]
				until(t, 10*time.Second, "all vote", func() bool {
					return n.term.Load() != nil && !slices.ContainsFunc(members, func(m cluster.Member) bool { return suffrage(n.servers(), m.NodeID) != "voter" })
				})
				if err := nodes["secondary"].Close(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				term := n.term.Load()
				if term == nil {
					t.Fatal("the primary does not lead any more")
				}
				if heir, why := n.heirNow(t.Context(), term); heir != "" || !strings.Contains(why, "secondary is out of contact") {
					t.Errorf("got heir %q, %q", heir, why)
				}
			})
		})
	}
}
