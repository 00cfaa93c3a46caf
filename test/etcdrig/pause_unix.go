//go:build !windows

package etcdrig

import "syscall"

// Pause and Go have the process stand still, and go on.
func (m *Member) Pause() { m.signal(syscall.SIGSTOP) }

// Go ends Pause.
func (m *Member) Go() { m.signal(syscall.SIGCONT) }

func (m *Member) signal(s syscall.Signal) {
	m.etcd.t.Helper()
	if err := m.cmd.Process.Signal(s); err != nil {
		m.etcd.t.Fatal(err)
	}
}
