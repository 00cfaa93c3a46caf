package etcdnode

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cluster/clustertest"
	"scomconnector/cluster/state"
)

func bystanders(t *testing.T, f *fake) Config {
	return Config{
		NodeID: "primary", Role: clustertest.One[0].Role, Members: clustertest.One, DataDir: filepath.Join(t.TempDir(), "data"), TTL: 5 * time.Second,
		store: f.client("primary"),
	}
}

var second = state.Epoch{Number: 2, Node: "primary"}

func TestWhatWasImportedIsExportedToTheByte(t *testing.T) {
	f := newFake()
	cfg, st, log := bystanders(t, f), clustertest.Filled(t), hclog.NewNullLogger()
	if _, err := Export(t.Context(), cfg, log); err == nil || !strings.Contains(err.Error(), "hold no cluster") {
		t.Errorf("nothing there: got %v", err)
	}
	if err := Import(t.Context(), cfg, log, st, second, nil); err != nil {
		t.Fatal(err)
	}
	c, err := Export(t.Context(), cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	if c.Epoch != second || len(c.Doubts) > 0 {
		t.Errorf("got epoch %v, doubts %v", c.Epoch, c.Doubts)
	}
	if !bytes.Equal(clustertest.Bytes(t, c.State), clustertest.Bytes(t, st)) {
		t.Error("what came back is another state")
	}
	if err := Import(t.Context(), cfg, log, st, second, nil); err == nil || !strings.Contains(err.Error(), "hold a cluster already") {
		t.Errorf("over it: got %v", err)
	}
	other := cfg
	other.Members = clustertest.Shape{{NodeID: "primary", Role: cfg.Role, ClusterAddress: "elsewhere:8086"}}
	if _, err := Export(t.Context(), other, log); err == nil || !strings.Contains(err.Error(), "another cluster") {
		t.Errorf("a stranger's: got %v", err)
	}
	f.hand(put(keyLeader, encodeJSON(leaderValue{Node: "primary"})))
	if _, err := Export(t.Context(), cfg, log); err == nil || !strings.Contains(err.Error(), "lease of the leader") {
		t.Errorf("while one leads: got %v", err)
	}
	f.hand(remove(keyLeader), op{kind: opDeleteAll, key: dirBase + "second/"})
	if c, err = Export(t.Context(), cfg, log); err != nil || len(c.Doubts) != 1 {
		t.Errorf("some keys were deleted: got %v, %v", c.Doubts, err)
	}
}

// Cut short before any of its transactions, the import leaves nothing that looks like a cluster, and may be repeated: also with another
// state, nothing of the first one is left then.
func TestImportCutShortLeavesNoCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, log := clustertest.Filled(t), hclog.NewNullLogger()
		for cut := 0; ; cut++ {
			f := newFake()
			cfg := bystanders(t, f)
			cfg.store = &cutShort{kv: cfg.store, left: cut}
			err := Import(t.Context(), cfg, log, st, second, nil)
			if err == nil {
				if cut < 8 {
					t.Errorf("all was written in %d transactions: too few to cut", cut)
				}
				return
			}
			cfg.store = f.client("primary")
			if _, err := Export(t.Context(), cfg, log); err == nil {
				t.Fatalf("cut short before transaction %d, there is a cluster", cut)
			}
			f.hand(remove(keyLeader)) // its lease has ended
			fewer, err := st.Clone()
			if err != nil {
				t.Fatal(err)
			}
			fewer.Install(state.Stored{Part: state.Part{Kind: state.PartOutbox, Request: st.Outbox(1)[0].ID}}) //nolint:errcheck // it only removes
			if err := Import(t.Context(), cfg, log, fewer, second, nil); err != nil {
				t.Fatalf("again after transaction %d: %v", cut, err)
			}
			c, err := Export(t.Context(), cfg, log)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(clustertest.Bytes(t, c.State), clustertest.Bytes(t, fewer)) {
				t.Fatalf("again after transaction %d: another state", cut)
			}
		}
	})
}

// Who was on an etcd before, in another cluster, would take no part in the one that is written.
func TestNothingIsImportedOverAnotherClustersIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, st := newFake(), clustertest.Filled(t)
		cfg := bystanders(t, f)
		cfg.DataDir = t.TempDir()
		if err := (identity{NodeID: cfg.NodeID, Incarnation: "1", ClusterID: "of another time"}).save(cfg.DataDir); err != nil {
			t.Fatal(err)
		}
		err := Import(t.Context(), cfg, hclog.NewNullLogger(), st, second, nil)
		if err == nil || !strings.Contains(err.Error(), "delete "+identityPath(cfg.DataDir)) || len(f.keys) > 0 {
			t.Errorf("got %v, and %d keys", err, len(f.keys))
		}
		if err := (identity{NodeID: cfg.NodeID, Incarnation: "1", ClusterID: st.ClusterID()}).save(cfg.DataDir); err != nil {
			t.Fatal(err)
		}
		if err := Import(t.Context(), cfg, hclog.NewNullLogger(), st, second, nil); err != nil {
			t.Errorf("with its own cluster's: %v", err)
		}
	})
}

// cutShort is an etcd that so many transactions reach.
type cutShort struct {
	kv
	left int
}

func (c *cutShort) Txn(ctx context.Context, when []cond, then, orElse []op) (outcome, error) {
	if c.left == 0 {
		return outcome{}, errors.New("the machine is gone")
	}
	c.left--
	return c.kv.Txn(ctx, when, then, orElse)
}
