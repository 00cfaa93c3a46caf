package raftnode

import (
	"context"
	"time"
)

// Claim is who goes on alone in an epoch: the content of a claim's file.
type Claim struct {
	ClusterID string
	NodeID    string
	// Incarnation of the data folder that made it: a node that was wiped since does not own it.
	Incarnation string
	At          time.Time
}

// Claims is the arbiter of a pair: a place that both nodes reach where a claim is made once and for ever.
// There is no time to live, no clock, and nothing is ever deleted. Calls may overlap.
type Claims interface {
	// Claim makes the claim of the epoch's number if there is none, and returns whose it is then. An error leaves
	// open whether it was made: read the owner.
	Claim(ctx context.Context, epoch uint64, by Claim) (owner Claim, err error)
	// Owner is whose the claim is; found is false if nobody has made it.
	Owner(ctx context.Context, epoch uint64) (owner Claim, found bool, err error)
}

// ours reports whether this very data folder made the claim.
func (c Claim) ours(id identity) bool {
	return c.ClusterID == id.ClusterID && c.NodeID == id.NodeID && c.Incarnation == id.Incarnation
}
