package cluster

import (
	"context"
	"errors"
	"strings"
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
	// Transfer hands leadership to the named node, from any node, and returns once its TermStart is
	// committed here. What the leader has begun is finished first (Term.Finish). Refused, with the reason
	// and what to do, if the node is no voter, behind, out of contact, a witness or in maintenance.
	Transfer(ctx context.Context, nodeID string, why Reason) error
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
	// Finish is closed when leadership is about to be given away as planned: lead finishes what it has
	// begun, begins nothing new, and returns. Its context ends FinishTime later at the latest. It stays open
	// where leadership is lost unplanned: nothing can be finished then.
	Finish <-chan struct{}
}

// FinishTime is how long lead may take to finish what it has begun, before a planned handover.
const FinishTime = 4 * time.Second

// Turn is a term's name where the log tells that its leadership begins or ends here.
type Turn string

// Milestone marks such a line for a log that keeps back what was said before: of these each has to be there.
func (Turn) Milestone() {}

// Reason says why leadership changed, for the record of leader changes.
type Reason struct {
	Cause Cause
	Text  string // a clause for people: "asked for by alice", "primary was stopped"
}

// Cause is the kind of a change of leadership.
type Cause string

// The causes. All but the first five are planned handovers.
const (
	CauseFormed      Cause = "formed"   // the first leader of a new cluster
	CauseElected     Cause = "elected"  // the same node again
	CauseLost        Cause = "lost"     // the leader before was lost
	CauseTakeover    Cause = "takeover" // by force, in a new epoch
	CauseAlone       Cause = "alone"    // the same node goes on alone, in a new epoch
	CauseTransfer    Cause = "transfer"
	CauseMaintenance Cause = "maintenance"
	CauseStop        Cause = "stop"
	CauseFailback    Cause = "failback"
	CauseWork        Cause = "work" // the leader before could not deliver
	CauseWitness     Cause = "witness"
)

// Peers is the way to the other members, over the same port as everything between nodes.
type Peers interface {
	// Ask sends a request to the member's own answering function and returns what that says. It waits
	// until ctx ends. The error says in an operator's words why there is no answer.
	Ask(ctx context.Context, nodeID string, request []byte) ([]byte, error)
}

// Members is what an operator may do to a cluster that consists of its members alone.
type Members interface {
	// TakeOver makes this node the leader of a new epoch, with itself as the only voter, although the
	// members it needs are gone; it returns once this node leads. by is who asked for it. Refused with
	// the reason where the cluster has a reachable leader (ErrLeaderAlive, also with force), or where a warning
	// of Outlook stands and force is not set.
	TakeOver(ctx context.Context, by string, force bool) error
	// Remove drops a member that no node.json names any more.
	Remove(ctx context.Context, nodeID string) error
}

// Errors of proposals.
var (
	ErrNoLeader       = errors.New("no leader is known")
	ErrTermOver       = state.ErrTermOver
	ErrUnknownOutcome = errors.New("the outcome of the proposal is unknown")
	// ErrOldMember: a member runs an older version, which would have to stop at this command.
	ErrOldMember = errors.New("not while a member runs an older version")
	// ErrLeaderAlive: there is nothing to take over; a handover is what is wanted.
	ErrLeaderAlive = errors.New("the cluster has a leader")
	// ErrWarned: a takeover needs force, for the reasons that follow.
	ErrWarned = errors.New("not without force")
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
	// Waiting says, in one sentence, whom or what this node waits for before it can take part; else empty.
	Waiting string
	// Do says in a clause what a person can do about it; empty: to start the nodes that it waits for.
	Do string
	// Alarm is a fault between the nodes that only a person can mend, in one sentence; else empty.
	Alarm string
	// Notice is what happened lately, is mended already, and somebody should know, in one sentence; else empty.
	Notice string
	// Stall is why nothing can be committed although a leader may be there; the zero value: it can.
	Stall Stall
	// Start counts the starts of this node's process on its data; CleanStart: the one before ended as planned.
	Start      uint64
	CleanStart bool
	Outlook    Outlook
	Archives   []Archive // newest first
}

// Stall is why nothing can be committed now, whoever leads. As an error it says that nothing was changed.
type Stall struct {
	Text  string // a clause
	Do    string
	Since time.Time
}

func (s Stall) Error() string { return s.Text }

// FreeEtcd is what to do about an etcd whose database is full.
const FreeEtcd = "free it, on a machine of the etcd or with its ETCDCTL_ENDPOINTS: `etcdctl compact $(etcdctl endpoint status -w json | grep -o '\"revision\":[0-9]*' | head -1 | cut -d: -f2)`, " +
	"then `etcdctl defrag --cluster`, then `etcdctl alarm disarm`, and turn on auto-compaction; if it is full again, --quota-backend-bytes is too small"

// Outlook is whether this node could take over by force, and what that would mean.
type Outlook struct {
	// Possible: TakeOver would be tried. Refusal says why not.
	Possible bool
	Refusal  string
	// LastHeard is when this node last heard from a leader: its copy is as old as that. Zero: not since its start.
	LastHeard time.Time
	// Warnings are what TakeOver without force is refused for, in an operator's words.
	Warnings []string
	// At is when this node takes over by itself if nothing changes; zero: it will not.
	At time.Time
}

// Archive is a copy of the state that a node has put aside before it took over another one's.
type Archive struct {
	Name  string
	At    time.Time
	Epoch state.Epoch
}

// MemberView is what this node knows of one member.
type MemberView struct {
	Member
	// Suffrage is "voter", "nonvoter" or "none"; where an etcd decides, "candidate" stands for a member that could lead.
	Suffrage    string
	Fault       string // why it is out of contact; empty: it is in contact, or was never tried
	Epoch       state.Epoch
	Start       uint64
	LastContact time.Time // zero: never in this process's lifetime; itself: now
	Applied     uint64    // log index
	Version     string    // program version, as greeted
	Space       string    // that its disk is nearly full, in an operator's words; empty: there is room, or nothing is known
	Slow        Slowness  // as it says itself, while it is in contact
}

// Candidate reports whether the member may be made the leader, as far as votes or the like decide.
func (m MemberView) Candidate() bool { return m.Suffrage == "voter" || m.Suffrage == "candidate" }

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
	Slow         Slowness
	// Lease and Endpoints are of a cluster that is coordinated by an etcd; Voters, CommitIndex and Applied are then its members in
	// contact, and revisions.
	Lease     Lease
	Endpoints []Endpoint
}

// Slowness is that a machine is too slow for the timing of its cluster, by what its node has measured; the zero value is none.
type Slowness struct {
	Text string // what follows "this machine", without a full stop
	Do   string
}

// Lease is the leader's, where there is one. The zero value is none.
type Lease struct {
	TTL  time.Duration
	Left time.Duration // until this node, which leads, must have stopped unless it is renewed; 0 on any other node
}

// Endpoint is what this node knows of one endpoint of an etcd.
type Endpoint struct {
	URL       string
	Fault     string // why it cannot be used, and what to do; empty: it works
	Alarm     string // what etcd itself complains about
	Warning   string // what should be mended some day
	Version   string
	Leader    bool          // of that etcd
	SizeBytes int64         // of its database
	Took      time.Duration // the last answer
}

// Full reports whether its etcd takes no writes, since a member's database has come to its quota.
func (e Endpoint) Full() bool { return strings.Contains(e.Alarm, "NOSPACE") }
