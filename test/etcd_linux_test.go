package test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"scomconnector/test/etcdrig"
)

// needEtcd skips the test unless real components are to be used.
func needEtcd(t testing.TB) {
	t.Helper()
	if !etcdrig.Available(t) {
		t.Skip("needs etcd-server and SCOMCONNECTOR_REAL=1")
	}
}

// etcdPair is two nodes that an etcd coordinates.
func etcdPair(e *etcdrig.Etcd, ttl int) plantOptions {
	return plantOptions{nodes: 2, more: haste, node: fmt.Sprintf(
		`"Coordination": "etcd", "Etcd": {"Endpoints": ["%s"], "TTLSeconds": %d},`, strings.Join(e.URLs(), `", "`), ttl)}
}

// Whole nodes under a steady flow: the leader is killed, the etcd's members are killed and restarted one by one, all of them are
// paused for longer than the lease, and the leader is stopped in good order.
func TestEtcdPairLosesNothing(t *testing.T) {
	needEtcd(t)
	t.Parallel()
	e := etcdrig.Start(t, 3)
	p := newPlant(t, etcdPair(e, 5))
	leader := p.works()

	killed := time.Now()
	leader.kill()
	next := p.newLeader(leader)
	t.Logf("another node leads %v after the kill", time.Since(killed).Round(time.Millisecond))
	p.flowsBy(next)
	leader.start()
	p.follows(leader, next)

	for _, m := range e.Members { // a majority is always there, and its leader changes
		m.Kill()
		p.flows()
		m.Start()
		e.Ready()
	}
	p.flows()

	paused := time.Now()
	for _, m := range e.Members {
		m.Pause()
	}
	await(t, "nobody leads without an etcd", 30*time.Second, func() bool { return !p.procs[0].leads() && !p.procs[1].leads() })
	if took := time.Since(paused); took > 5*time.Second {
		t.Errorf("the leader has stopped only %v after the pause began, with a lease of 5 s", took)
	}
	await(t, "the page speaks of the etcd", 30*time.Second, func() bool {
		s, err := p.procs[0].status()
		return err == nil && strings.Contains(s.Verdict.Text, "etcd")
	})
	for _, m := range e.Members {
		m.Go()
	}
	p.flows()

	leader = p.newLeader(nil)
	awaitVoters(t, leader, 2)
	old := p.newLeader(nil)
	p.flowsBy(old) // what the change before has sent again is there
	before := p.lam.Counts().Duplicates
	if err := old.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	p.flowsBy(p.newLeader(old))
	if d := p.lam.Counts().Duplicates - before; d > 0 {
		t.Errorf("%d events came twice by a planned stop", d)
	}
	p.settled(6 * batch)
}

// The leader's process stands still, as a virtual machine does that is moved: just over a lease of 3 seconds, and long beyond it. Another
// one leads; the old leader, when it goes on, posts no more than what was in flight, and follows.
func TestEtcdPairLeaderPaused(t *testing.T) {
	needEtcd(t)
	for _, still := range []time.Duration{5 * time.Second, 12 * time.Second} {
		t.Run(still.String(), func(t *testing.T) {
			t.Parallel()
			p := newPlant(t, etcdPair(etcdrig.Start(t, 1), 3))
			leader := p.works()
			paused := time.Now()
			leader.freeze()
			next := p.newLeader(leader)
			t.Logf("another node leads %v after the pause began", time.Since(paused).Round(time.Millisecond))
			await(t, "the pause is long enough", time.Minute, func() bool { return time.Since(paused) > still && len(p.deliveries(paused, next)) >= 3 })
			woken := time.Now()
			leader.thaw()
			p.follows(leader, next)
			p.flowsBy(next)
			if own := p.deliveries(woken, leader); len(own) > 1 {
				t.Errorf("the old leader delivered %d times after its pause; only what was in flight may be", len(own))
			}
			p.settled(batch)
		})
	}
}

// A node on an etcd exports what rules and dashboard ask of it, and shows there that an endpoint fails.
func TestSeriesOfAnEtcd(t *testing.T) {
	needEtcd(t)
	t.Parallel()
	e := etcdrig.Start(t, 3)
	p := newPlant(t, etcdPair(e, 3))
	node := p.works()
	up := func(u string) string { return fmt.Sprintf("etcd_endpoint_up{endpoint=%q}", u) }
	await(t, "all endpoints were asked", 30*time.Second, func() bool {
		s := node.scrape()
		return s.values[up(e.URLs()[0])] == 1 && s.values[up(e.URLs()[1])] == 1 && s.values[up(e.URLs()[2])] == 1
	})
	s := node.scrape()
	s.check(t, fromTheStartOfAPair())
	s.check(t, map[string]labels{"etcd_endpoint_up": {"endpoint": e.URLs()}, "etcd_database_bytes": {"endpoint": e.URLs()}})
	s.known(t)
	if left := s.values["lease_left_seconds"]; left <= 0 || left > 3 {
		t.Errorf("the leader's lease has %v s left of 3", left)
	}
	if size := s.values[fmt.Sprintf("etcd_database_bytes{endpoint=%q}", e.URLs()[0])]; size < 1000 {
		t.Errorf("the database has %v bytes", size)
	}
	e.Members[2].Kill()
	await(t, "the dead endpoint shows", 30*time.Second, func() bool { v, there := node.scrape().values[up(e.URLs()[2])]; return there && v == 0 })
}

// fromTheStartOfAPair is fromTheStart without a third member.
func fromTheStartOfAPair() map[string]labels {
	pair := maps.Clone(fromTheStart)
	pair["peer_last_contact_seconds"] = labels{"peer": nil}
	return pair
}

// flows waits until alerts of now arrive, whoever sends them.
func (p *plant) flows() {
	p.t.Helper()
	sent := p.lam.Counts().Events
	await(p.t, "alerts flow", 60*time.Second, func() bool { return p.lam.Counts().Events >= sent+20 })
}

// BenchmarkEtcdLeaderKilled is how long nobody polls when the leader is killed and the lease is 5 s.
func BenchmarkEtcdLeaderKilled(b *testing.B) {
	const kills = 20
	for range b.N {
		p := newPlant(b, etcdPair(etcdrig.Start(b, 1), 5))
		leader := p.works()
		w := watchPolls(p)
		var polled []time.Duration
		for range kills {
			p.flowsBy(leader)
			killed := time.Now()
			leader.kill()
			next := p.newLeader(leader)
			polled = append(polled, w.firstAfter(b, killed.Add(100*time.Millisecond)))
			leader.start()
			p.follows(leader, next)
			leader = next
		}
		spread(b, "polled", "s", time.Second, polled)
		p.settled(kills * batch)
	}
}

// BenchmarkEtcdHandover is BenchmarkHandover where an etcd of three decides.
func BenchmarkEtcdHandover(b *testing.B) {
	needEtcd(b)
	handOver(b, func() *plant { return newPlant(b, etcdPair(etcdrig.Start(b, 3), 5)) })
}

// BenchmarkEtcdThroughput is BenchmarkThroughput with an etcd of one member on the same machine.
func BenchmarkEtcdThroughput(b *testing.B) {
	o := etcdPair(etcdrig.Start(b, 1), 5)
	benchThroughputOf(b, o.nodes, o.node, 200_000, 0)
}
