package raftnode

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"scomconnector/cluster"
	"scomconnector/cluster/datadir"
	"scomconnector/cluster/port"
	"scomconnector/cluster/state"
)

// Node is this node's part of the cluster. It implements cluster.Coordinator.
type Node struct {
	cfg    Config
	timing timing
	slow   *slowness // has its own lock
	clocks *clocks   // has its own lock
	log    hclog.Logger
	folder folder
	store  *store
	snaps  raft.SnapshotStore
	fsm    *fsm
	port   *port.Port
	peers  map[string]*peer // all members but this one; never changed

	led        leadership
	term       atomic.Pointer[term]     // the term that serves proposals; nil between terms
	inst       atomic.Pointer[instance] // nil until this node belongs to a cluster
	leaving    atomic.Bool              // about to stop: would rather not lead
	members    string                   // hash of Members
	pair       *pairTiming              // nil unless this is a strict pair
	planned    atomic.Bool              // Run has ended as planned
	cleanStart bool                     // the process before has
	kept       atomic.Uint64            // last index of the log while raft is being replaced
	recalled   atomic.Bool              // what became of the claim of an earlier process is known
	recallAt   time.Time                // of the last look at that; of the keeper
	asked      atomic.Int64             // questions to raft that it has not answered
	formed     atomic.Bool              // the cluster, and has not led it yet
	claims     Claims                   // nil unless a claim decides who goes on alone

	greet   sync.Mutex // guards greeted; taken before mu
	greeted uint64     // greetings so far

	mu         sync.Mutex    // guards what follows
	ran        chan struct{} // closed when Run has returned; nil before it was called
	identity   identity
	waiting    string // what an empty node waits for
	holding    string // why an elected one does not lead yet
	space      string // that the disk is nearly full; empty: there is room
	share      string // what is wrong with the claims' folder; empty: nothing
	place      string // the name of that folder; empty: not seen yet
	heirTo     succession
	leftOffice time.Time         // when a term of this process ended last
	alarms     map[string]string // by member: a fault that only a person can mend
	unlike     map[string]string // by member: which settings it has that should be the same as here
	archives   []cluster.Archive // newest first
	watching   takeoverWatch
	paused     time.Time // when this process was last found to have stood still

	failure  error         // set before failed is closed
	failOnce sync.Once     // guards the two
	failed   chan struct{} // closed when the node cannot go on
	begun    chan struct{} // one slot: a term began, or a snapshot came
	joined   chan joinOrder
	changes  chan change   // for keep, which alone starts and stops raft
	rebuilds chan string   // one slot: why raft is to be started anew
	office   chan struct{} // one slot, taken while a term is served
	saving   chan struct{} // one slot, taken while the identity is changed, before mu, which nobody holds while the disk is waited for
	process  string        // random: tells two processes on copies of one folder apart
	opened   time.Time
	stop     context.CancelFunc // ends every goroutine of the node
	stopped  chan struct{}      // closed when stop was called
	wg       sync.WaitGroup     // every goroutine but Run's
	closing  sync.Once
}

var _ cluster.Coordinator = (*Node)(nil)

// errClosed is what Run returns after Close.
var errClosed = errors.New("the node was closed")

// Open starts a node as a follower. It fails, having changed nothing, if the settings are wrong or
// the data folder is damaged, in use or not writable; the error says what to do. Metrics are
// registered with reg.
func Open(cfg Config, log hclog.Logger, reg prometheus.Registerer) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := newNode(cfg, log, cancel)
	if err := n.open(ctx, reg); err != nil {
		cancel()
		n.Close() //nolint:errcheck // the first error is the one to report
		return nil, err
	}
	n.start(ctx)
	return n, nil
}

func newNode(cfg Config, log hclog.Logger, stop context.CancelFunc) *Node {
	n := &Node{
		cfg:      cfg,
		members:  port.MembersHash(cfg.Members),
		timing:   cfg.timing(),
		log:      log,
		peers:    map[string]*peer{},
		pair:     cfg.pair(),
		slow:     newSlowness(cfg, log),
		clocks:   newClocks(cfg.Wall),
		claims:   cfg.claims(),
		alarms:   map[string]string{},
		unlike:   map[string]string{},
		led:      leadership{changed: make(chan struct{}, 1)},
		failed:   make(chan struct{}),
		begun:    make(chan struct{}, 1),
		joined:   make(chan joinOrder),
		changes:  make(chan change),
		rebuilds: make(chan string, 1),
		office:   make(chan struct{}, 1),
		saving:   make(chan struct{}, 1),
		process:  randomID(),
		opened:   time.Now(),
		stop:     stop,
		stopped:  make(chan struct{}),
	}
	n.fsm = &fsm{state: state.New(), fail: n.fail, begun: func() { signal(n.begun) }}
	for _, m := range cfg.Members {
		if m.NodeID != cfg.NodeID {
			n.peers[m.NodeID] = newPeer(m, log)
		}
	}
	n.port = &port.Port{Dial: cfg.Dial, TLS: cfg.TLS, Greet: n.greeting, Judge: n.judge, Take: n.take}
	return n
}

// open does what can fail, in an order that changes nothing before all was checked.
func (n *Node) open(ctx context.Context, reg prometheus.Registerer) error {
	id, err := n.openFolder()
	if err != nil {
		return err
	}
	// Nobody calls the only member of a cluster: it needs no open port.
	if len(n.peers) > 0 || n.cfg.Listener != nil {
		if n.port.Listener, err = n.cfg.listen(ctx); err != nil {
			return err
		}
	}
	if err := n.openStore(reg); err != nil {
		return err
	}
	// The identity is saved after the store was made: an identity without a store is a loss.
	n.cleanStart = id.Clean
	id.Start++
	id.Clean = false
	if err := n.saveIdentity(id); err != nil {
		return err
	}
	empty, err := n.storeEmpty()
	if err != nil || empty {
		return err
	}
	if err := n.dropMark(); err != nil {
		return err
	}
	if id.Forced.pending() && id.Forced.Recover {
		if err := n.recoverAlone(); err != nil {
			return err
		}
	}
	return n.startRaft()
}

func (n *Node) openFolder() (identity, error) {
	if n.cfg.Memory != nil {
		n.folder = n.cfg.Memory
	} else {
		d, err := openDisk(n.cfg.DataDir, newRaftLog(n.log.Named("raft")))
		if err != nil {
			return identity{}, err
		}
		n.folder = d
		if err := d.finishWipe(); err != nil {
			return identity{}, err
		}
		if err := d.verify(); err != nil {
			return identity{}, explain(err, n.cfg.DataDir, len(n.cfg.Members))
		}
	}
	id, found, err := n.folder.load()
	if err != nil {
		return id, err
	}
	if !found {
		return newIdentity(n.cfg.NodeID), nil
	}
	if id.NodeID != n.cfg.NodeID {
		return id, &datadir.Foreign{Dir: n.cfg.DataDir, Owner: id.NodeID, NodeID: n.cfg.NodeID}
	}
	return id, nil
}

func (n *Node) openStore(reg prometheus.Registerer) error {
	hist := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "scomconnector_store_write_duration_seconds",
		Help:    "Time that writes to the replicated log's store took, in seconds.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 13), // 0.1 ms to 6 s, past the deadline
	})
	if err := reg.Register(hist); err != nil {
		return fmt.Errorf("register the store's metrics: %w", err)
	}
	logs, stable, snaps, err := n.folder.open()
	if err != nil {
		return err
	}
	n.store = &store{
		logs: logs, stable: stable, deadline: n.cfg.WriteDeadline, before: n.cfg.BeforeWrite,
		onFault: n.fail, observe: hist, slow: n.slow, written: make(chan struct{}, 1),
	}
	n.snaps = sealedSnapshots{snaps, n.store}
	n.archives, err = n.folder.archives()
	return err
}

// storeEmpty reports whether the store holds no configuration of a cluster.
func (n *Node) storeEmpty() (bool, error) {
	last, err := n.store.LastIndex()
	if err != nil || last > 0 {
		return false, err
	}
	list, err := n.snaps.List()
	return len(list) == 0, err
}

// start starts the goroutines that live as long as the node.
func (n *Node) start(ctx context.Context) {
	if n.port.Listener != nil {
		n.port.Serve(ctx)
	}
	for _, p := range n.peers {
		n.wg.Go(func() { n.watch(ctx, p) })
	}
	n.wg.Go(func() { n.keepHouse(ctx) })
	n.wg.Go(func() { n.watchClocks(ctx, false) })
	n.wg.Go(func() { n.watchSpace(ctx) })
	n.wg.Go(func() { n.watchShare(ctx) })
	n.wg.Go(func() { n.keep(ctx) })
}

// fail ends Run with err; the first one counts. The term, if any, ends at once.
func (n *Node) fail(err error) {
	n.failOnce.Do(func() {
		n.log.Error("this node cannot go on", "error", err)
		n.failure = err
		close(n.failed)
	})
	n.led.end()
}

// Close ends the node at once, handing nothing over, and waits for all that it started. Cancel Run's
// context and wait for it first, to stop in an orderly way.
func (n *Node) Close() error {
	var err error
	n.closing.Do(func() {
		n.leaving.Store(true)
		n.stop()
		close(n.stopped)
		n.led.end()
		n.port.Close()
		n.wg.Wait() // one of them may be starting raft
		err = n.stopRaft()
		if n.planned.Load() && n.failedNow() == nil {
			err = errors.Join(err, n.changeIdentity(func(id *identity) { id.Clean = true }))
		}
		n.mu.Lock()
		ran := n.ran
		n.mu.Unlock()
		if ran != nil {
			<-ran
		}
		err = errors.Join(err, n.closeFolder())
	})
	return err
}

// closeFolder waits for a write that hangs no longer than for raft: the lock ends with the process.
func (n *Node) closeFolder() error {
	if n.folder == nil {
		return nil
	}
	if n.store != nil {
		n.store.close()
	}
	done := make(chan error, 1)
	go func() { done <- n.folder.close() }()
	timer := time.NewTimer(shutdownTimeout)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return errors.New("the data folder was not closed: a write to it hangs")
	}
}

// keepHouse does what must not be done in raft's own goroutines: it remembers cluster and epoch in
// the identity, and takes a snapshot when the log has grown by snapshotBytes.
func (n *Node) keepHouse(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.begun:
			if err := n.remember(); err != nil {
				n.fail(err)
				return
			}
		case <-n.store.written:
			inst := n.inst.Load()
			if inst == nil {
				continue
			}
			err := n.settle(ctx, inst.raft.Snapshot())
			if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) && ctx.Err() == nil {
				n.log.Debug("no snapshot was taken", "error", err) // tried again with the next write
			}
		}
	}
}

// remember keeps cluster id and epoch where a restarted node finds them before it replays its log.
func (n *Node) remember() error {
	cluster, epoch := n.fsm.state.ClusterID(), n.fsm.state.Token().Epoch
	var mixed error
	begun := false
	err := n.changeIdentity(func(id *identity) {
		if cluster != "" && id.ClusterID != "" && cluster != id.ClusterID {
			mixed = fmt.Errorf("the data folder is of cluster %s, but its log is of cluster %s: parts of two folders were mixed", id.ClusterID, cluster)
			return
		}
		if cluster != "" {
			id.ClusterID = cluster
		}
		if compareEpochs(epoch, id.Epoch) > 0 {
			id.Epoch = epoch
		}
		if begun = id.Forced.pending() && compareEpochs(epoch, id.Forced.Epoch) >= 0; begun {
			id.Forced = forced{}
		}
	})
	if err := errors.Join(mixed, err); err != nil {
		return err
	}
	if begun {
		n.port.CloseRaft() // whoever is on the other end belongs to another epoch
	}
	return nil
}

// changeIdentity keeps what f makes of the identity. It waits for the disk, no longer than a write may take.
func (n *Node) changeIdentity(f func(*identity)) error {
	n.saving <- struct{}{}
	defer func() { <-n.saving }()
	before := n.ident()
	id := before.clone()
	f(&id)
	if reflect.DeepEqual(id, before) {
		return nil
	}
	return n.saveIdentity(id)
}

// saveIdentity keeps the identity. A write that hangs ends the node, as one to the store does.
func (n *Node) saveIdentity(id identity) error {
	if err := n.store.within("identity", func() error { return n.folder.save(id) }); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.identity = id
	return nil
}

// compareEpochs orders epochs as tokens do.
func compareEpochs(a, b state.Epoch) int {
	return state.Token{Epoch: a}.Compare(state.Token{Epoch: b})
}

// ident is the identity now; its map must not be changed.
func (n *Node) ident() identity {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.identity
}

// settle waits for a future of raft's, which has no context of its own and, once the store was given
// up, perhaps no end.
func (n *Node) settle(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	n.asked.Add(1)
	go func() { // ends with raft at the latest, see drain
		err := f.Error()
		n.asked.Add(-1)
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-n.failed:
		return n.failure
	case <-n.stopped:
		return errClosed
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// since is for people: a duration without its noise.
func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }
