package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cluster/state"
)

// This file is for carrying the state of a cluster that does not run to another backend, and from one.

// Copy is the state as etcd holds it.
type Copy struct {
	State *state.State
	Epoch state.Epoch // the highest that etcd knows
	// Doubts are the reasons, for people, for which it may be less than what the nodes had.
	Doubts []string
}

// Export reads the state of a cluster none of whose nodes runs. It changes nothing in etcd.
func Export(ctx context.Context, cfg Config, log hclog.Logger) (Copy, error) {
	n, err := bystander(cfg, log)
	if err != nil {
		return Copy{}, err
	}
	defer n.kv.Close() //nolint:errcheck // all was read
	var rev int64
	var items []keyValue
	err = n.patiently(ctx, func() (err error) {
		rev, items, err = n.readAll(ctx)
		return err
	})
	if err != nil {
		return Copy{}, n.words(ctx, err)
	}
	if err := n.replica.loaded(rev, items); err != nil {
		return Copy{}, err
	}
	k := n.replica.keys()
	c := decodeValue[clusterValue](k.cluster)
	switch {
	case k.cluster == nil:
		return Copy{}, fmt.Errorf("the keys that begin with %s hold no cluster: correct Etcd.Prefix or Etcd.Endpoints", n.cfg.Prefix)
	case c.Format > format:
		return Copy{}, errors.New("the keys in etcd were written by a newer scomconnector: use that one")
	case n.strangers(c.Members):
		return Copy{}, fmt.Errorf("the keys that begin with %s belong to another cluster, whose members are %v", n.cfg.Prefix, c.Members)
	case k.leader != nil:
		return Copy{}, n.stillLed(k.leader)
	}
	epoch := decodeValue[epochValue](k.epoch)
	out := Copy{State: n.replica.state, Epoch: state.Epoch{Number: epoch.Number, Node: epoch.Node}}
	if t := out.State.Token(); t.Compare(state.Token{Epoch: out.Epoch}) > 0 {
		out.Epoch = t.Epoch
	}
	if out.State.ClusterID() == "" {
		return Copy{}, fmt.Errorf("the keys that begin with %s hold a cluster that nobody has ever led: there is nothing to carry over", n.cfg.Prefix)
	}
	if n.replica.damaged != "" {
		out.Doubts = append(out.Doubts, n.replica.damaged)
	}
	return out, nil
}

// Import writes the state of a cluster none of whose nodes runs below a prefix that holds none, in the epoch that is given. The key that
// makes it a cluster comes last: what was begun and not finished counts for nothing, and may be repeated. told, if not nil, is told how
// many of how many transactions are carried out.
func Import(ctx context.Context, cfg Config, log hclog.Logger, st *state.State, epoch state.Epoch, told func(done, of int)) error {
	n, err := bystander(cfg, log)
	if err != nil {
		return err
	}
	defer n.kv.Close() //nolint:errcheck // all was written
	if id, err := loadIdentity(cfg.DataDir, cfg.NodeID); err != nil {
		return err
	} else if id.ClusterID != "" && id.ClusterID != st.ClusterID() {
		return fmt.Errorf("this node was in another cluster on an etcd before, and would take no part in this one: delete %s on every node that has one", identityPath(cfg.DataDir))
	}
	out, err := n.unled(ctx)
	if err != nil {
		return n.words(ctx, err)
	}
	if found := out.Found[0]; found != nil {
		return fmt.Errorf("the keys that begin with %s hold a cluster already, of the members %v, and nothing is written over it: "+
			"delete them (etcdctl del --prefix %s) if nobody needs them, or give this cluster another Etcd.Prefix", n.cfg.Prefix, decodeValue[clusterValue](found).Members, n.cfg.Prefix)
	}
	if found := out.Found[1]; found != nil {
		return n.stillLed(found)
	}
	err = n.plant(ctx, planting{state: st, clusterID: st.ClusterID(), epoch: epoch, anew: true, told: told})
	if errors.Is(err, errReload) {
		return errors.New("another process has written to the same keys meanwhile: is a node still running?")
	}
	return n.words(ctx, err)
}

// unled reads what says whose the prefix is. The lease of a process that was killed ends by itself: so long it waits for the leader's key
// to go.
func (n *Node) unled(ctx context.Context) (outcome, error) {
	for began := time.Now(); ; {
		var out outcome
		err := n.patiently(ctx, func() (err error) {
			out, err = n.kv.Txn(ctx, nil, []op{get(keyCluster), get(keyLeader)}, nil)
			return err
		})
		if err != nil || out.Found[0] != nil || out.Found[1] == nil || time.Since(began) > max(n.cfg.TTL, importTTL)+time.Second || !pause(ctx, retryEtcd) {
			return out, err
		}
	}
}

func (n *Node) stillLed(leader *keyValue) error {
	return fmt.Errorf("%s holds the lease of the leader: stop all nodes; if none runs, wait %v for it to end", decodeValue[leaderValue](leader).Node, max(n.cfg.TTL, importTTL))
}

// bystander is a node that has an etcd and takes no part.
func bystander(cfg Config, log hclog.Logger) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, log: log, replica: newReplica(), process: randomID()}
	if n.kv = cfg.store; n.kv == nil {
		n.kv = newClient(cfg, log)
	}
	return n, nil
}

// patience is how long a migration asks an etcd that takes connections and gives no answer in time.
const patience = 15 * time.Second

// patiently calls ask again while etcd is only slow.
func (n *Node) patiently(ctx context.Context, ask func() error) error {
	for began := time.Now(); ; {
		err := ask()
		c, real := n.kv.(*client)
		if err == nil || !real || !isTransport(err) || time.Since(began) > patience || c.explainDial(ctx, c.ends[c.first.Load()].url) != "" || !pause(ctx, retryEtcd) {
			return err
		}
	}
}

// words is the error as it is told to people.
func (n *Node) words(ctx context.Context, err error) error {
	c, real := n.kv.(*client)
	if err == nil || !real {
		return err
	}
	e := c.ends[c.first.Load()]
	return fmt.Errorf("%s: %s", e.url, c.explain(ctx, e.url, err))
}
