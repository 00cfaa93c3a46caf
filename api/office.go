package api

import (
	"context"
	"errors"

	v1 "scomconnector/api/v1"
)

// Office is what an operator may do with leadership, on any node. Calls may overlap and block until ctx ends. by
// is who asks. Errors are those of this package.
type Office interface {
	// Maintain has a node lead no more, or again. It returns once its sibling leads, where it led itself.
	Maintain(ctx context.Context, o v1.MaintenanceOrder, by string) (v1.Leadership, error)
	// Transfer has another node lead, and returns once it does.
	Transfer(ctx context.Context, o v1.TransferOrder, by string) (v1.Leadership, error)
	// TakeOver makes the node that is asked the leader although those it needs are gone, and returns once it leads.
	TakeOver(ctx context.Context, o v1.TakeoverOrder, by string) (v1.Leadership, error)
	// RemoveMember drops a member that no node.json names any more.
	RemoveMember(ctx context.Context, nodeID, by string) error
}

// Errors of Office. Their wrapping is of type *Unfit where there is more to say about what to do.
var (
	// ErrUnfit: the node that should lead cannot; nothing was changed.
	ErrUnfit = errors.New("no handover")
	// ErrLeaderAlive: there is nothing to take over.
	ErrLeaderAlive = errors.New("the cluster has a leader")
	// ErrWarned: force is needed, for the reasons that are wrapped.
	ErrWarned = errors.New("not without force")
)

// Unfit is a refusal with what to do about it, which takes the place of the general hint.
type Unfit struct {
	Err  error // wraps one of this package's
	Hint string
}

func (u *Unfit) Error() string { return u.Err.Error() }
func (u *Unfit) Unwrap() error { return u.Err }
