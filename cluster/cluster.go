package cluster

import (
	"context"
	"errors"
	"time"

	"scomconnector/cluster/state"
)

// Coordinator is one node's part of the cluster. All methods may be called concurrently.
type Coordinator interface {
	// Run serves until ctx ends or the node cannot go on; the error says why, and the process
	// must then exit. For each term that this node wins it calls lead once the term's TermStart is
	// committed. The context of lead ends when the term does, at the latest before another node may
	// begin one. Run never calls lead again before the last call has returned. When lead returns
	// before its context ended, Run gives leadership away if it can.
	Run(ctx context.Context, lead func(context.Context, Term) error) error
	// Propose has op committed, from any node, stamped with the leader's token. It waits for a
	// leader until ctx ends (ErrNoLeader). ErrUnknownOutcome: it may or may not be committed. The
	// result's own Err is the state machine's refusal.
	Propose(ctx context.Context, op state.Op) (state.Result, error)
	// View is what this node knows now, perhaps stale.
	View() View
	// Transfer hands leadership to the named node and returns once its TermStart is committed here.
	Transfer(ctx context.Context, nodeID string) error
	// Health is measured, never asked of a peer at the time of the call.
	Health() Health
}

// Term is one uninterrupted leadership of this node.
type Term struct {
	Token state.Token
	// Propose has op committed under this term's token and no other: after the term it fails with
	// ErrTermOver, or the state machine refuses it with that error. It may block until ctx ends
	// (ErrUnknownOutcome if the command was under way).
	Propose func(ctx context.Context, op state.Op) (state.Result, error)
}

// Errors of proposals.
var (
	ErrNoLeader       = errors.New("no leader is known")
	ErrTermOver       = state.ErrTermOver
	ErrUnknownOutcome = errors.New("the outcome of the proposal is unknown")
)

// Role is what a member is for.
type Role string

// The roles of DESIGN's node.json.
const (
	Primary   Role = "Primary"
	Secondary Role = "Secondary"
	Witness   Role = "Witness"
)

// Member is one line of node.json's Members.
type Member struct {
	NodeID         string
	Role           Role
	ClusterAddress string // HOST:PORT
	Url            string // the member's API, for people and for links
}

// View is what a node knows of the cluster.
type View struct {
	NodeID string
	// State is live and safe to read concurrently; it may be newer than the rest of the view.
	State *state.State
	// Leader is empty when none is known. LeaderURL-like facts are looked up in Members.
	Leader  string
	Leading bool // this node's lead is running
	Token   state.Token
	Members []MemberView
	// Waiting says, in one sentence, whom or what a node without a cluster waits for; else empty.
	Waiting string
}

// MemberView is what this node knows of one member.
type MemberView struct {
	Member
	Suffrage    string    // "voter", "nonvoter", "none"
	LastContact time.Time // zero: never in this process's lifetime; itself: now
	Applied     uint64    // log index
	Version     string    // program version, as greeted
}

// Health is what the watchdogs know.
type Health struct {
	Voters       int
	LastCommit   time.Time // of a command this node has applied; zero: none since the start
	CommitIndex  uint64
	Applied      uint64
	StoreWrite   time.Duration // how long the last write to the store took
	StoreFault   string        // why the store was given up; empty while it works
	LeaderSince  time.Time
	ElectionLost uint64 // terms this node has lost since the start
}
