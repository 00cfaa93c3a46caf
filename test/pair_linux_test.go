package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "scomconnector/api/v1"
)

// takeoverAfter is the shortest patience that can be set.
const takeoverAfter = 5 * time.Second

// pairOf is two nodes that do so when their leader is lost.
func pairOf(takeover string) plantOptions {
	return plantOptions{nodes: 2, more: haste,
		node: fmt.Sprintf(`"Timing": "lan", "PairTakeover": %q, "TakeoverAfter": %d,`, takeover, takeoverAfter/time.Second)}
}

// pairWithShare is two nodes that settle by a file on a share who goes on.
func pairWithShare(t testing.TB) plantOptions {
	o := pairOf("claim")
	o.node += fmt.Sprintf(`"ClaimDir": %q,`, t.TempDir())
	return o
}

// order posts to the node as an operator on its own machine does, and returns the answer.
func (pr *process) order(path string, body any) (code int, answer string) {
	t := pr.plant.t
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Timeout: 20 * time.Second}
	if pr.here != nil {
		client.Transport = &http.Transport{DialContext: pr.here, DisableKeepAlives: true}
	}
	resp, err := client.Post(pr.local()+path, "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatalf("POST %s to %s: %v", path, pr.id, err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b.String()
}

// local is the node's API as its own machine sees it.
func (pr *process) local() string {
	if pr.here != nil {
		return "http://127.0.0.1:8085"
	}
	return pr.url
}

// tool runs a command of the program against the node, on its own machine.
func (pr *process) tool(args ...string) (code int, out string) {
	t := pr.plant.t
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, append(args, "--url", pr.local())...)
	run := func() error { b, err := cmd.CombinedOutput(); out = string(b); return err }
	if pr.inside != nil {
		err = pr.inside(run)
	} else {
		err = run()
	}
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out
}

// agreed sees that all nodes name the same leader, epoch and settings, and none but that one says that it leads.
func (p *plant) agreed() (leader *process) {
	p.t.Helper()
	leader = p.assembled()
	await(p.t, "all agree who leads, in which epoch", 10*time.Second, func() bool {
		want, err := leader.status()
		for _, pr := range p.procs {
			s, err2 := pr.status()
			if err != nil || err2 != nil || s.Leader != leader.id || s.Epoch != want.Epoch || s.Term != want.Term || pr.leads() != (pr == leader) {
				return false
			}
		}
		return true
	})
	return leader
}

// publishers since then, in order of their names.
func (p *plant) publishers(since time.Time) string {
	return strings.Join(slices.Compact(slices.Sorted(slices.Values(p.turns(since)))), ", ")
}

// The follower's process is killed: the leader demotes it within its lease, goes on, and takes it back.
func TestPairFollowerKilled(t *testing.T) {
	t.Parallel()
	p := newPlant(t, pairOf("operator"))
	leader, follower := p.works(), p.procs[1]
	killed := time.Now()
	follower.kill()
	<-time.After(3 * time.Second)
	p.flowsBy(leader)
	p.checkGap(killed, gapLimit)
	awaitVoters(t, leader, 1)
	follower.start()
	p.follows(follower, leader)
	p.inTurn(killed)
	p.settled(0)
}

// A follower that stands still is demoted, and is taken back when it goes on; it never leads meanwhile.
func TestPairFollowerPaused(t *testing.T) {
	long(t)
	p := newPlant(t, pairOf("availability"))
	leader, follower := p.works(), p.procs[1]
	paused := time.Now()
	follower.freeze()
	<-time.After(takeoverAfter + 5*time.Second)
	follower.thaw()
	p.follows(follower, leader)
	p.flowsBy(leader)
	p.checkGap(paused, gapLimit)
	if n := len(p.deliveries(paused, follower)); n > 0 {
		t.Errorf("the follower delivered %d batches", n)
	}
	p.settled(0)
}

// The disk of the follower fills up: the leader goes on alone.
func TestPairFollowerDiskFull(t *testing.T) {
	long(t)
	p := newPlant(t, pairOf("operator"))
	follower := p.procs[1]
	data := follower.dataOn(4)
	leader := p.works()
	full := time.Now()
	fill(t, data+"/ballast")
	code, log := follower.exit(60 * time.Second)
	if code != 1 || !strings.Contains(log, "no space") {
		t.Errorf("exit code %d, and the end of the log is\n%s\nwant 1 and the reason", code, lastLines(log, 8))
	}
	p.flowsBy(leader)
	p.checkGap(full, gapLimit)
	syscall.Unlink(data + "/ballast")
	follower.start()
	p.follows(follower, leader)
	p.settled(0)
}

// The disk of the leader fills up: its process ends with the reason, and the other one takes over.
func TestPairLeaderDiskFull(t *testing.T) {
	long(t)
	p := newPlant(t, pairOf("availability"))
	data := p.procs[0].dataOn(4)
	leader, other := p.works(), p.procs[1]
	full := time.Now()
	fill(t, data+"/ballast")
	code, log := leader.exit(60 * time.Second)
	if code != 1 || !strings.Contains(log, "no space") {
		t.Errorf("exit code %d, and the end of the log is\n%s\nwant 1 and the reason", code, lastLines(log, 8))
	}
	ended := time.Now()
	await(t, "the other one leads", 30*time.Second, other.leads)
	p.flowsBy(other)
	p.checkGap(ended, takeoverAfter+3*time.Second)
	t.Logf("from the disk's being full: %v", p.gap(full).Round(time.Millisecond))
	syscall.Unlink(data + "/ballast")
	leader.start()
	p.follows(leader, other)
	p.settled(batch)
}

// The leader's process crashes and the service manager starts it again: the pair goes on by itself.
func TestPairLeaderRestarted(t *testing.T) {
	long(t)
	for _, takeover := range []string{"operator", "availability"} {
		t.Run(takeover, func(t *testing.T) {
			p := newPlant(t, pairOf(takeover))
			leader := p.works()
			killed := time.Now()
			leader.kill()
			leader.start()
			now := p.agreed()
			p.flowsBy(now)
			p.checkGap(killed, 8*time.Second)
			if s, err := now.status(); err != nil || s.Epoch != 1 {
				t.Errorf("epoch %d, %v: want 1, since nobody had to take over", s.Epoch, err)
			}
			p.inTurn(killed.Add(-time.Second))
			p.settled(batch)
		})
	}
}

// The leader stands still for less than anybody's patience: nobody else leads, and it goes on.
func TestPairLeaderPaused(t *testing.T) {
	long(t)
	p := newPlant(t, pairOf("operator"))
	leader, other := p.works(), p.procs[1]
	paused := time.Now()
	leader.freeze()
	<-time.After(5 * time.Second)
	if n := len(p.deliveries(paused, other)); n > 0 || other.leads() {
		t.Errorf("the other node delivered %d batches while it had lost its leader", n)
	}
	leader.thaw()
	p.flowsBy(p.agreed())
	p.checkGap(paused, 10*time.Second)
	p.settled(batch)
}

// lose takes the power from the machine of a node: nothing says so but silence.
func (l *lan) lose(i int, pr *process) {
	l.t.Helper()
	l.unplug(i)
	pr.kill()
}

// The leader's machine is lost and an operator has to decide: nobody publishes until then. The takeover's node leads
// alone, and the old one yields when it is back.
func TestPairLeaderMachineLostOperator(t *testing.T) {
	long(t)
	l := newLAN(t, 2)
	p := newPlantOn(l, pairOf("operator"))
	leader, survivor := p.works(), p.procs[1]
	if code, out := survivor.tool("takeover", "--yes", "--force"); code != 1 || !strings.Contains(out, "transfer") {
		t.Errorf("takeover while the leader is well: exit code %d\n%s\nwant 1, and the way to a handover", code, out)
	}
	l.lose(0, leader)
	lost := time.Now()
	<-time.After(takeoverAfter + 4*time.Second)
	if n := len(p.deliveries(lost, nil)); n > 0 || survivor.leads() {
		t.Errorf("the survivor delivered %d batches without anybody's word", n)
	}
	if s, err := survivor.status(); err != nil || !s.Takeover.Possible || !s.Takeover.At.IsZero() || s.Verdict.Level != v1.Stopped {
		t.Errorf("the survivor shows takeover %+v, verdict %+v, %v; want that a takeover is possible and that all stands still", s.Takeover, s.Verdict, err)
	}
	if code, out := survivor.tool("takeover", "--yes", "--force"); code != 0 {
		t.Fatalf("takeover: exit code %d\n%s", code, out)
	}
	if !survivor.leads() {
		t.Error("takeover has succeeded, and the node does not lead")
	}
	p.flowsBy(survivor)
	l.plug(0)
	leader.start()
	p.follows(leader, survivor)
	if s, err := p.agreed().status(); err != nil || s.Epoch != 2 || s.Changes[0].Cause != "takeover" {
		t.Errorf("epoch %d, last change %+v, %v; want epoch 2 by a takeover", s.Epoch, s.Changes[0], err)
	}
	p.inTurn(lost)
	p.settled(batch)
}

// The leader's machine is lost and availability was chosen: the survivor takes over by itself.
func TestPairLeaderMachineLostAvailability(t *testing.T) {
	long(t)
	l := newLAN(t, 2)
	p := newPlantOn(l, pairOf("availability"))
	leader, survivor := p.works(), p.procs[1]
	l.lose(0, leader)
	lost := time.Now()
	await(t, "the survivor leads", 20*time.Second, survivor.leads)
	p.flowsBy(survivor)
	p.checkGap(lost, takeoverAfter+3*time.Second)
	l.plug(0)
	leader.start()
	p.follows(leader, survivor)
	p.inTurn(lost)
	p.settled(batch)
}

// The leader's machine is lost and there is a share: the survivor claims what comes next, and goes on.
func TestPairLeaderMachineLostClaim(t *testing.T) {
	long(t)
	l := newLAN(t, 2)
	p := newPlantOn(l, pairWithShare(t))
	leader, survivor := p.works(), p.procs[1]
	l.lose(0, leader)
	lost := time.Now()
	await(t, "the survivor leads", 20*time.Second, survivor.leads)
	p.flowsBy(survivor)
	p.checkGap(lost, 10*time.Second)
	l.plug(0)
	leader.start()
	p.follows(leader, survivor)
	p.inTurn(lost)
	p.settled(batch)
}

// Only the link between the two is cut, and an operator would have to decide: the leader goes on, the follower does not begin.
func TestPairLinkCutOperator(t *testing.T) {
	long(t)
	l := newLAN(t, 2)
	p := newPlantOn(l, pairOf("operator"))
	leader := p.works()
	begun := time.Now()
	l.cut(0, 1)
	<-time.After(takeoverAfter + 5*time.Second)
	p.checkGap(begun, gapLimit)
	l.heal()
	if now := p.agreed(); now != leader {
		t.Errorf("%s leads after the link was mended, want %s still", now.id, leader.id)
	}
	p.flowsBy(leader)
	if got := p.publishers(begun); got != leader.id {
		t.Errorf("%s published, want only %s", got, leader.id)
	}
	p.settled(0)
}

// Only the link between the two is cut, and both reach the share: one of them goes on.
func TestPairLinkCutClaim(t *testing.T) {
	long(t)
	l := newLAN(t, 2)
	p := newPlantOn(l, pairWithShare(t))
	p.works()
	begun := time.Now()
	l.cut(0, 1)
	<-time.After(12 * time.Second)
	last := time.Now().Add(-3 * time.Second)
	if got := p.publishers(last); len(strings.Split(got, ", ")) != 1 || got == "" {
		t.Errorf("%q publish while the link is cut, want one", got)
	}
	p.checkGap(begun, 10*time.Second)
	p.inTurn(begun)
	l.heal()
	p.flowsBy(p.agreed())
	p.inTurn(begun)
	p.settled(batch)
}

// Only the link between the two is cut, and availability was chosen: both publish, as it is said beforehand, until the link is mended.
func TestPairLinkCutAvailability(t *testing.T) {
	long(t)
	l := newLAN(t, 2)
	p := newPlantOn(l, pairOf("availability"))
	leader, other := p.works(), p.procs[1]
	begun := time.Now()
	l.cut(0, 1)
	await(t, "the other one leads, too", takeoverAfter+10*time.Second, other.leads)
	p.flowsBy(other)
	p.flowsBy(leader)
	p.checkGap(begun, gapLimit)
	healed := time.Now()
	l.heal()
	now := p.agreed()
	p.flowsBy(now)
	p.checkGap(healed, gapLimit)
	after := time.Now()
	p.flowsBy(now)
	if got := p.publishers(after); got != now.id {
		t.Errorf("%s published after the link was mended and all agreed, want only %s", got, now.id)
	}
	p.settled(int(^uint(0) >> 1)) // while the link is cut all may come twice
}

// A leader that is stopped in good order hands over at once; the other one goes on alone, and takes it back.
func TestPairPlannedStop(t *testing.T) {
	t.Parallel()
	p := newPlant(t, pairOf("operator"))
	leader, other := p.works(), p.procs[1]
	began := time.Now()
	if err := leader.stop(); err != nil {
		t.Fatal(err)
	}
	if !other.leads() {
		t.Error("the leader has stopped, and the other one does not lead yet")
	}
	p.flowsBy(other)
	p.checkGap(began, 1500*time.Millisecond)
	leader.start()
	p.follows(leader, other)
	p.inTurn(began)
	p.settled(0)
}

// Maintenance on each node in turn, as an operator does it: enter, stop, start. The node comes back without the flag,
// and the Primary leads again by itself.
func TestPairMaintenance(t *testing.T) {
	long(t)
	o := pairOf("operator")
	o.more += `"FailbackDelay": 1,`
	p := newPlant(t, o)
	primary := p.works()
	begun := time.Now()
	p.flowsBy(primary)
	for i, pr := range p.procs {
		other := p.procs[1-i]
		code, answer := pr.order("/api/v1/maintenance", v1.MaintenanceOrder{Node: pr.id, Action: "enter"})
		if code != http.StatusOK || !strings.Contains(answer, `"leader":"`+other.id+`"`) && pr == primary {
			t.Fatalf("maintenance of %s: %d %s", pr.id, code, answer)
		}
		p.flowsBy(p.newLeader(pr))
		if err := pr.stop(); err != nil {
			t.Fatal(err)
		}
		p.flowsBy(other)
		pr.start()
		await(t, "the Primary leads, and nobody is in maintenance", 30*time.Second, func() bool {
			s, err := pr.status()
			return err == nil && primary.leads() && s.Leader == primary.id && len(s.Maintenance) == 0
		})
		awaitVoters(t, primary, 2)
	}
	p.checkGap(begun, gapLimit)
	if got := strings.Join(p.turns(begun), " "); got != "n1 n2 n1" {
		t.Errorf("published by %s, want n1 n2 n1", got)
	}
	p.settled(0)
}

// Both lose their power at once and come back.
func TestPairBothRestarted(t *testing.T) {
	long(t)
	p := newPlant(t, pairOf("operator"))
	p.works()
	for _, pr := range p.procs {
		pr.cmd.Process.Kill()
	}
	for _, pr := range p.procs {
		pr.kill()
	}
	for _, pr := range p.procs {
		pr.start()
	}
	p.flowsBy(p.agreed())
	p.settled(batch)
}

// A leader that had gone on alone is restarted while the other one is still away: it leads again, after it has looked for it.
// One that had not gone on alone waits for the other.
func TestPairOneRestartedWhileTheOtherIsAway(t *testing.T) {
	long(t)
	p := newPlant(t, pairOf("operator"))
	leader, follower := p.works(), p.procs[1]
	follower.kill()
	awaitVoters(t, leader, 1)
	leader.kill()
	follower.start()
	<-time.After(12 * time.Second)
	if follower.leads() {
		t.Error("the node that had been demoted leads: what the other one did alone is not known to it")
	}
	follower.kill()
	leader.start()
	await(t, "the one that had gone on alone leads again", 20*time.Second, leader.leads)
	follower.start()
	p.follows(follower, leader)
	p.flowsBy(leader)
	p.settled(2 * batch)
}
