package raftnode

import (
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// stuckTransfer notices a handover that raft began and never ends (hashicorp/raft#696): it refuses all proposals then, for ever,
// while it goes on leading.
type stuckTransfer struct {
	mu    sync.Mutex // guards since
	since time.Time  // zero: raft takes proposals
}

// note takes what raft said to a proposal, and reports whether raft is stuck: a transfer is over, either way, within one election
// timeout, so three without an end are enough.
func (s *stuckTransfer) note(err error, election time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !errors.Is(err, raft.ErrLeadershipTransferInProgress) {
		s.since = time.Time{}
		return false
	}
	if s.since.IsZero() {
		s.since = time.Now()
	}
	return time.Since(s.since) > 3*election
}

// noteProposal has raft rebuilt once it is stuck.
func (t *term) noteProposal(err error) {
	if t.stuck.note(err, t.node.timing.election) {
		t.node.unstick()
	}
}

func (n *Node) unstick() {
	n.led.end()
	n.rebuildSoon("a handover of leadership has not ended, and raft takes no proposals meanwhile")
}
