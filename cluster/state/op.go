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
	// ID is the request's, for Accept.
	ID string
}

// TermStart begins a term. It is the only op whose token is new; it is refused unless its token is
// greater than the current one. The first TermStart of all also names the cluster.
type TermStart struct {
	Node      string
	ClusterID string // taken only if the state has none
	Cause     string // the kind of change: cluster.Cause
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
	// Rewinds is how often the pipeline had been rewound (PipelineInfo.Rewinds) when that position was read which the commit leads on
	// from. ErrRewound if it has been rewound since: such a commit would pass over what is to be delivered again.
	Rewinds uint64
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

// Rewind lowers a pipeline's cursor and forgets what was delivered from there on. No Commit made before it is applied after it.
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

// SetMaintenance has a node lead no more, or again. On replaces a flag that is there.
type SetMaintenance struct {
	Node   string
	On     bool
	Sticky bool   // On: only an operator ends it
	Start  uint64 // On: the start number of the node's process; off: end it only if it carries this one (0: any)
	// Unless names the nodes of which none but Node itself may be in maintenance: refused with ErrMaintenance
	// else. Only for On.
	Unless []string
	Author string
	At     time.Time
}

// AdoptPipeline gives this cluster what a node that yields its own epoch held of a pipeline. It creates the
// pipeline. Entries that are there already stay as they are, so that it may be repeated.
type AdoptPipeline struct {
	Node     string
	Epoch    Epoch // that the node yields
	Pipeline string
	Parked   []Parked
	Raised   []string // self-alerts that are out: this cluster must clear them
}

// AdoptSettings gives this cluster the settings of a node that yields its own epoch. A text that is kept as any
// version changes nothing. Where this cluster has not changed its own since the two had the same, the text becomes the
// version in use; else it becomes a version and the one in use before is put back as the next one, so that an operator may
// compare the two and roll back. Result.Version is the version in use then.
type AdoptSettings struct {
	Node   string
	Epoch  Epoch
	Text   []byte
	Author string // who made that version
	At     time.Time
	// Known are the versions that the node keeps, to find the last one that both have.
	Known []ConfigSum
}

// ConfigSum names a version of the settings by its content.
type ConfigSum struct {
	Version uint64
	Sum     uint64 // ConfigVersion.Sum
}

// AdoptNote keeps a sentence for people about what a node that yields its own epoch did there and what was not
// carried over. The same note is kept once.
type AdoptNote struct {
	Node  string
	Epoch Epoch
	Text  string
	At    time.Time
}

// Request is one accepted close request: what is to be changed of one alert in SCOM.
type Request struct {
	// ID is random, 16 hex digits, made by the node that accepted it. Each write to SCOM carries it as [sc:ID].
	ID    string
	Key   string // Idempotency-Key of whoever asked; mostly empty
	Alert alert.ID
	// State is the resolution state that is asked for; Keep leaves it as it is (only Fields are to be changed).
	State   uint8
	Keep    bool
	Comment string
	Fields  []Field // by name, each name once
	From    string  // who asked, from where; for people
	Node    string  // that accepted it
	At      time.Time
	// Doubtful: it may have been written to SCOM already, so its mark is to be looked for first. Set by Begin, by AdoptOutbox, and
	// by the first term of an epoch, since the one before may have gone on elsewhere.
	Doubtful bool
	// Seen is set by Begin, for the cluster's own use: what SCOM showed as the alert's last modification just before. Zero: not known.
	Seen alert.Millis
}

// Field is one field of an alert that is to be changed: TicketId, Owner, CustomField1 to CustomField10.
type Field struct{ Name, Value string }

// Accept puts a request into the outbox; Result.ID is the ID under which it is done. It adds nothing, and Result.ID names the one
// that is there, if the request asks the same as the newest one of its alert that is not settled, or has the Key of one that is
// not settled, parked, or was settled within KeepSettled. Nor does it if its own ID is known, so that it may be proposed again.
// Only the newest one counts: between two closes of an alert it may have been asked to be opened again, and then the second close
// is not the first. Refused with ErrOutboxFull beyond the limits, which come from the settings.
type Accept struct {
	Request    Request
	MaxEntries int // 1 to MaxOutbox
	MaxBytes   int // of all requests together, as they are encoded; 1 to MaxOutboxBytes
}

// Outcome is how a request ended.
type Outcome uint8

// The outcomes of a request.
const (
	Done    Outcome = iota + 1 // SCOM shows it
	Already                    // SCOM showed it before, or does not know the alert; nothing was written
	Refused                    // SCOM refuses for good: parked for a person
)

// Begin notes that the leader is about to write these requests to SCOM, one group of them: from then on they are Doubtful to every
// leader after it. What no leader has begun need not be looked up, however many wait. Requests that do not wait are passed over.
type Begin struct{ Begun []Begun }

// Begun is one request that is about to be written, and what its alert's last modification was then; zero if SCOM does not show it.
type Begun struct {
	ID   string
	Seen alert.Millis
}

// Settle takes requests out of the outbox. Those that are not in it (any more) are passed over. Refused with ErrParkedFull as a
// whole if there is no room for those that SCOM refuses: the others can be settled without them. SplitSettle cuts a long one.
type Settle struct {
	Settled []Settlement
	At      time.Time
}

// Settlement is how one request ended. Reason is SCOM's own words, of which 1 KiB is kept; for Refused, and for
// Already where SCOM does not know the alert.
type Settlement struct {
	ID      string
	Outcome Outcome
	Reason  string
}

// Retry puts parked requests back into the outbox, behind all others; ErrUnknown if none of them is parked, ErrOutboxFull if there
// is no room for all of them. What they were refused for is forgotten.
type Retry struct {
	IDs        []string
	MaxEntries int
	MaxBytes   int
}

// Discard takes parked requests away, because somebody has dealt with them; ErrUnknown if none of them is parked.
type Discard struct{ IDs []string }

// AdoptOutbox gives this cluster the requests that a node which yields its own epoch has accepted and not settled, and those it
// has parked. Those that are here already, settled or not, by their ID or their Key, stay as they are. What was accepted is not
// turned away for the settings' limits, only beyond MaxOutbox and MaxOutboxBytes (ErrOutboxFull), or parked entries' (ErrParkedFull).
type AdoptOutbox struct {
	Node     string
	Epoch    Epoch
	Requests []Request
	Parked   []ParkedRequest
}

// ParkedRequest is a request that SCOM has refused for good.
type ParkedRequest struct {
	Request Request
	Reason  string
	At      time.Time // of the refusal
}
