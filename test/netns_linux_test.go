package test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"scomconnector/cmd/settings/pki"
	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
)

// namespace is a network of its own. It has no name: it ends with the last process, socket and file that
// holds it, so that nothing is left behind however a test ends, and no two tests can meet in one.
type namespace struct{ file *os.File }

// newNamespace makes one whose loopback is up.
func newNamespace(t testing.TB) *namespace {
	t.Helper()
	ns := &namespace{}
	err := onThread(func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		ns.file, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	need(t, err == nil, fmt.Sprintf("permission to make a network namespace: %v", err))
	t.Cleanup(func() { ns.file.Close() })
	ns.ip(t, "link set lo up")
	return ns
}

// onThread runs f on a thread of its own, which is thrown away: what f does to its thread ends with it.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		done <- f()
	}()
	return <-done
}

// inside runs f where its sockets, and the processes that it starts, belong to the namespace.
func (ns *namespace) inside(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("setns: %w", err)
		}
		return f()
	})
}

// path is how other programs name the namespace.
func (ns *namespace) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.file.Fd()) }

func (ns *namespace) ip(t testing.TB, args string) { t.Helper(); ns.run(t, "ip "+args) }

func (ns *namespace) run(t testing.TB, line string) {
	t.Helper()
	words := strings.Fields(line)
	cmd := exec.Command(words[0], words[1:]...)
	var out []byte
	err := ns.inside(func() (err error) { out, err = cmd.CombinedOutput(); return err })
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// dial connects from within the namespace to a literal address.
func (ns *namespace) dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	err = ns.inside(func() (err error) {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

func (ns *namespace) listen(t testing.TB, addr string) (ln net.Listener) {
	t.Helper()
	err := ns.inside(func() (err error) { ln, err = net.Listen("tcp", addr); return err })
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// lan is machines on one switch. The simulators, and the test itself, are at the switch, so that what
// happens between the machines leaves the way to SCOM and the LAM alone.
type lan struct {
	t        testing.TB
	hub      *namespace
	machines []*machine
}

type machine struct {
	*namespace
	addr string
	port string // the switch's end of the cable
}

const hubAddr = "10.77.0.1"

func newLAN(t testing.TB, machines int) *lan {
	t.Helper()
	for _, tool := range []string{"ip", "iptables"} {
		_, err := exec.LookPath(tool)
		need(t, err == nil, "program "+tool)
	}
	need(t, os.Getuid() == 0, "root, to make network namespaces")
	l := &lan{t: t, hub: newNamespace(t)}
	l.hub.ip(t, "link add br0 type bridge")
	l.hub.ip(t, "addr add "+hubAddr+"/24 dev br0")
	l.hub.ip(t, "link set br0 up")
	for i := range machines {
		m := &machine{namespace: newNamespace(t), addr: fmt.Sprintf("10.77.0.%d", 11+i), port: fmt.Sprintf("port%d", i+1)}
		l.hub.ip(t, fmt.Sprintf("link add %s type veth peer name eth0 netns %s", m.port, m.path()))
		l.hub.ip(t, "link set "+m.port+" master br0 up")
		m.ip(t, "addr add "+m.addr+"/24 dev eth0")
		m.ip(t, "link set eth0 up")
		l.machines = append(l.machines, m)
	}
	return l
}

// cut has what two machines send to each other vanish without a word.
func (l *lan) cut(a, b int) {
	l.t.Helper()
	l.cutWay(a, b)
	l.cutWay(b, a)
}

// cutWay does so one way only.
func (l *lan) cutWay(from, to int) {
	l.t.Helper()
	l.machines[to].run(l.t, "iptables -w -I INPUT -s "+l.machines[from].addr+" -j DROP")
}

// heal mends all that was cut between the machines.
func (l *lan) heal() {
	l.t.Helper()
	for _, m := range l.machines {
		m.run(l.t, "iptables -w -F INPUT")
	}
}

// unplug cuts a machine off from everything, as a switch does that has lost its power; the machine still has a link.
func (l *lan) unplug(i int) { l.t.Helper(); l.hub.ip(l.t, "link set "+l.machines[i].port+" nomaster") }

func (l *lan) plug(i int) { l.t.Helper(); l.hub.ip(l.t, "link set "+l.machines[i].port+" master br0") }

// newPlantOn is a plant whose nodes are on machines of their own, with certificates for what they say to each other.
func newPlantOn(l *lan, o plantOptions) *plant {
	t := l.t
	t.Helper()
	p := &plant{t: t, dir: t.TempDir(), group: scomtest.New(o.scom), lam: publishertest.New(o.lam), more: o.more}
	p.node = o.node + `"ClusterTls": {"CertFile": "cluster.crt", "KeyFile": "cluster.key", "CaFile": "cluster-ca.crt"},`
	p.console = p.group.Console(scomtest.ConsoleOptions{})
	p.console.Serve(l.hub.listen(t, hubAddr+":8080"))
	p.lam.Serve(l.hub.listen(t, hubAddr+":8888"))
	t.Cleanup(p.console.Close)
	t.Cleanup(p.lam.Close)
	var places []place
	for _, m := range l.machines {
		places = append(places, place{listen: "0.0.0.0:8085", api: m.addr + ":8085", cluster: m.addr + ":8086"})
	}
	p.write(places, hubAddr+":8080", hubAddr+":8888")
	t.Cleanup(p.end)
	ca, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for i, pr := range p.procs {
		m := l.machines[i]
		pr.inside, pr.dial, pr.here = m.inside, l.hub.dial, m.dial
		cert, err := ca.Issue(pr.id, m.addr, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := pki.Write(pr.dir, cert.Files); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// A silent cut is silent, and is mended: the ground on which the tests of lost links stand.
func TestACutLinkSaysNothing(t *testing.T) {
	l := newLAN(t, 2)
	ln := l.machines[1].listen(t, l.machines[1].addr+":80")
	t.Cleanup(func() { ln.Close() })
	reach := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		conn, err := l.machines[0].dial(ctx, "tcp", ln.Addr().String())
		if err == nil {
			conn.Close()
		}
		return err
	}
	timeout := func(err error) bool { n, ok := err.(net.Error); return ok && n.Timeout() } //nolint:errorlint // as dial returns it
	await(t, "the machines reach each other", 5*time.Second, func() bool { return reach() == nil })
	for what, fault := range map[string]func(){"cut": func() { l.cut(0, 1) }, "one way cut": func() { l.cutWay(1, 0) }, "unplugged": func() { l.unplug(1) }} {
		fault()
		if err := reach(); !timeout(err) {
			t.Errorf("%s: %v, want a time-out", what, err)
		}
		l.heal()
		l.plug(1)
		await(t, "mended after "+what, 5*time.Second, func() bool { return reach() == nil })
	}
}

// dataOn gives the node a data folder on a file system of its own of so many megabytes.
func (pr *process) dataOn(megabytes int) (data string) {
	t := pr.plant.t
	t.Helper()
	need(t, os.Getuid() == 0, "root, to mount a small tmpfs")
	data = filepath.Join(pr.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", megabytes), "tmpfs", data).CombinedOutput()
	need(t, err == nil, "permission to mount a tmpfs: "+strings.TrimSpace(string(out)))
	t.Cleanup(func() {
		pr.kill()
		exec.Command("umount", data).Run()
	})
	return data
}
