package clustertest

import (
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// turns counts the lines that tell who leads, and those of them that a log must not keep back.
type turns struct {
	mu           sync.Mutex // guards what follows
	said, marked int
}

func (u *turns) look(_ hclog.Level, msg string, args ...any) bool {
	if !strings.HasPrefix(msg, "this node leads") {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.said++
	for _, a := range args {
		if _, ok := a.(interface{ Milestone() }); ok {
			u.marked++
		}
	}
	return false
}

// TurnsAreMarked runs a cluster of a backend through a handover: each line that tells of its leaders carries the mark by which a log
// writes it however often it was written before.
func TurnsAreMarked(t *testing.T, shape Shape, backend func(t *testing.T, log hclog.Logger) Backend) {
	synctest.Test(t, func(t *testing.T) {
		u := &turns{}
		c := NewOver(t, shape, backend(t, hclog.New(&hclog.LoggerOptions{Output: io.Discard, Exclude: u.look})))
		c.Start()
		first := c.Leader(time.Minute)
		c.Voters(len(shape), time.Minute)
		if err := c.Stop(first); err != nil {
			t.Error(err)
		}
		c.Leader(time.Minute, first)
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.said < 3 || u.marked != u.said {
			t.Errorf("%d of %d lines are marked, want all of three or more", u.marked, u.said)
		}
	})
}
