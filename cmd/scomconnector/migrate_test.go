package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"scomconnector/cmd/daemon"
)

// A folder is one node's, so another one may have more; an etcd is all nodes'.
func TestWhatToDoAboutADoubtDependsOnWhereTheStateComesFrom(t *testing.T) {
	for to, want := range map[string]string{"etcd": "run it on the node that was stopped last", "raft": "restore the etcd from a backup"} {
		var out bytes.Buffer
		err := (&node{}).mayMigrate(terminal{out: &out, err: &out}, daemon.Cargo{Doubts: []string{"keys are missing"}}, to, false)
		h, ok := errors.AsType[hinted](err)
		if !ok || !strings.HasPrefix(h.hint, want) {
			t.Errorf("to %s: %v, hint %q; want %q", to, err, h.hint, want)
		}
	}
}
