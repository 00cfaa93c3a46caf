package raftnode

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// What a line of our own tells is not told by raft as well; what raft alone knows is, once a minute.
func TestOfRaftsLinesOnlyNewsAreShown(t *testing.T) {
	for _, c := range []struct {
		msg  string
		err  error
		want bool
	}{
		{"failed to heartbeat to", errors.New("not been taken in"), false},
		{"peer has newer term, stopping replication", nil, false},
		{"failed to decode incoming command", fmt.Errorf("read: %w", net.ErrClosed), false},
		{"failed to decode incoming command", raft.ErrTransportShutdown, false},
		{"failed to decode incoming command", errors.New("unknown rpc type 9"), true},
		{"failed to get log", raft.ErrLogNotFound, false},
		{"failed to get log", errors.New("input/output error"), true},
		{"failed to take snapshot", errors.New("no space left"), true},
	} {
		var out bytes.Buffer
		log := newRaftLog(hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Info}))
		log.Error(c.msg, "error", c.err)
		log.Error(c.msg, "error", c.err)
		if lines := strings.Count(out.String(), "[WARN]  "+c.msg); lines != map[bool]int{true: 1, false: 0}[c.want] {
			t.Errorf("%s, %v: shown %d times, want %v\n%s", c.msg, c.err, lines, c.want, out.String())
		}
	}
}
