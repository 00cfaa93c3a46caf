package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/api/client"
	"scomconnector/cluster"
	"scomconnector/cluster/etcdnode"
	"scomconnector/cluster/raftnode"
	"scomconnector/cluster/state"
	"scomconnector/cmd/settings"
)

// Migration carries a stopped cluster's state from one backend to the other.
type Migration struct {
	Node    *settings.Node
	To      string // as Coordination: "etcd" or "raft"
	Version string
	Log     hclog.Logger
	// Agree is shown what was read before anything is written; its error ends it.
	Agree func(Cargo) error
	// Progress, if not nil, is told how much of the writing is done.
	Progress func(done, of int)
}

// Cargo is what is carried over.
type Cargo struct {
	From, To string // the two places, for people
	// Token and Leader are of the last term; the next one begins Epoch.
	Token     state.Token
	Leader    string
	Epoch     state.Epoch
	Pipelines []state.PipelineInfo
	// Outbox are close requests that wait, ParkedRequests those that were refused for good.
	Outbox, ParkedRequests int
	Settings               uint64   // the version in use; 0: none
	Doubts                 []string // why it may not be the newest state
}

// answerTime is how long another node may take to show that it runs. One that is gone may take all of it.
const answerTime = 2 * time.Second

// Run says what was carried over.
func (m Migration) Run(ctx context.Context) (Cargo, error) {
	if err := m.possible(); err != nil {
		return Cargo{}, err
	}
	if who := running(ctx, m.Node.Members); who != "" {
		return Cargo{}, fmt.Errorf("%s: the state is carried over while no node runs, so stop all of them first", who)
	}
	if m.To == "etcd" {
		return m.toEtcd(ctx)
	}
	return m.toRaft(ctx)
}

func (m Migration) possible() error {
	switch {
	case m.Node.Role == cluster.Witness:
		return errors.New("a witness has no part in this: run it on the Primary or the Secondary")
	case len(m.Node.Etcd.Endpoints) == 0:
		return fmt.Errorf("%s names no Etcd.Endpoints: say there which etcd it is", m.Node.Path)
	}
	if m.To == "raft" && m.Node.Role != cluster.Primary {
		return errors.New("run it on the Primary, which then takes the other nodes in")
	}
	return nil
}

// running names a member that answers, also this machine's own node; empty: none does.
func running(ctx context.Context, members []cluster.Member) string {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	found := make(chan string)
	for _, m := range members {
		go func() { found <- answers(ctx, m) }()
	}
	who := ""
	for range members {
		if f := <-found; f != "" {
			who = f
		}
	}
	return who
}

func answers(ctx context.Context, m cluster.Member) string {
	if m.ClusterAddress != "" {
		if conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.ClusterAddress); err == nil {
			conn.Close() //nolint:errcheck // nothing was said
			return m.NodeID + " answers on " + m.ClusterAddress
		}
	}
	if m.Url != "" {
		if _, err := client.New(m.Url, "").Leads(ctx); err == nil {
			return m.NodeID + " answers on " + m.Url
		}
	}
	return ""
}

func (m Migration) toEtcd(ctx context.Context) (cargo Cargo, err error) {
	if known, err := raftnode.HasState(m.Node.DataDir); err != nil || !known {
		return Cargo{}, errors.Join(err, fmt.Errorf("the data folder %s holds no state: run it on a node of the cluster, with its node.json", m.Node.DataDir))
	}
	etcd := m.etcdConfig()
	err = raftnode.Export(raftConfig(m.Node, m.Version), m.Log, func(c raftnode.Copy) error {
		cargo = m.load(c.State, c.Epoch, c.Doubts)
		cargo.From, cargo.To = m.Node.DataDir, "the etcd, below "+etcd.Prefix
		if err := m.Agree(cargo); err != nil {
			return err
		}
		return etcdnode.Import(ctx, etcd, m.Log, c.State, cargo.Epoch, m.Progress)
	})
	return cargo, err
}

func (m Migration) toRaft(ctx context.Context) (Cargo, error) {
	etcd := m.etcdConfig()
	c, err := etcdnode.Export(ctx, etcd, m.Log)
	if err != nil {
		return Cargo{}, err
	}
	cargo := m.load(c.State, c.Epoch, c.Doubts)
	cargo.From, cargo.To = "the etcd, below "+etcd.Prefix, m.Node.DataDir
	if err := m.Agree(cargo); err != nil {
		return Cargo{}, err
	}
	return cargo, raftnode.Import(raftConfig(m.Node, m.Version), m.Log, c.State, cargo.Epoch)
}

// etcdConfig is that of the nodes once the witness, which an etcd makes superfluous, is gone.
func (m Migration) etcdConfig() etcdnode.Config {
	cfg := m.Node.EtcdConfig(m.Version)
	cfg.Members = slices.DeleteFunc(slices.Clone(cfg.Members), func(o cluster.Member) bool { return o.Role == cluster.Witness })
	return cfg
}

func (m Migration) load(st *state.State, epoch state.Epoch, doubts []string) Cargo {
	waiting, _, _ := st.OutboxInfo()
	return Cargo{
		Token: st.Token(), Leader: st.Leader(), Epoch: state.Epoch{Number: epoch.Number + 1, Node: m.Node.NodeID},
		Pipelines: st.Pipelines(), Outbox: waiting, ParkedRequests: len(st.ParkedRequests()), Settings: st.Config().Version, Doubts: doubts,
	}
}
