package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/cluster"
	"scomconnector/cluster/port"
	"scomconnector/cluster/state"
)

// coordination is what a greeting says of this backend.
const coordination = "etcd"

const (
	// statusEvery is how often a member is asked how it is; freshFor is how long an answer counts as contact.
	statusEvery   = 300 * time.Millisecond
	statusTimeout = time.Second
	freshFor      = 1500 * time.Millisecond
	// idleCaller is how long a caller may say nothing.
	idleCaller = 10 * time.Second
)

// request is one call between nodes. Op is one of the op constants.
type request struct {
	Op      string
	Command []byte         // propose: an encoded command whose token is not set
	Target  string         // transfer
	Reason  cluster.Reason // transfer
	Body    []byte         // ask
	Timeout time.Duration  // how long the caller waits
}

const (
	opStatus   = "status"
	opPropose  = "propose"
	opTransfer = "transfer"
	opAsk      = "ask"
)

// response answers a request.
type response struct {
	Greeting port.Greeting
	Fault    string // one of port's, or plain words; empty: done
	Refused  string // the state machine's refusal
	Version  uint64
	ID       string
	Body     []byte
}

func (r response) outcome() port.Outcome {
	return port.Outcome{Fault: r.Fault, Refused: r.Refused, Version: r.Version, ID: r.ID}
}

func answerOf(o port.Outcome) response {
	return response{Fault: o.Fault, Refused: o.Refused, Version: o.Version, ID: o.ID}
}

// sibling is what this node knows of another member.
type sibling struct {
	cluster.Member
	log hclog.Logger

	mu    sync.Mutex // guards what follows
	last  port.Greeting
	seen  time.Time // of last; zero: never in this process's lifetime
	fault string    // of the newest attempt; empty: it worked
	said  string    // what was logged last
}

func newSibling(m cluster.Member, log hclog.Logger) *sibling {
	return &sibling{Member: m, log: log.With("member", m.NodeID)}
}

func (p *sibling) note(g port.Greeting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen.IsZero() || p.fault != "" {
		p.log.Debug("member is in contact", "version", g.Version)
	}
	p.last, p.seen, p.fault, p.said = g, time.Now(), "", ""
}

func (p *sibling) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = err.Error()
	if what := deepest(err).Error(); what != p.said {
		p.log.Debug("member is out of contact", "error", err)
		p.said = what
	}
}

func deepest(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

func (p *sibling) fresh() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault == "" && !p.seen.IsZero() && time.Since(p.seen) < freshFor
}

// ready: it is in contact with etcd and has what stands there.
func (p *sibling) ready() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last.Ready
}

// greeted is its last greeting, if there was one.
func (p *sibling) greeted() (port.Greeting, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last, !p.seen.IsZero()
}

// token is the greatest that it has seen.
func (p *sibling) token() state.Token {
	p.mu.Lock()
	defer p.mu.Unlock()
	return state.Token{Epoch: p.last.Epoch, Term: p.last.LastIndex}
}

// greeting is what this node says about itself now. Of raft's words Applied is the revision of the newest change
// of a part, LastIndex the greatest term seen.
func (n *Node) greeting() port.Greeting {
	id, k := n.ident(), n.replica.keys()
	top := id.Token
	if t := n.replica.state.Token(); t.Compare(top) > 0 {
		top = t
	}
	leader, _ := n.leader()
	return port.Greeting{
		Protocol: port.Protocol, Coordination: coordination, ClusterID: id.ClusterID, NodeID: n.cfg.NodeID, Incarnation: id.Incarnation,
		Start: id.Start, Version: n.cfg.Version, Members: n.hash, Process: n.process, Knows: state.MaxKind,
		Ready: k.synced && n.inContact(), Applied: uint64(k.newest), Epoch: top.Epoch, LastIndex: top.Term, Leader: leader,
	}
}

// judge says why a caller goes no further, in words for the operator of the other node; empty: it may.
func (n *Node) judge(kind byte, theirs port.Greeting) string {
	_, known := n.cfg.member(theirs.NodeID)
	own := n.ident().ClusterID
	switch {
	case theirs.Protocol != port.Protocol:
		return fmt.Sprintf("it speaks version %d of the protocol between nodes, the caller version %d: bring both to the same release", port.Protocol, theirs.Protocol)
	case theirs.NodeID == n.cfg.NodeID:
		return fmt.Sprintf("it is itself called %q: two nodes must not share a NodeID", n.cfg.NodeID)
	case theirs.Coordination != coordination:
		return "its Coordination is etcd, the caller's raft: set the same in every node.json"
	case !known:
		return fmt.Sprintf("its Members does not list %q: add it there", theirs.NodeID)
	case own != "" && theirs.ClusterID != "" && own != theirs.ClusterID:
		return fmt.Sprintf("it belongs to another cluster, %s: give both the same Etcd.Endpoints and Etcd.Prefix", own)
	case kind != port.KindCall:
		return fmt.Sprintf("it knows no connections of kind %q", kind)
	}
	return ""
}

// watchSibling asks the member for its status until ctx ends, over one connection while it lasts.
func (n *Node) watchSibling(ctx context.Context, p *sibling) {
	for ctx.Err() == nil {
		err := n.watchOnce(ctx, p)
		if ctx.Err() == nil {
			p.fail(err)
		}
		pause(ctx, statusEvery)
	}
}

func (n *Node) watchOnce(ctx context.Context, p *sibling) error {
	conn, theirs, err := n.port.Call(ctx, port.KindCall, p.Member)
	if err != nil {
		return err
	}
	defer conn.Close()
	p.note(theirs)
	for {
		if !pause(ctx, statusEvery) {
			return ctx.Err()
		}
		r, err := port.Exchange[response](ctx, conn, request{Op: opStatus}, statusTimeout)
		if err != nil {
			return err
		}
		p.note(r.Greeting)
	}
}

// ask sends one request over a connection of its own.
func (n *Node) ask(ctx context.Context, nodeID string, r request) (response, error) {
	p := n.peers[nodeID]
	if p == nil {
		return response{}, errors.Join(port.ErrNotSent, fmt.Errorf("%s is no other member: correct the name", nodeID))
	}
	conn, theirs, err := n.port.Call(ctx, port.KindCall, p.Member)
	if err != nil {
		return response{}, errors.Join(port.ErrNotSent, err)
	}
	defer conn.Close()
	p.note(theirs)
	r.Timeout = port.Patience(ctx)
	return port.Exchange[response](ctx, conn, r, r.Timeout)
}

// Ask sends a request to the member's Config.Serve; see cluster.Peers.
func (n *Node) Ask(ctx context.Context, nodeID string, body []byte) ([]byte, error) {
	if n.peers[nodeID] == nil {
		return nil, fmt.Errorf("%s is no other member: correct the name", nodeID)
	}
	resp, err := n.ask(ctx, nodeID, request{Op: opAsk, Body: body})
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s does not answer: %w", nodeID, deepest(err))
	case resp.Fault != "":
		return nil, errors.New(resp.Fault)
	}
	return resp.Body, nil
}

// take answers the requests of a caller one after the other until it ends.
func (n *Node) take(_ byte, theirs port.Greeting, conn net.Conn) {
	defer conn.Close()
	for {
		conn.SetDeadline(time.Now().Add(idleCaller)) //nolint:errcheck // a connection that is gone fails at the next read
		var r request
		if err := port.ReadFrame(conn, &r); err != nil {
			return
		}
		resp := n.answer(theirs, r)
		resp.Greeting = n.greeting()
		conn.SetDeadline(time.Now().Add(idleCaller)) //nolint:errcheck // as above
		if err := port.WriteFrame(conn, nil, resp); err != nil {
			return
		}
	}
}

func (n *Node) answer(theirs port.Greeting, r request) response {
	if r.Op == opStatus {
		return response{}
	}
	ctx, cancel := context.WithTimeout(context.Background(), min(max(r.Timeout, 0), port.MaxCall))
	defer cancel()
	go func() { // ends with ctx
		select {
		case <-n.stopped:
			cancel()
		case <-ctx.Done():
		}
	}()
	t := n.term.Load()
	switch {
	case r.Op == opAsk && n.cfg.Serve == nil:
		return response{Fault: n.cfg.NodeID + " answers no requests"}
	case r.Op == opAsk:
		body, err := n.cfg.Serve(ctx, theirs.NodeID, r.Body)
		if err != nil {
			return response{Fault: err.Error()}
		}
		return response{Body: body}
	case r.Op != opPropose && r.Op != opTransfer:
		return response{Fault: fmt.Sprintf("it knows no request %q", r.Op)}
	case t == nil:
		return response{Fault: port.FaultNotLeader}
	case r.Op == opTransfer:
		return faulty(t.transfer(ctx, r.Target, r.Reason))
	}
	return answerOf(port.Carry(ctx, r.Command, t.propose))
}

func faulty(err error) response {
	if errors.Is(err, errNoTerm) {
		return response{Fault: port.FaultNotLeader}
	}
	return response{Fault: port.FaultOf(err)}
}
