package etcdnode

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"scomconnector/cluster"
	"scomconnector/cluster/datadir"
	"scomconnector/cluster/port"
)

// Node is this node's part of the cluster. It implements cluster.Coordinator, cluster.Peers and cluster.Members.
type Node struct {
	cfg     Config
	log     hclog.Logger
	lock    *os.File // of DataDir
	kv      kv
	replica *replica
	port    *port.Port
	peers   map[string]*sibling // all members but this one; never changed
	hash    string              // of Members
	process string
	reload  chan struct{} // one slot: read everything again
	writes  prometheus.Histogram
	took    atomic.Int64 // nanoseconds of the last transaction

	term    atomic.Pointer[term] // the term that serves proposals; nil between terms
	lost    atomic.Uint64        // terms that were lost
	planned atomic.Bool          // Run has ended as planned

	mu         sync.Mutex // guards what follows
	identity   identity
	cleanStart bool
	seen       int64     // highest revision
	older      bool      // etcd has gone back to an older state, and nobody has put that right yet: its revision may pass the old one meanwhile
	contact    time.Time // last answer of etcd with a majority; zero: none yet
	trouble    string    // why there is none now
	doing      string    // what to do about it
	lasting    bool      // only a person can mend it
	said       string    // what of it was logged last
	emptySince time.Time // since when etcd holds no cluster, or an older state of it
	ledThen    bool      // this node was the leader then, without doubt
	heldUntil  time.Time // how long the lease of this node's last term kept others from leading; zero: it was given away
	leftAsked  time.Time // when the leader's lease was last looked at, and when the answer came
	leftAt     time.Time
	leftFor    time.Duration
	leftOf     int64 // that lease
	refusals   writeRefusals
	wrong      string // what somebody has done to the keys; for people
	wrongAt    time.Time
	ran        chan struct{} // closed when Run has returned; nil before it was called

	failure  error // set before failed is closed
	failOnce sync.Once
	failed   chan struct{}
	opened   time.Time
	stop     context.CancelFunc
	stopped  chan struct{}
	wg       sync.WaitGroup // every goroutine but Run's
	closing  sync.Once
}

var (
	_ cluster.Coordinator = (*Node)(nil)
	_ cluster.Peers       = (*Node)(nil)
	_ cluster.Members     = (*Node)(nil)
)

var errClosed = errors.New("the node was closed")

// Open starts a node. It fails only for what is wrong on this machine: an etcd that is out of reach, or refuses, is waited for, and View
// says what is the matter. Metrics are registered with reg.
func Open(cfg Config, log hclog.Logger, reg prometheus.Registerer) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	lock, err := datadir.Lock(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	id, err := loadIdentity(cfg.DataDir, cfg.NodeID)
	if err != nil {
		lock.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &Node{
		cfg: cfg, log: log, lock: lock, replica: newReplica(), peers: map[string]*sibling{}, hash: port.MembersHash(cfg.Members), process: randomID(),
		reload: make(chan struct{}, 1), failed: make(chan struct{}), opened: time.Now(), stop: cancel, stopped: make(chan struct{}),
		writes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "scomconnector_store_write_duration_seconds",
			Help:    "Time that writes to the replicated log's store took, in seconds.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 13),
		}),
	}
	n.cleanStart = id.Clean
	id.Start++
	id.Clean = false
	n.identity = id
	for _, m := range cfg.Members {
		if m.NodeID != cfg.NodeID {
			n.peers[m.NodeID] = newSibling(m, log)
		}
	}
	n.port = &port.Port{Dial: cfg.Dial, TLS: cfg.ClusterTLS, Greet: n.greeting, Judge: n.judge, Take: n.take}
	if err := n.open(ctx, reg); err != nil {
		cancel()
		n.port.Close()
		lock.Close()
		return nil, err
	}
	n.start(ctx)
	return n, nil
}

func (n *Node) open(ctx context.Context, reg prometheus.Registerer) (err error) {
	if n.port.Listener = n.cfg.Listener; n.port.Listener == nil && len(n.peers) > 0 {
		if n.port.Listener, err = port.Listen(ctx, n.cfg.ClusterAddress); err != nil {
			return err
		}
	}
	if err := reg.Register(n.writes); err != nil {
		return err
	}
	if err := n.identity.save(n.cfg.DataDir); err != nil {
		return err
	}
	n.replica.touched = n.noteHand
	if n.kv = n.cfg.store; n.kv == nil {
		n.kv = newClient(n.cfg, n.log)
	}
	n.kv = noting{n.kv, n}
	return nil
}

func (n *Node) start(ctx context.Context) {
	if n.port.Listener != nil {
		n.port.Serve(ctx)
	}
	for _, p := range n.peers {
		n.wg.Go(func() { n.watchSibling(ctx, p) })
	}
	n.wg.Go(func() { n.follow(ctx) })
	n.wg.Go(func() { n.probe(ctx) })
}

// fail ends Run with err; the first one counts. The term, if any, ends at once.
func (n *Node) fail(err error) {
	n.failOnce.Do(func() {
		n.log.Error("this node cannot go on", "error", err)
		n.failure = err
		close(n.failed)
	})
	if t := n.term.Load(); t != nil {
		t.end(err.Error())
	}
}

// Close ends the node at once, handing nothing over. Cancel Run's context and wait for it first, to stop in an orderly way.
func (n *Node) Close() error {
	var err error
	n.closing.Do(func() {
		close(n.stopped)
		n.stop()
		if t := n.term.Load(); t != nil {
			t.end("the node was closed")
		}
		n.port.Close()
		n.wg.Wait()
		n.mu.Lock()
		ran := n.ran
		n.mu.Unlock()
		if ran != nil {
			<-ran
		}
		rev := n.seenRevision()
		err = n.remember(func(id *identity) { id.Clean, id.Revision = n.planned.Load(), max(id.Revision, rev) })
		err = errors.Join(err, n.kv.Close(), n.lock.Close())
	})
	return err
}

// pause waits; false: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
