package etcdnode

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
)

// A node of each kind on one network refuse each other in words.
func TestRaftNodeAndEtcdNodeRefuseEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, b := newRig(t, clustertest.Pair), clustertest.NewMemory(clustertest.Pair)
		b.Net = r.net
		ours, err := r.Open("primary")
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close()
		theirs, err := b.Open("secondary")
		if err != nil {
			t.Fatal(err)
		}
		defer theirs.Close()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- theirs.Run(ctx, func(ctx context.Context, _ cluster.Term) error { <-ctx.Done(); return nil })
		}()
		time.Sleep(10 * time.Second)
		for of, n := range map[string]clustertest.Node{"secondary": ours, "primary": theirs} {
			for _, m := range n.View().Members {
				if m.NodeID == of && !strings.Contains(m.Fault, "set the same in every node.json") {
					t.Errorf("of %s is said: %q", of, m.Fault)
				}
			}
		}
		stop()
		<-done
	})
}
