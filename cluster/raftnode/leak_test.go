package raftnode

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
)

// InBubble is synctest.Test that lives with the two leaks of raft's own. A handover that is begun just as its leader loses the heir's
// replication waits for it for ever (hashicorp/raft#696), also after raft has ended; and what lies in a channel of raft's that nobody
// reads any more when raft ends is never answered. Such a goroutine holds nothing and does nothing. Any other one that is left behind
// fails the test, and says where it hangs.
func InBubble(t *testing.T, f func(t *testing.T)) {
	var bubble []byte
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if !strings.Contains(fmt.Sprint(p), "blocked goroutines remain") {
			panic(p)
		}
		if left := unexplained(bubble); len(left) > 0 {
			t.Errorf("goroutines of the test were left behind:\n\n%s", bytes.Join(left, []byte("\n\n")))
			return
		}
		t.Log("raft has left a goroutine behind")
	}()
	synctest.Test(t, func(t *testing.T) {
		bubble = ownBubble()
		f(t)
	})
}

// ownBubble is how the stacks of this goroutine's bubble name it: "synctest bubble 7]".
func ownBubble() []byte {
	head := make([]byte, 100)
	head, _, _ = bytes.Cut(head[:runtime.Stack(head, false)], []byte(":\n"))
	_, name, found := bytes.Cut(head, []byte("synctest bubble "))
	if !found {
		panic("a stack does not name its bubble any more: " + string(head))
	}
	return append([]byte("synctest bubble "), name...)
}

// unexplained are the goroutines of a bubble that has ended, but for those of which a handover of raft's consists, and those that wait
// for nothing but raft's answer.
func unexplained(bubble []byte) [][]byte {
	dump := make([]byte, 16<<20)
	dump = dump[:runtime.Stack(dump, true)]
	var left [][]byte
	for g := range bytes.SplitSeq(dump, []byte("\n\n")) {
		head, _, _ := bytes.Cut(g, []byte("\n"))
		if bytes.Contains(head, bubble) && !raftLeak(g) {
			left = append(left, g)
		}
	}
	return left
}

func raftLeak(stack []byte) bool {
	for _, where := range []string{"raft.(*Raft).leadershipTransfer(", "raft.(*Raft).leaderLoop.func2()"} {
		if bytes.Contains(stack, []byte(where)) {
			return true
		}
	}
	return bytes.Contains(stack, []byte("raft.(*deferError).Error(")) && bytes.Contains(stack, []byte("raftnode.(*Node).settle.func1()"))
}
