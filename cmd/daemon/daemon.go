package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"scomconnector/api"
	"scomconnector/cluster"
	"scomconnector/cluster/raftnode"
	"scomconnector/cluster/state"
	"scomconnector/cmd/settings"
	"scomconnector/poller"
	"scomconnector/publisher"
)

// Options are what a node is started with.
type Options struct {
	Node *settings.Node
	// ClusterFile is the local SCOMConnectorConfig.json, for messages; ClusterText is what it holds,
	// nil if there is none. It seeds a cluster that has no settings yet.
	ClusterFile string
	ClusterText []byte
	Version     string
	Log         hclog.Logger
	Audit       hclog.Logger // what people change, whatever Log's level is
	Levels      api.Levels   // of Log
	// Listener and ClusterListener replace listening on the node's addresses; nil: listen.
	Listener, ClusterListener net.Listener
	// Dial replaces TCP towards SCOM, LAMs and other nodes, and Memory the DataDir, for networks and
	// disks in memory; nil: the real ones.
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	Memory *raftnode.Memory
	// BeforeWrite, if not nil, is called before each write to the store: a slow or failing disk.
	BeforeWrite func(op string) error
	// Supervisor is told how the node fares; nil: nobody asks.
	Supervisor Supervisor
}

// How long the parts of a planned stop may take; with what closing the store takes they stay below ten seconds.
const (
	leaveTime = 6 * time.Second // the batch in flight is finished or given up, and leadership handed over
	closeTime = time.Second     // requests are answered
)

// node is one running daemon.
type node struct {
	opts       Options
	log        hclog.Logger
	coord      cluster.Coordinator
	peers      cluster.Peers
	roster     cluster.Members
	live       *state.State
	reg        *prometheus.Registry
	polling    *poller.Metrics
	publishing *publisher.Metrics
	writing    *poller.WritebackMetrics
	handovers  *prometheus.CounterVec // by reason and outcome
	prober     *prober
	logons     *logonBook
	started    time.Time
	up         chan struct{} // closed once the node is assembled
	stopping   atomic.Bool
	sawLeader  atomic.Bool // since the start of this process: what comes after is no start any more
	resends    resends
	// leaderChanges counts beginnings of terms seen since the start.
	leaderChanges atomic.Uint64
	flows         flows
	diskFree      func(dir string) float64

	mu            sync.Mutex // guards what follows
	feed          *feed
	parsed        *settings.Cluster
	parsedVersion uint64
	parsedSum     uint64
	running       []*poller.Pipeline // of the term; nil while none runs
	encoders      []namedEncoder     // of the running pipelines
	closing       *poller.Writeback  // of the term; nil while none runs
	drained       chan struct{}      // closed when these have ended; nil while none runs
	trouble       trouble
	lastVerdict   verdictMemory
	found         affairs // by the last status
	leaders       report  // the leader's, while another node leads
	outages       outages
	answered      goodAnswers
	asking        map[string]time.Time // since when this term's pipelines ask for their first answer
	file          localFile
	back          pendingReturn
	certs         certFiles
	memberCerts   map[string]certificate // by member, of the leader
}

func newNode(opts Options) *node {
	if opts.Supervisor == nil {
		opts.Supervisor = unsupervised{}
	}
	n := &node{
		opts: opts, log: opts.Log, reg: prometheus.NewRegistry(), prober: newProber(), started: time.Now(), up: make(chan struct{}), diskFree: diskFree,
		memberCerts: map[string]certificate{},
	}
	n.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	n.polling = poller.NewMetrics(n.reg)
	n.logons = newLogonBook(n)
	n.publishing = publisher.NewMetrics(n.reg, destinationsIn(opts)...)
	n.writing = poller.NewWritebackMetrics(n.reg)
	n.handovers = newHandovers(n.reg)
	return n
}

// Run is a node's whole life: it returns nil after ctx has ended and the node has stopped in good
// order, and an error, at once, when the node cannot start or cannot go on.
func Run(ctx context.Context, opts Options) (err error) {
	n := newNode(opts)
	// The address first: a node that cannot be seen must not have formed a cluster already.
	ln, err := listen(ctx, opts.Listener, opts.Node.ListenAddress, "ListenAddress")
	if err != nil {
		return err
	}
	defer ln.Close()
	b, err := n.openBackend()
	if err != nil {
		return err
	}
	defer n.closeFeed() // once the last term has ended, which Close waits for
	defer func() { err = errors.Join(err, b.Close()) }()
	n.coord, n.peers, n.roster, n.live = b, b, b, b.View().State
	close(n.up)
	n.reg.MustRegister(gauges{n})

	server, err := n.server()
	if err != nil {
		return err
	}
	n.changes().Info("node started", "node", opts.Node.NodeID, "role", opts.Node.Role, "version", opts.Version, "page", opts.Node.AdvertiseUrl)
	return n.serve(ctx, server, ln)
}

// destinationsIn names the destinations of this node's own file, so that their series exist from the start.
func destinationsIn(opts Options) []string {
	if len(opts.ClusterText) == 0 {
		return nil
	}
	cfg, _ := settings.ParseCluster(opts.ClusterFile, opts.ClusterText, settings.Options{Dir: opts.Node.Dir})
	return destinationNames(cfg)
}

func destinationNames(cfg *settings.Cluster) []string {
	var names []string
	for _, d := range cfg.Destinations() {
		names = append(names, d.Name)
	}
	return names
}

// serve runs all goroutines of the node until ctx ends or one of them cannot go on.
func (n *node) serve(ctx context.Context, server *http.Server, ln net.Listener) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	term, leave := context.WithCancel(life)
	defer leave()
	faults := make(chan error, 2)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := n.listenAndServe(server, ln); !errors.Is(err, http.ErrServerClosed) {
			faults <- fmt.Errorf("serve the API on %s: %w", ln.Addr(), err)
		}
	})
	left := make(chan struct{})
	go func() { // ends with the coordinator at the latest
		defer close(left)
		if err := n.coord.Run(term, n.lead); err != nil && term.Err() == nil {
			faults <- err
		}
	}()
	for _, chore := range []func(context.Context){n.seed, n.watch, n.caretake, n.watchLeaders, n.watchLeader, n.watchCertificates} {
		wg.Go(func() { chore(life) })
	}

	n.opts.Supervisor.Ready()
	var fault error
	select {
	case <-ctx.Done():
	case fault = <-faults:
		n.log.Error("this node cannot go on", "reason", fault, "fatal", true)
	}
	n.stop(leave, left)
	end()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if err := server.Shutdown(closing); err != nil {
		n.log.Debug("requests were cut off", "error", errors.Join(err, server.Close()))
	}
	wg.Wait()
	if fault == nil {
		n.log.Info("node stopped")
	}
	return fault
}

// stop has the coordinator end a leader's work in good order: no new poll, the batch in flight accepted and committed, leadership
// given to a node that can take it. What hangs is left to be cut off by the coordinator's own end.
func (n *node) stop(leave context.CancelFunc, left <-chan struct{}) {
	n.stopping.Store(true)
	n.opts.Supervisor.Stopping()
	if n.coord.View().Leading {
		n.log.Info("stopping: finishing the batch in flight, then handing over")
	}
	leave()
	timer := time.NewTimer(leaveTime)
	defer timer.Stop()
	select {
	case <-left:
	case <-timer.C:
		n.log.Warn("stopping without waiting any longer; the batch in flight may be sent again by the next leader")
	}
}

// drain lets all running pipelines finish what is in flight, for at most d. It reports whether they did.
func (n *node) drain(ctx context.Context, d time.Duration) bool {
	n.mu.Lock()
	running, closing, done := n.running, n.closing, n.drained
	n.mu.Unlock()
	if done == nil {
		return true
	}
	closing.Drain()
	for _, p := range running {
		p.Drain()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-ctx.Done():
	case <-timer.C:
	}
	return false
}

// closeFeed signs out of SCOM. No pipeline runs any more.
func (n *node) closeFeed() {
	n.mu.Lock()
	f := n.feed
	n.mu.Unlock()
	if f != nil {
		f.Close()
	}
}

func listen(ctx context.Context, given net.Listener, address, key string) (net.Listener, error) {
	if given != nil {
		return given, nil
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s %s cannot be used: %w", key, address, err)
	}
	return ln, nil
}

func (n *node) listenAndServe(server *http.Server, ln net.Listener) error {
	ln = api.Bounded(ln, n.log.Named("api"))
	if t := n.opts.Node.Tls; t.CertFile != "" {
		return server.ServeTLS(ln, "", "") // the certificate is the TLSConfig's business
	}
	return server.Serve(ln)
}

// server is the API's. Its certificate and its tokens are read again whenever their files change.
func (n *node) server() (*http.Server, error) {
	var cfg api.Config
	auth, log := n.opts.Node.Auth, n.log.Named("api")
	for _, t := range []struct {
		key, path string
		to        *api.Secret
	}{
		{"Auth.ReadTokenFile", auth.ReadTokenFile, &cfg.ReadToken},
		{"Auth.OperatorTokenFile", auth.OperatorTokenFile, &cfg.OperatorToken},
		{"Auth.CallbackTokenFile", auth.CallbackTokenFile, &cfg.CallbackToken},
	} {
		var err error
		if *t.to, err = openToken(t.key, t.path, log); err != nil {
			return nil, err
		}
	}
	handler := api.New(cfg, api.Deps{
		Status: n.status, Alive: n.failing, Ready: n.unready, Leader: n.isLeader, Gatherer: n.reg, Closes: closer{n},
		Settings: applier{n}, Parked: shelf{n}, Cursors: desk{n}, Office: office{n}, Vanished: n.confirmVanished, Names: n.names, Log: n.opts.Audit, Levels: n.opts.Levels,
	})
	server := api.Server(handler)
	server.ErrorLog = log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug})
	if t := n.opts.Node.Tls; t.CertFile != "" {
		var err error
		if server.TLSConfig, err = serverTLS(t, log); err != nil {
			return nil, err
		}
	}
	return server, nil
}

// state is live: what the cluster has agreed on, as far as this node knows.
func (n *node) state() *state.State { return n.live }

// primary is the NodeID of the member with that role.
func (n *node) primary() string {
	for _, m := range n.opts.Node.Members {
		if m.Role == cluster.Primary {
			return m.NodeID
		}
	}
	return n.opts.Node.NodeID
}

// isLeader is /leader: true from the committed TermStart until the term's context ends.
func (n *node) isLeader() bool {
	return n.opts.Node.Role != cluster.Witness && !n.stopping.Load() && n.coord.View().Leading
}

// setRunning shows the pipelines of the term, what encodes for them, and the writeback. Their end is announced by
// setRunning(nil, nil, nil).
func (n *node) setRunning(p []*poller.Pipeline, e []namedEncoder, w *poller.Writeback) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.drained != nil {
		close(n.drained)
		n.drained = nil
	}
	n.running, n.encoders, n.closing = p, e, w
	if w != nil {
		n.flows.begin(time.Now())
		n.drained = make(chan struct{})
	}
}

func (n *node) setTrouble(t trouble) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.trouble = t
}
