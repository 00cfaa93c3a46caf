package raftnode_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
)

// inBubble is synctest.Test that lives with the one leak of raft's own: a handover that is begun just as its leader loses the heir's
// replication waits for it for ever (hashicorp/raft#696), also after raft has ended. Such a goroutine holds nothing and does nothing.
func inBubble(t *testing.T, f func(t *testing.T)) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if !strings.Contains(fmt.Sprint(p), "blocked goroutines remain") || !onlyHandoversLeft() {
			panic(p)
		}
		t.Log("raft has left a handover behind")
	}()
	synctest.Test(t, f)
}

// onlyHandoversLeft: every goroutine of a bubble that has ended is one of the two that a handover of raft's consists of.
func onlyHandoversLeft() bool {
	dump := make([]byte, 4<<20)
	dump = dump[:runtime.Stack(dump, true)]
	for g := range bytes.SplitSeq(dump, []byte("\n\n")) {
		if !bytes.Contains(g, []byte("synctest bubble")) {
			continue
		}
		if !bytes.Contains(g, []byte("raft.(*Raft).leadershipTransfer(")) && !bytes.Contains(g, []byte("raft.(*Raft).leaderLoop.func2()")) {
			return false
		}
	}
	return true
}
