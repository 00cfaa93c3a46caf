package raftnode

import (
	"fmt"

	"github.com/hashicorp/raft"

	"scomconnector/cluster/state"
)

// stored is the state after everything in the store. What this node has applied may be far less: one that was just started applies
// nothing of its log before it has heard from a leader, or leads. Entries that were never committed are among it: one too many costs
// a person a look, one too few is lost.
func (n *Node) stored() (st *state.State, err error) {
	err = guarded(func() (err error) {
		st, err = n.readStore()
		return err
	})
	return st, err
}

func (n *Node) readStore() (*state.State, error) {
	st := state.New()
	from, err := n.restoreNewest(st)
	if err != nil {
		return nil, fmt.Errorf("read the newest snapshot: %w", err)
	}
	last, err := n.store.LastIndex()
	if err != nil {
		return nil, err
	}
	for i := from + 1; i <= last; i++ {
		var l raft.Log
		if err := n.store.GetLog(i, &l); err != nil {
			return nil, err
		}
		if l.Type != raft.LogCommand {
			continue
		}
		if _, _, err := st.Apply(l.Term, l.Index, l.Data); err != nil {
			return nil, err
		}
	}
	return st, nil
}

// lastStored is the last index of the log, whatever of it is in a snapshot only.
func (n *Node) lastStored() (last uint64, err error) {
	err = guarded(func() error {
		if last, err = n.store.LastIndex(); err != nil {
			return err
		}
		list, err := n.snaps.List()
		if err == nil && len(list) > 0 {
			last = max(last, list[0].Index)
		}
		return err
	})
	return last, err
}

// restoreNewest has st be what the newest snapshot holds, and returns the log index that it reaches to; 0: there is none.
func (n *Node) restoreNewest(st *state.State) (uint64, error) {
	list, err := n.snaps.List()
	if err != nil || len(list) == 0 {
		return 0, err
	}
	meta, r, err := n.snaps.Open(list[0].ID)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return meta.Index, st.Restore(r)
}
