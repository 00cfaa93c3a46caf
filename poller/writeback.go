package poller

import (
	"context"
	"errors"
	"time"

	"scomconnector/poller/alert"
)

// Close is one accepted request of the outbox, as the writeback sees it.
type Close struct {
	ID      string // mark of its writes
	Alert   alert.ID
	State   uint8
	Keep    bool // leave the state as it is
	Comment string
	Fields  []Field
	At      time.Time // accepted
}

// Field is one field of an alert that is to be changed.
type Field struct{ Name, Value string }

// Settlement is how a request ended; see state.Settlement, whose outcomes these are.
type Settlement struct {
	ID      string
	Outcome Outcome
	Reason  string
}

// Outcome of a request.
type Outcome uint8

// The outcomes.
const (
	Done Outcome = iota + 1
	Already
	Refused
)

// Outbox is the replicated outbox, bound to the term. Reads are local and cheap.
type Outbox interface {
	// Waiting lists unsettled requests, oldest first, at most limit of them.
	Waiting(limit int) []Close
	// Settle records how requests ended. Errors as Ledger.Commit's.
	Settle(ctx context.Context, s []Settlement) error
	// Changed is signalled when there may be more to do; one slot, may be spurious.
	Changed() <-chan struct{}
}

// Target is SCOM, to be written to. A failed call returns *alert.Fault; Unknown on it says that the write may have happened.
type Target interface {
	// SetState has the alerts' resolution state set, all with one comment. Refusals are SCOM's words by alert.
	SetState(ctx context.Context, ids []alert.ID, state uint8, comment string) (refusals map[alert.ID]string, err error)
	// SetFields changes fields of one alert and nothing else of it; refusal is SCOM's words. ErrUnsupported on servers without it.
	SetFields(ctx context.Context, id alert.ID, fields []Field, state *uint8, comment string) (refusal string, err error)
	// ResetMonitor makes the monitor behind the alert healthy. ErrUnsupported on servers without it.
	ResetMonitor(ctx context.Context, id alert.ID) (refusal string, err error)
	// Look is the alert as SCOM shows it now; found is false if it does not show it (any more).
	Look(ctx context.Context, id alert.ID) (a alert.Alert, found bool, err error)
	// Marked reports which of these marks stand in the alert's history. ErrUnsupported on servers without a history.
	Marked(ctx context.Context, id alert.ID, marks []string) ([]string, error)
}

// ErrUnsupported: this version of SCOM's web console has no such call.
var ErrUnsupported = errors.New("this version of SCOM's web console cannot do that")
