package state

import (
	"time"

	"scomconnector/poller/alert"
)

// Op is one change of the state, without the token it is made under.
type Op interface{ kind() kind }

type kind byte

// Command is an Op as it stands in the log.
type Command struct {
	Token Token
	Op    Op
}

// MaxCommand is the most bytes an encoded command may have: raft advises against long
// entries, since heartbeats wait behind them.
const MaxCommand = 64 << 10

// Result is what applying one command did.
type Result struct {
	// Err is one of this package's refusals, or nil.
	Err error
	// Version is the config version for SetConfig, else zero.
	Version uint64
}

// TermStart begins a term. It is the only op whose token is new; it is refused unless its token is
// greater than the current one. The first TermStart of all also names the cluster.
type TermStart struct {
	Node      string
	ClusterID string // taken only if the state has none
	Reason    string // why leadership changed, for people
	At        time.Time
}

// Commit moves one pipeline; see poller.Commit, whose fields these are. It creates the pipeline.
type Commit struct {
	Pipeline        string
	Start           bool
	Cursor          alert.Millis
	Floor           alert.Millis
	Forget          alert.Millis
	Sent            []alert.Version // accepted by a LAM, and counted so
	Handled         []alert.Version // remembered as Sent is, but not counted: parked, or held back
	Parked          []Parked
	Raised, Cleared []string
}

// Parked is one thing that was refused for good.
type Parked struct {
	Key     alert.ID
	Version alert.Version
	At      time.Time
	Reason  string
	LAM     string
	Status  int
	Answer  string
	// Payload is deflated by the caller (compress/flate), at most 64 KiB less the rest of the command.
	Payload []byte
}

// SetConfig makes a new version of the cluster-wide settings if Expect is the current version
// (0: there is none yet). The text was validated by whoever proposes it.
type SetConfig struct {
	Expect uint64
	Text   []byte
	Author string
	At     time.Time
}

// SetManagementGroup fixes the name; refused with ErrStale if another one is set already, unless Force.
type SetManagementGroup struct {
	Name  string
	Force bool
}

// Rewind lowers a pipeline's cursor and forgets what was delivered from there on.
type Rewind struct {
	Pipeline string
	To       alert.Millis
	Author   string
	At       time.Time
}

// Unpark removes parked entries, because somebody has dealt with them.
type Unpark struct {
	Pipeline string
	Keys     []alert.ID
}

// SetPipelines names the pipelines that the settings want. Others are kept for 7 days after At, then dropped;
// Carry gives a renamed pipeline the state of its previous name.
type SetPipelines struct {
	Names []string
	Carry map[string]string // new name -> previous name
	At    time.Time
}
