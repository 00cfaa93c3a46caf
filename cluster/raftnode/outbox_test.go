package raftnode_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
	"scomconnector/cluster/state"
)

// request asks on this node for the close of the i-th alert.
func request(node string, i int) state.Request {
	return state.Request{ID: fmt.Sprintf("%s-%d", node, i), Alert: [16]byte{1, byte(i)}, State: 255, Comment: "closed", Node: node, At: time.Now().UTC()}
}

func accept(t *testing.T, n cluster.Coordinator, q state.Request, entries int) (state.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return n.Propose(ctx, state.Accept{Request: q, MaxEntries: entries, MaxBytes: state.MaxOutboxBytes})
}

func TestTheIDOfARequestAndItsRefusalCrossTheWire(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		nodes := []string{"primary", "secondary", "witness"}
		for i, id := range nodes {
			res, err := accept(t, c.Node(id), request(id, i), 3)
			if want := request(id, i).ID; err != nil || res.Err != nil || res.ID != want {
				t.Errorf("accepted through %s as %q, %v, %v, want %q", id, res.ID, res.Err, err, want)
			}
		}
		for i, id := range nodes { // the same, asked of another node
			res, err := accept(t, c.Node(nodes[(i+1)%3]), with(request(id, i), "again"), 3)
			if want := request(id, i).ID; err != nil || res.Err != nil || res.ID != want {
				t.Errorf("asked again: %q, %v, %v, want %q", res.ID, res.Err, err, want)
			}
		}
		for _, id := range nodes {
			if res, err := accept(t, c.Node(id), request(id, 9), 3); err != nil || !errors.Is(res.Err, state.ErrOutboxFull) || res.ID != "" {
				t.Errorf("one too many through %s: %+v, %v, want %v", id, res, err, state.ErrOutboxFull)
			}
		}
	})
}

func with(q state.Request, id string) state.Request {
	q.ID = id
	return q
}

func TestABurstThroughAllNodesAtOnceIsAcceptedOnce(t *testing.T) {
	three(t, func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		const n = 200
		nodes := []string{"primary", "secondary", "witness"}
		ids := make([][3]string, n)
		var wg sync.WaitGroup
		for i := range n {
			for k, node := range nodes {
				wg.Go(func() {
					q := request(node, i)
					q.Key = fmt.Sprint("key ", i)
					res, err := accept(t, c.Node(node), q, state.MaxOutbox)
					if err != nil || res.Err != nil {
						t.Errorf("request %d through %s: %v, %v", i, node, res.Err, err)
					}
					ids[i][k] = res.ID
				})
			}
		}
		wg.Wait()
		c.Agree(5 * time.Second)
		for _, node := range nodes {
			st := c.Node(node).View().State
			if got, _, _ := st.OutboxInfo(); got != n {
				t.Errorf("%d requests wait on %s, want %d", got, node, n)
			}
			for i, id := range ids {
				if q, waits := st.Request(id[0]); !waits || id[1] != id[0] || id[2] != id[0] || q.Alert != request(node, i).Alert {
					t.Errorf("request %d was accepted as %v, and waits on %s: %v", i, id, node, waits)
				}
			}
		}
	})
}

func TestYieldHandsOverRequestsOnce(t *testing.T) {
	pair(t, "operator", func(t *testing.T, c *clustertest.Cluster, _ *clustertest.Memory) {
		common := request("primary", 1)
		if res, err := accept(t, c.Node("primary"), common, 9); err != nil || res.Err != nil {
			t.Fatal(res.Err, err)
		}
		c.Agree(time.Second)
		c.Isolate("primary")
		time.Sleep(5 * time.Second)
		for i := 2; i <= 3; i++ {
			if res, err := accept(t, c.Node("primary"), request("primary", i), 9); err != nil || res.Err != nil {
				t.Fatal(res.Err, err)
			}
		}
		mustPropose(t, c.Node("primary"), state.Settle{At: time.Now(), Settled: []state.Settlement{{ID: "primary-3", Outcome: state.Refused, Reason: "not allowed"}}})
		c.AllowOverlap(true)
		if err := c.Node("secondary").(cluster.Members).TakeOver(t.Context(), "alice", false); err != nil {
			t.Fatal(err)
		}
		mustPropose(t, c.Node("secondary"), state.Settle{At: time.Now(), Settled: []state.Settlement{{ID: common.ID, Outcome: state.Done}}})
		c.Heal("primary")
		c.Voters(2, time.Minute)
		c.Agree(5 * time.Second)
		for _, id := range []string{"primary", "secondary"} {
			st := c.Node(id).View().State
			waiting, parked := st.Outbox(9), st.ParkedRequests()
			if len(waiting) != 1 || waiting[0].ID != "primary-2" || !waiting[0].Doubtful {
				t.Errorf("%s: waiting are %+v, want only what the other side has not seen", id, waiting)
			}
			if len(parked) != 1 || parked[0].Request.ID != "primary-3" || parked[0].Reason != "not allowed" {
				t.Errorf("%s: parked are %+v, want the refused one", id, parked)
			}
		}
	})
}
