package raftnode

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/cluster"
	"scomconnector/test/pipenet"
)

// Nodes whose files name other members would form a cluster that one of them does not know.
func TestNobodyFormsAClusterWhileTheFilesDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, data := pipenet.New(), NewMemory()
		other := slices.Clone(two)
		other[0].ClusterAddress = "primary:9999"
		p := inMemory(t, net, "primary", two...)
		s := inMemoryWith(t, net, Config{NodeID: "secondary", Role: cluster.Secondary, Members: other, Memory: data})
		for range 60 {
			time.Sleep(time.Second)
			if p.inst.Load() != nil || p.View().Leading {
				t.Fatal("the primary has formed a cluster")
			}
		}
		if got := p.View().Waiting; !strings.Contains(got, "Members is not the same here and on secondary") {
			t.Errorf("waiting: got %q", got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		inMemoryWith(t, net, Config{NodeID: "secondary", Role: cluster.Secondary, Members: two, Memory: data})
		until(t, 10*time.Second, "the primary leads", func() bool { return p.View().Leading })
	})
}
