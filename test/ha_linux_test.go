package test

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "scomconnector/api/v1"
)

// batch is the most that may come twice for one crash or unplanned change of leaders.
const batch = 50

var (
	// haste lets a test see in a second what takes a site some seconds. The longest cycle is short, too: where a machine that is
	// busy takes long for a poll, the next one would else come as much later, and look like a gap of the cluster's.
	haste = fmt.Sprintf(`"MinPollCycleTime": 0.5, "AlertPollCycleTime": 1, "MaxBatchEvents": %d, "LowerTimeoutBound": 0.1, "UpperTimeoutBound": 0.5,`, batch)
	lan3  = plantOptions{nodes: 3, node: `"Timing": "lan",`, more: haste}
)

// gapLimit is how long the LAM may get nothing when a node is lost, unplanned: detection, election, the first poll.
const gapLimit = 2500 * time.Millisecond

// long is a test of real time that the two minutes of a laptop have no room for.
func long(t *testing.T) {
	t.Helper()
	if !real() {
		t.Skip("takes long: set SCOMCONNECTOR_REAL=1")
	}
	t.Parallel()
}

// works starts all nodes and a steady flow of alerts, and returns who leads once all have a vote and the flow arrives.
func (p *plant) works() (leader *process) {
	p.t.Helper()
	for _, pr := range p.procs {
		pr.start()
	}
	leader = p.assembled()
	if leader != p.procs[0] {
		p.t.Errorf("%s leads the new cluster, want the Primary", leader.id)
	}
	p.stopFlow = flow(p.group)
	p.t.Cleanup(func() { p.stopFlow() })
	p.flowsBy(leader)
	return leader
}

// assembled waits until somebody leads and all nodes are voters in contact.
func (p *plant) assembled() (leader *process) {
	p.t.Helper()
	leader = p.newLeader(nil)
	awaitVoters(p.t, leader, len(p.procs))
	return leader
}

// newLeader waits until another one leads.
func (p *plant) newLeader(old *process) (leader *process) {
	p.t.Helper()
	await(p.t, "another node leads", 30*time.Second, func() bool {
		for _, pr := range p.procs {
			if pr != old && pr.leads() {
				leader = pr
			}
		}
		return leader != nil
	})
	return leader
}

// follows waits until the node knows that somebody else leads, and has a vote.
func (p *plant) follows(pr, leader *process) {
	p.t.Helper()
	await(p.t, pr.id+" follows "+leader.id, 30*time.Second, func() bool {
		s, err := pr.status()
		return err == nil && s.Leader == leader.id && !pr.leads()
	})
	awaitVoters(p.t, leader, len(p.procs))
}

// settled ends the flow; all that SCOM shows arrives, and so many events at most have come twice.
func (p *plant) settled(duplicates int) {
	p.t.Helper()
	p.stopFlow()
	p.awaitAll(60 * time.Second)
	c := p.lam.Counts()
	p.t.Logf("%d events in %d requests, %d of them twice", c.Events, c.Requests, c.Duplicates)
	if c.Duplicates > duplicates {
		p.t.Errorf("%d events came twice, want at most %d", c.Duplicates, duplicates)
	}
}

// freeze pauses the process, as a hypervisor does that moves its machine.
func (pr *process) freeze() { pr.signal(syscall.SIGSTOP); pr.deaf = true }

// thaw lets it go on. A write to the disk that was under way all the while may seem to have hung, which ends the process:
// then it is started again, as a service manager does.
func (pr *process) thaw() {
	pr.plant.t.Helper()
	pr.deaf = false
	pr.signal(syscall.SIGCONT)
	select {
	case <-pr.done:
		pr.plant.t.Logf("%s has ended after its pause", pr.id)
		pr.cmd = nil
		pr.start()
	case <-time.After(2 * time.Second):
	}
}

func (pr *process) signal(s syscall.Signal) {
	pr.plant.t.Helper()
	if err := pr.cmd.Process.Signal(s); err != nil {
		pr.plant.t.Fatal(err)
	}
}

// delivery is one request that the LAM has taken.
type delivery struct {
	node    string
	request int
	at      time.Time
}

var publisherIn = regexp.MustCompile(`"Node":"([^"]+)"`)

// deliveries since a time, oldest first; by a node, or by all if that is nil.
func (p *plant) deliveries(since time.Time, by *process) []delivery {
	var all []delivery
	for _, e := range p.lam.Received() {
		if e.At.Before(since) || len(all) > 0 && all[len(all)-1].request == e.Request {
			continue
		}
		m := publisherIn.FindSubmatch(e.Body)
		if m != nil && (by == nil || string(m[1]) == by.id) {
			all = append(all, delivery{string(m[1]), e.Request, e.At})
		}
	}
	slices.SortStableFunc(all, func(a, b delivery) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
	return all
}

// flowsBy waits until the node has delivered three more batches.
func (p *plant) flowsBy(pr *process) {
	p.t.Helper()
	now := time.Now()
	await(p.t, "alerts flow by "+pr.id, 30*time.Second, func() bool { return len(p.deliveries(now, pr)) >= 3 })
}

// gap is the longest time without a delivery since then, until now.
func (p *plant) gap(since time.Time) (longest time.Duration) {
	last := since
	for _, d := range append(p.deliveries(since, nil), delivery{at: time.Now()}) {
		longest, last = max(longest, d.at.Sub(last)), d.at
	}
	return longest
}

func (p *plant) checkGap(since time.Time, limit time.Duration) {
	p.t.Helper()
	got := p.gap(since)
	p.t.Logf("the LAM got nothing for %v at most", got.Round(time.Millisecond))
	if got > limit {
		p.t.Errorf("the LAM got nothing for %v, want at most %v", got, limit)
	}
}

// behindLimit is for the case that the witness alone had the newest entry: only it can be elected then, which it is loath to be,
// and brings the other one up to date.
const behindLimit = 6 * time.Second

// checkFailover is checkGap after the loss of a leader.
func (p *plant) checkFailover(since time.Time, next *process) {
	p.t.Helper()
	s, err := next.status()
	if err != nil {
		p.t.Fatal(err)
	}
	limit := gapLimit
	if slices.ContainsFunc(s.Changes, func(c v1.Change) bool { return c.Cause == "witness" && c.At.After(since) }) {
		p.t.Log("the witness had to lead for a moment")
		limit = behindLimit
	}
	p.checkGap(since, limit)
}

// turns names who delivered since then, one after the other.
func (p *plant) turns(since time.Time) []string {
	var all []string
	for _, d := range p.deliveries(since, nil) {
		all = append(all, d.node)
	}
	return slices.Compact(all)
}

// inTurn sees that since then nobody delivered once more after another one had begun: two would have published at a time.
func (p *plant) inTurn(since time.Time) {
	p.t.Helper()
	turns := p.turns(since)
	if len(slices.Compact(slices.Sorted(slices.Values(turns)))) != len(turns) {
		p.t.Errorf("the LAM got alerts from %s: two nodes published at a time", strings.Join(turns, ", then "))
	}
}

// The leader's process is killed under a steady flow: another node leads, and the killed one comes back as a voter.
func TestThreeNodesLeaderKilled(t *testing.T) {
	t.Parallel()
	p := newPlant(t, lan3)
	leader := p.works()
	killed := time.Now()
	leader.kill()
	next := p.newLeader(leader)
	p.flowsBy(next)
	p.checkFailover(killed, next)
	leader.start()
	p.follows(leader, next)
	p.inTurn(killed.Add(-time.Second))
	p.settled(batch)
}

// The leader stands still for five seconds, as a virtual machine does that is moved: another one leads, and the old
// leader, when it goes on, publishes nothing more than what was in flight and becomes a follower.
func TestThreeNodesLeaderPaused(t *testing.T) {
	t.Parallel()
	p := newPlant(t, lan3)
	leader := p.works()
	paused := time.Now()
	leader.freeze()
	next := p.newLeader(leader)
	p.flowsBy(next)
	p.checkFailover(paused, next)
	<-time.After(time.Until(paused.Add(5 * time.Second)))
	resumed := time.Now()
	leader.thaw()
	p.follows(leader, next)
	p.flowsBy(next)
	if n := len(p.deliveries(resumed, leader)); n > 1 {
		t.Errorf("the old leader delivered %d batches after it was resumed, want at most the one in flight", n)
	}
	p.settled(2 * batch) // one for the change, and one in flight
}

// A follower that stands still is nobody's loss.
func TestThreeNodesFollowerPaused(t *testing.T) {
	long(t)
	p := newPlant(t, lan3)
	leader, follower := p.works(), p.procs[1]
	paused := time.Now()
	follower.freeze()
	<-time.After(5 * time.Second)
	follower.thaw()
	p.follows(follower, leader)
	p.flowsBy(leader)
	p.checkGap(paused, gapLimit)
	if n := len(p.deliveries(paused, follower)); n > 0 {
		t.Errorf("the follower delivered %d batches", n)
	}
	p.settled(0)
}

// The link between the leader and both others is cut without a word, and SCOM and the LAM remain in its reach: it stops
// before another begins, and follows once the link is mended.
func TestThreeNodesLeaderCutOffFromTheOthers(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 3)
	p := newPlantOn(l, lan3)
	leader := p.works()
	begun := time.Now()
	l.cut(0, 1)
	l.cut(0, 2)
	next := p.newLeader(leader)
	p.flowsBy(next)
	p.checkFailover(begun, next)
	if leader.leads() {
		t.Error("the node that was cut off still says that it leads")
	}
	l.heal()
	p.follows(leader, next)
	p.flowsBy(next)
	p.inTurn(begun)
	p.settled(batch)
}

// The machine of the leader is lost: nothing says so to the others but its silence.
func TestThreeNodesLeaderMachineLost(t *testing.T) {
	long(t)
	l := newLAN(t, 3)
	p := newPlantOn(l, lan3)
	leader := p.works()
	lost := time.Now()
	l.unplug(0)
	leader.kill()
	next := p.newLeader(leader)
	p.flowsBy(next)
	p.checkFailover(lost, next)
	l.plug(0)
	leader.start()
	p.follows(leader, next)
	p.inTurn(lost)
	p.settled(batch)
}

// The link between the two that can lead is cut, and both reach the witness: one of them leads at any time.
func TestThreeNodesLinkOfTheTwoCut(t *testing.T) {
	long(t)
	l := newLAN(t, 3)
	p := newPlantOn(l, lan3)
	p.works()
	begun := time.Now()
	l.cut(0, 1)
	<-time.After(8 * time.Second)
	p.checkGap(begun, gapLimit)
	p.inTurn(begun)
	healed := time.Now()
	l.heal()
	leader := p.assembled()
	p.flowsBy(leader)
	p.checkGap(healed, gapLimit)
	p.settled(2 * batch)
}

// A witness that is lost changes nothing but that the leader says so.
func TestThreeNodesWitnessLost(t *testing.T) {
	long(t)
	oneLost(t, 2)
}

// Nor does a follower.
func TestThreeNodesFollowerLost(t *testing.T) {
	long(t)
	oneLost(t, 1)
}

// oneLost kills a node that does not lead.
func oneLost(t *testing.T, i int) {
	p := newPlant(t, lan3)
	leader, lost := p.works(), p.procs[i]
	killed := time.Now()
	lost.kill()
	<-time.After(3 * time.Second)
	if !leader.leads() {
		t.Error("the leader leads no more")
	}
	p.checkGap(killed, gapLimit)
	s, err := leader.status()
	if err != nil {
		t.Fatal(err)
	}
	if m := s.Members[slices.IndexFunc(s.Members, func(m v1.Member) bool { return m.Node == lost.id })]; m.Fault == "" {
		t.Errorf("the leader shows no fault of the one that was lost: %+v", m)
	}
	lost.start()
	p.follows(lost, leader)
	p.settled(0)
}

// With the witness and another one lost nobody can know that it leads alone: nobody publishes, until one is back.
func TestThreeNodesWitnessAndOneLost(t *testing.T) {
	long(t)
	p := newPlant(t, lan3)
	leader, other, witness := p.works(), p.procs[1], p.procs[2]
	other.kill()
	witness.kill()
	await(t, "the leader leads no more", 3*time.Second, func() bool { return !leader.leads() })
	stopped := time.Now()
	<-time.After(4 * time.Second)
	if n := len(p.deliveries(stopped, nil)); n > 0 || leader.leads() {
		t.Errorf("a node that is left alone of three delivered %d batches", n)
	}
	witness.start()
	await(t, "the one that was left leads again", 10*time.Second, leader.leads)
	p.flowsBy(leader)
	other.start()
	p.follows(other, leader)
	p.settled(batch)
}

// All nodes lose their power at once and come back: they form again by themselves, and know what they knew.
func TestThreeNodesAllRestarted(t *testing.T) {
	long(t)
	p := newPlant(t, lan3)
	p.works()
	for _, pr := range p.procs {
		pr.cmd.Process.Kill()
	}
	for _, pr := range p.procs {
		pr.kill()
	}
	back := time.Now()
	for _, pr := range p.procs {
		pr.start()
	}
	leader := p.assembled()
	t.Logf("all were voters again %v after the start", time.Since(back).Round(time.Millisecond))
	p.flowsBy(leader)
	p.settled(batch)
	if s, err := leader.status(); err != nil || s.Config.Version != 1 || len(s.Changes) < 2 {
		t.Errorf("settings version %d, %d changes of leaders, %v: want what was before the restart", s.Config.Version, len(s.Changes), err)
	}
}

// The disk of the leader fills up: another one leads, and the process ends with the reason.
func TestThreeNodesLeaderDiskFull(t *testing.T) {
	long(t)
	p := newPlant(t, lan3)
	data := p.procs[0].dataOn(4)
	leader := p.works()
	full := time.Now()
	fill(t, data+"/ballast")
	code, log := leader.exit(60 * time.Second)
	if code != 1 || !strings.Contains(log, "no space") {
		t.Errorf("exit code %d, and the end of the log is\n%s\nwant 1 and the reason", code, lastLines(log, 8))
	}
	next := p.newLeader(leader)
	p.flowsBy(next)
	p.checkGap(full, 2*gapLimit)
	syscall.Unlink(data + "/ballast")
	leader.start()
	p.follows(leader, next)
	p.settled(batch)
}

// The disk of a follower fills up: the leader goes on.
func TestThreeNodesFollowerDiskFull(t *testing.T) {
	long(t)
	p := newPlant(t, lan3)
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
