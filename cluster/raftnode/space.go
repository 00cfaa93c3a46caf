package raftnode

import (
	"context"
	"fmt"
	"time"
)

const (
	// lowSpace is what must be free on the disk of DataDir: the log's file may still grow by some tens of megabytes, and a snapshot is
	// written beside the one before. Of a small disk it is a part, lowPart.
	lowSpace = 64 << 20
	lowPart  = 16
	// spaceEvery is how often it is looked at.
	spaceEvery = 2 * time.Second
)

// Space is the room on a disk, in bytes.
type Space struct{ Free, Total uint64 }

// low reports whether the disk is nearly full. It stays so until a quarter more is free: what is written and deleted again must not
// have the answer change each time.
func (s Space) low(was bool) bool {
	limit := min(lowSpace, s.Total/lowPart)
	if was {
		limit += limit / 4
	}
	return s.Free < limit
}

// watchSpace notices that the disk is about to be full, while there is still room to hand over. On a full one the leader of a pair can
// commit nothing more, its own successor's election included.
func (n *Node) watchSpace(ctx context.Context) {
	for {
		s, err := n.cfg.Space()
		if err == nil { // a disk that cannot be asked shows its trouble by itself
			n.noteSpace(s)
		}
		if !pause(ctx, spaceEvery) {
			return
		}
	}
}

func (n *Node) noteSpace(s Space) {
	n.mu.Lock()
	defer n.mu.Unlock()
	was := n.space != ""
	switch now := s.low(was); {
	case now:
		n.space = fmt.Sprintf("the disk that holds DataDir has only %d MB left", s.Free>>20)
		if !was {
			n.log.Error("the disk is nearly full: this node will stop when it is", "free_mb", s.Free>>20, "do", "free space on the disk that holds DataDir")
		}
	case was:
		n.space = ""
		n.log.Info("there is room on the disk again", "free_mb", s.Free>>20)
	}
}

// noSpace says that the disk is nearly full; empty: there is room.
func (n *Node) noSpace() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.space
}
