package poller

import (
	"context"
	"errors"
	"time"

	"scomconnector/poller/alert"
)

// Source is SCOM. Calls may overlap and block until ctx ends or their own deadlines do.
//
// Poll asks one console once and calls row for each row, in no order, possibly with the same id
// twice. It returns an Answer only if the answer was read to its end; otherwise an *alert.Fault,
// the callback's own error, or ctx's. Which console is asked, log-ons, and when to move to another
// one are the Source's; how often to ask is the caller's.
type Source interface {
	Poll(ctx context.Context, q alert.Query, row func(alert.Row) error) (alert.Answer, error)
}

// Sink is one destination: an ordered list of LAMs of which one is used at a time.
//
// Publish sends the batch once: to the LAM in use and, where that one is wrong or away, to the
// others in turn; it splits where a LAM asks for less. It never parks and never sleeps: the caller
// holds what is Pending and comes back. Calls must not overlap. It blocks at most one answer
// deadline for each LAM and split, or until ctx ends (Pending, with ctx's error in Err).
//
// Proven reports whether the LAM that refused has accepted another event since, which is what
// distinguishes a broken event from a broken LAM.
type Sink interface {
	Publish(ctx context.Context, batch []alert.Event) alert.Delivery
	Proven(r alert.Refusal) bool
}

// Encoder turns alerts into events. It is pure, and safe for concurrent use.
//
// Wants is the operator's Filter; it decides only for ids that were never sent.
// Append and AppendOwn append one JSON object of at most the configured number of bytes, shortening long
// fields and marking the event where needed; their error means that even that did not help.
type Encoder interface {
	Wants(a *alert.Alert) bool
	Append(dst []byte, a *alert.Alert) ([]byte, error)
	AppendOwn(dst []byte, o alert.Own) ([]byte, error)
}

// Ledger is this pipeline's part of the replicated state, bound to the term and to the position that was read when it was made:
// once the term is over Commit fails with ErrTermOver, once the cursor was rewound with ErrRewound, and has changed nothing. Reads are
// local, cheap, and see every Commit that has returned.
type Ledger interface {
	Position() Position
	// Sent is the newest version of id that this pipeline has delivered and still remembers.
	Sent(id alert.ID) (alert.Version, bool)
	// Open lists what was sent and not closed since; a copy.
	Open() []alert.Version
	// Room is how many more ids fit into the delivered map.
	Room() int
	// Raised reports whether the self-alert of this kind is out and not cleared.
	Raised(kind string) bool
	// Parked reports whether an entry of this key is parked already.
	Parked(key alert.ID) bool
	// Entry is the parked entry of this key, whole.
	Entry(key alert.ID) (Parked, bool)
	Commit(ctx context.Context, c Commit) error
	// Unpark takes the entry of this key away; one that is not there, too. Errors as Commit's.
	Unpark(ctx context.Context, key alert.ID) error
}

// Errors of Ledger.Commit.
var (
	// ErrTermOver: this node does not lead any more; nothing was changed.
	ErrTermOver = errors.New("term is over")
	// ErrRewound: an operator has put the cursor back; nothing was changed. Whatever was read belongs to the position before.
	ErrRewound = errors.New("the cursor was rewound")
	// ErrUnknownOutcome: the commit may or may not have happened; the term is over, too.
	ErrUnknownOutcome = errors.New("outcome of the commit is unknown")
	// ErrParkedFull: nothing was changed, since the destination's parked entries are at their limit.
	ErrParkedFull = errors.New("parked entries are at their limit")
	// ErrTooLarge: nothing was changed, since one of the parked entries is too large to be recorded.
	ErrTooLarge = errors.New("a parked entry is too large to be recorded")
)

// Position is where a pipeline stands.
type Position struct {
	// Started is false for a pipeline that has never finished its first read.
	Started bool
	// Cursor is SCOM's time up to which all was delivered; it never regresses but by a rewind, which ends the pipeline.
	Cursor alert.Millis
	// Floor excludes what was last modified before it (FirstStart "now"); zero excludes nothing.
	Floor alert.Millis
}

// Commit moves a pipeline. It is applied as a whole or not at all.
type Commit struct {
	Start  bool         // the first read is complete
	Cursor alert.Millis // zero: unmoved; a smaller value than the current one is ignored
	Floor  alert.Millis // only beside Start
	// Forget allows the delivered map to drop closed versions last modified before it.
	Forget alert.Millis
	Sent   []alert.Version // accepted by a LAM
	// Handled are versions to be remembered as Sent is that no LAM has accepted: parked, or held back.
	Handled []alert.Version
	Parked  []Parked
	// Raised and Cleared are kinds of self-alerts that have gone out.
	Raised, Cleared []string
}

// Parked is one thing that was refused for good, kept for a person.
type Parked struct {
	Key     alert.ID // the same fault of the same row has the same key
	Version alert.Version
	At      time.Time
	Reason  string // plain words
	LAM     string // who refused; empty for a row of SCOM's that cannot be understood
	Status  int    // HTTP status, 0 without one
	Answer  string // what the LAM said, at most 1 KiB
	Payload []byte // the event, or the row
}
