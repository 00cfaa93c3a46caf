package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"testing"
)

// What an administrator has copied to a node that is installed belongs to root: the error says how it becomes the service's.
func TestAFileOfAnotherAccountIsAnErrorWithItsCure(t *testing.T) {
	forbidden := fmt.Errorf("ClusterTls: %w", &fs.PathError{Op: "open", Path: "cluster.key", Err: syscall.EACCES})
	hint, is := errors.AsType[hinted](startHint(forbidden))
	if !is || hint.Error() != forbidden.Error() {
		t.Errorf("got %v", hint)
	}
	for _, c := range []struct {
		system string
		held   bool
		want   string
	}{{"linux", true, "sudo scomconnector service install"}, {"linux", false, "or with sudo"}, {"windows", true, "icacls"}} {
		if got := ownerHint(c.system, c.held); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.system, got, c.want)
		}
	}
	port := fmt.Errorf("ListenAddress: %w", &net.OpError{Op: "listen", Err: syscall.EACCES}) // no file
	if got := startHint(port); got != port {                                                 //nolint:errorlint // the very same
		t.Errorf("of a port: %v", got)
	}
}
