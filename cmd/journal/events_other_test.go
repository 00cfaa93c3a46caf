//go:build !windows

package journal

import (
	"bytes"
	"strings"
	"testing"
)

// Elsewhere than on Windows the node starts all the same, and says so.
func TestWithoutAnEventLogTheNodeStarts(t *testing.T) {
	var console bytes.Buffer
	j := open(t, Config{EventLog: true}, &console)
	j.Logger().Info("started")
	if got := console.String(); !strings.Contains(got, "the event log cannot be used") || !strings.Contains(got, "started") {
		t.Errorf("got %q", got)
	}
}
