package raftnode

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
	"scomconnector/test/pipenet"
)

// A node in maintenance votes, and stands for election itself only when nobody else has for a while: it would hand over again at once.
func TestNodeInMaintenanceStandsForElectionOnlyAfterAWhile(t *testing.T) {
	withWitness := append(slices.Clone(two), cluster.Member{NodeID: "witness", Role: cluster.Witness, ClusterAddress: "witness:8086"})
	for range 20 { // who stands first is by chance
		synctest.Test(t, func(t *testing.T) {
			net := pipenet.New()
			p := inMemory(t, net, "primary", withWitness...)
			s := inMemory(t, net, "secondary", withWitness...)
			w := inMemory(t, net, "witness", withWitness...)
			until(t, 10*time.Second, "all vote", func() bool { return p.Health().Voters == 3 })
			if res, err := p.Propose(t.Context(), state.SetMaintenance{Node: "secondary", On: true, Author: "alice", At: time.Now()}); err != nil || res.Err != nil {
				t.Fatal(err, res.Err)
			}
			until(t, 10*time.Second, "all know", func() bool { return s.fsm.state.InMaintenance("secondary") && w.fsm.state.InMaintenance("secondary") })
			time.Sleep(time.Second)
			before := s.inst.Load().raft.CurrentTerm()
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			for gone := time.Now(); time.Since(gone) < 5*s.timing.election; time.Sleep(50 * time.Millisecond) {
				if got := s.inst.Load().raft.CurrentTerm(); got != before {
					t.Fatalf("it stood for election %v after the leader was lost", time.Since(gone))
				}
			}
			until(t, time.Minute, "somebody is elected", func() bool { return s.inst.Load().raft.CurrentTerm() > before })
		})
	}
}
