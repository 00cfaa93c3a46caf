package daemon

import (
	"testing"
	"time"
)

// A LAM that has only been connected to has accepted nothing: nobody knows yet whether it does.
func TestAServerThatHasDoneNothingIsNotOK(t *testing.T) {
	for _, c := range []struct {
		state  string
		lastOK time.Time
		want   string
	}{
		{"ok", time.Time{}, "unknown"},
		{"ok", time.Unix(1, 0), "ok"},
		{"failing", time.Time{}, "failing"},
		{"unknown", time.Time{}, "unknown"},
	} {
		if got := tried(c.state, c.lastOK); got != c.want {
			t.Errorf("%s, %v: got %s, want %s", c.state, c.lastOK, got, c.want)
		}
	}
}
