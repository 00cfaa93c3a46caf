package test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// booted is a container that a systemd has booted as its first process. It has the programs of the machine that tests, and files of
// its own beside them, so that nothing is to be fetched.
type booted struct {
	t    *testing.T
	name string
}

func bootMachine(t *testing.T) *booted {
	t.Helper()
	needDocker(t)
	t.Parallel()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	m := &booted{t: t, name: fmt.Sprintf("sctest-systemd-%d", os.Getpid())}
	load := exec.Command("docker", "import", "-", m.name)
	load.Stdin = bytes.NewReader(rootFiles(t))
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("docker import: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(m.try("journalctl --no-pager -n 80"))
		}
		for _, args := range [][]string{{"rm", "-f", "-v", m.name}, {"rmi", "-f", m.name}} {
			if out, err := exec.Command("docker", args...).CombinedOutput(); err != nil {
				t.Errorf("docker %v: %v\n%s", args, err, out)
			}
		}
	})
	args := []string{
		"run", "-d", "--name", m.name, "--network", "none", "--cgroupns", "host", "-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw",
		"-v", "/usr:/usr:ro", "-v", program + ":/release/scomconnector:ro", "-v", "/usr/local/bin", "--tmpfs", "/run", "--tmpfs", "/tmp",
		"-e", "container=docker", "--stop-signal", "SIGRTMIN+3", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
	}
	for _, c := range []string{"SYS_ADMIN", "SYS_PTRACE", "SYS_NICE", "NET_ADMIN", "SYS_BOOT"} {
		args = append(args, "--cap-add", c)
	}
	if out, err := exec.Command("docker", append(args, m.name, "/usr/lib/systemd/systemd")...).CombinedOutput(); err != nil {
		t.Fatalf("docker run: %v\n%s", err, out)
	}
	m.awaitBooted()
	return m
}

// rootFiles are all that is not below /usr.
func rootFiles(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(h tar.Header, text string) {
		h.Size = int64(len(text))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"dev", "etc/systemd/system", "home", "proc", "root", "run", "sys", "usr", "var/lib", "var/log/journal"} {
		put(tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755}, "")
	}
	for _, dir := range []string{"tmp", "var/tmp"} {
		put(tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o1777}, "")
	}
	for name, to := range map[string]string{
		"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64", "var/run": "/run",
		"etc/systemd/system/default.target": "/usr/lib/systemd/system/multi-user.target",
	} {
		put(tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}, "")
	}
	for name, text := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/usr/sbin/nologin\n", "etc/group": "root:x:0:\nnogroup:x:65534:\n",
		"etc/machine-id": "0123456789abcdef0123456789abcdef\n", // one that is not new: its first boot would enable all services there are
	} {
		put(tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, text)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// try runs a shell's line in the machine.
func (m *booted) try(line string) string {
	out, err := exec.Command("docker", "exec", "-w", "/release", m.name, "sh", "-c", line).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s%v", out, err)
	}
	return strings.TrimSpace(string(out))
}

func (m *booted) do(line string) string {
	m.t.Helper()
	out, err := exec.Command("docker", "exec", "-w", "/release", m.name, "sh", "-c", line).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (m *booted) awaitBooted() {
	m.t.Helper()
	await(m.t, "systemd has booted", 60*time.Second, func() bool {
		state := m.try("systemctl is-system-running")
		return strings.HasPrefix(state, "running") || strings.HasPrefix(state, "degraded") // a unit of the host's that does not work here
	})
}

// awaitServing waits until the service runs as another process than before, and its node leads.
func (m *booted) awaitServing(before string) (pid string) {
	m.t.Helper()
	await(m.t, "the service serves", 60*time.Second, func() bool {
		pid = m.try("systemctl show -P MainPID scomconnector")
		return pid != before && pid != "0" && m.try("systemctl is-active scomconnector") == "active" && strings.Contains(m.try("scomconnector members"), "leader")
	})
	return pid
}

// On a machine that systemd has booted the service is installed as the runbook says, comes back whatever ends it, and when the machine is
// booted again; it may write only to its own folder; a file of root's is an error with its cure; and it goes as it came.
func TestAServiceOnABootedSystemd(t *testing.T) {
	m := bootMachine(t)
	m.do(`./scomconnector init --primary localhost --scom scom.invalid --scom-user 'CONTOSO\svc' --lam https://lam.invalid/events/scom --out /root/nodes`)
	m.do("cp -r /root/nodes/primary /etc/scomconnector && echo secret > /etc/scomconnector/scom-password && chmod 600 /etc/scomconnector/scom-password")
	m.do("./scomconnector check && ./scomconnector service install && scomconnector service start")
	pid := m.awaitServing("")
	await(t, "systemctl status shows the verdict", 30*time.Second, func() bool {
		return strings.Contains(m.try("systemctl show -P StatusText scomconnector"), "DELIVERING")
	})

	// As the node sees its file system, with its account's rights.
	writable := strings.Fields(m.do("nsenter -t " + pid + " -m setpriv --reuid scomconnector --regid scomconnector --clear-groups " +
		"find / -path /proc -prune -o -path /etc/scomconnector/data -prune -print -o -type d -writable -print 2>/dev/null || true"))
	slices.Sort(writable)
	if want := []string{"/etc/scomconnector/data", "/tmp", "/var/tmp"}; !slices.Equal(writable, want) {
		t.Errorf("it may write to %v, want %v", writable, want)
	}

	for _, signal := range []string{"KILL", "ABRT"} { // ABRT is what systemd's watchdog sends
		m.do("systemctl kill --kill-who=main -s " + signal + " scomconnector")
		pid = m.awaitServing(pid)
	}

	m.do("scomconnector service stop && chown root: /etc/scomconnector/operator-token")
	if out := m.try("scomconnector service start"); !strings.Contains(out, "operator-token: permission denied\nhint: sudo scomconnector service install") {
		t.Errorf("of a file of root's it says:\n%s", out)
	}
	m.do("scomconnector service install && scomconnector service start")
	m.awaitServing(pid)

	if out, err := exec.Command("docker", "restart", "-t", "30", m.name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m.awaitServing("")

	m.do("scomconnector service uninstall")
	if left := m.try("systemctl show -P LoadState scomconnector; ls /etc/systemd/system/*/scomconnector.service; pgrep -x scomconnector"); strings.Contains(left, "loaded") || strings.Contains(left, "multi-user.target.wants/scomconnector.service\n") {
		t.Errorf("left behind: %s", left)
	}
	m.do("test -s /etc/scomconnector/data/identity.json")
}
