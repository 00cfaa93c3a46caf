//go:build unix

package pki

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Whoever renews as root leaves a file that the service's account can read: it stays the account's own.
func TestRenewKeepsTheOwner(t *testing.T) {
	a := authority(t, start)
	dir := issue(t, a, "primary", "", start)
	file := filepath.Join(dir, NodeCert)
	if os.Geteuid() == 0 {
		if err := os.Chown(file, 4711, 4712); err != nil {
			t.Fatal(err)
		}
	}
	owner := func() [2]uint32 {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		s := info.Sys().(*syscall.Stat_t)
		return [2]uint32{s.Uid, s.Gid}
	}
	before := owner()
	if _, err := renew(a, dir, "primary", "", start.AddDate(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if after := owner(); after != before {
		t.Errorf("it belongs to %v, before to %v", after, before)
	}
}
