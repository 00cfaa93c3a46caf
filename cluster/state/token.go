package state

import (
	"cmp"
	"errors"
	"fmt"
)

// Epoch counts the forced beginnings of a cluster; Node tells apart two that were
// forced at the same time.
type Epoch struct {
	Number uint64
	Node   string
}

// Token names one term: totally ordered, and owned by at most one node.
type Token struct {
	Epoch Epoch
	Term  uint64
}

// Compare orders tokens by epoch number, epoch node, term.
func (t Token) Compare(u Token) int {
	return cmp.Or(cmp.Compare(t.Epoch.Number, u.Epoch.Number), cmp.Compare(t.Epoch.Node, u.Epoch.Node), cmp.Compare(t.Term, u.Term))
}

// IsZero reports whether no term was ever begun.
func (t Token) IsZero() bool { return t == Token{} }

// String is the term's one name in the log, in the status and on the page.
func (t Token) String() string { return fmt.Sprintf("%d.%s.%d", t.Epoch.Number, t.Epoch.Node, t.Term) }

// Refusals of the state machine. They are part of a Result: the command was committed, and changed nothing.
var (
	// ErrTermOver: the command's token is not the current term's.
	ErrTermOver = errors.New("term is over")
	// ErrStale: the version the command expected is not the current one.
	ErrStale = errors.New("the version has changed meanwhile")
	// ErrRewound: the pipeline was rewound since the Commit's position was read.
	ErrRewound = errors.New("the pipeline was rewound meanwhile")
	// ErrParkedFull: the parked entries, of the destination or of close requests, are at their limit.
	ErrParkedFull = errors.New("parked entries are at their limit")
	// ErrOutboxFull: as many close requests wait as may.
	ErrOutboxFull = errors.New("too many close requests wait already")
	// ErrFull: the delivered map, or the number of pipelines, raised self-alerts or maintenance flags, is at its limit.
	ErrFull = errors.New("a limit of the replicated state is reached")
	// ErrMaintenance: a node that must not be in maintenance at the same time is.
	ErrMaintenance = errors.New("another node is in maintenance already")
	// ErrUnknown: what the command names is not there.
	ErrUnknown = errors.New("not found")
)
