package raftnode_test

import (
	"context"
	"errors"
	"slices"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
	"scomconnector/cluster/state"
)

// fault is one thing that befalls a node.
type fault struct {
	name string
	do   func(*schedule, string)
}

// gentle faults lose nothing and force nothing; each is as likely as it is often here.
var gentle = []fault{
	{"crash", (*schedule).crash}, {"crash", (*schedule).crash}, {"stop", (*schedule).stop},
	{"restart", (*schedule).restart}, {"restart", (*schedule).restart}, {"restart", (*schedule).restart},
	{"isolate", (*schedule).isolate}, {"isolate", (*schedule).isolate}, {"one way", (*schedule).oneWay},
	{"heal", (*schedule).heal}, {"heal", (*schedule).heal}, {"transfer", (*schedule).transfer}, {"transfer", (*schedule).transfer},
	{"disk", (*schedule).disk}, {"disk", (*schedule).disk}, {"heal disk", (*schedule).healDisk},
	{"pause", (*schedule).pause}, {"pause", (*schedule).pause}, {"maintenance", (*schedule).toggleMaintenance},
	{"jump", (*schedule).jump}, {"share", (*schedule).share},
}

// rough is all there is.
var rough = append(slices.Clone(gentle),
	fault{"take over", (*schedule).takeOver}, fault{"take over", (*schedule).takeOver},
	fault{"wipe", (*schedule).wipe}, fault{"copy disk", (*schedule).copyDisk}, fault{"restore", (*schedule).restore}, fault{"restore", (*schedule).restore},
)

// step does one thing to the cluster.
func (s *schedule) step(faults []fault) {
	id, f := s.node(), faults[s.rng.IntN(len(faults))]
	s.t.Logf("%v %s: %s", s.now(), id, f.name)
	f.do(s, id)
}

func (s *schedule) stop(id string) {
	if s.down[id] {
		return
	}
	if err := s.c.Stop(id); err != nil {
		s.t.Logf("stop %s: %v", id, err)
	}
	s.ended(id)
}

func (s *schedule) restart(id string) {
	if s.down[id] {
		s.b.Disk(id).Heal()
		s.start(id)
	}
}

func (s *schedule) isolate(id string) { s.c.Isolate(id) }

func (s *schedule) oneWay(id string) { s.b.Net.CutOneWay(id, s.node()) }

func (s *schedule) heal(id string) {
	s.c.Heal(id)
	for _, o := range s.ids {
		s.b.Net.Heal(id, o)
	}
	s.b.Disk(id).Heal()
	s.b.Claims.Unreachable(id, false)
	s.b.Claims.LoseAnswers(id, false)
	s.b.Claims.Slow(id, 0)
	s.c.Resume(id)
	delete(s.resume, id)
}

func (s *schedule) transfer(to string) {
	n := s.c.Node(s.node())
	if n == nil {
		return
	}
	s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		n.Transfer(ctx, to, askedFor) //nolint:errcheck // it may well be impossible
	})
}

func (s *schedule) disk(id string) {
	d := s.b.Disk(id)
	switch s.rng.IntN(4) {
	case 0:
		d.Full(time.Duration(s.rng.IntN(30)) * time.Millisecond)
	case 1:
		d.Slow(time.Duration(s.rng.IntN(400)) * time.Millisecond)
	case 2:
		d.Slow(time.Hour)
	case 3:
		d.Break()
	}
}

func (s *schedule) healDisk(id string) { s.b.Disk(id).Heal() }

func (s *schedule) pause(id string) {
	if s.down[id] {
		return
	}
	s.c.Pause(id)
	s.resume[id] = time.Now().Add(time.Duration(s.rng.IntN(2000)) * time.Millisecond)
}

// takeOver is what an operator does who finds no leader: mostly rightly so, sometimes because this node alone is cut off.
func (s *schedule) takeOver(id string) {
	if s.down[id] || len(s.ids) < 2 || s.roleOf(id) == cluster.Witness || !s.resume[id].IsZero() {
		return
	}
	if len(s.ids) > 2 && s.rng.IntN(3) > 0 {
		return
	}
	for _, o := range s.ids {
		if n := s.c.Node(o); n != nil && n.View().Leading {
			if o == id || len(s.ids) > 2 || s.rng.IntN(2) > 0 {
				return
			}
			s.b.Net.Cut(id, o) // nobody can see that it lives
		}
	}
	force := s.rng.IntN(2) == 0
	if force || s.b.PairTakeover != "claim" { // by force also past a claim
		s.c.AllowOverlap(true)
	}
	s.forced = true
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := s.c.TakeOver(ctx, id, "the test", force)
	if err == nil {
		s.tally.Takeovers++
	}
	s.t.Logf("%v %s takes over by force %v: %v", s.now(), id, force, err)
}

func (s *schedule) roleOf(id string) cluster.Role {
	for _, m := range s.shape {
		if m.NodeID == id {
			return m.Role
		}
	}
	return ""
}

func (s *schedule) toggleMaintenance(id string) {
	if s.roleOf(id) == cluster.Witness {
		return
	}
	on := s.rng.IntN(2) == 0
	s.wg.Go(func() { s.maintain(id, on, 5*time.Second) })
}

// maintain sets or ends the flag, as the API does: never for all at once.
func (s *schedule) maintain(id string, on bool, within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	op := state.SetMaintenance{Node: id, On: on, Author: "the test", At: time.Now().UTC()}
	for _, m := range s.shape {
		if m.Role != cluster.Witness && m.NodeID != id {
			op.Unless = append(op.Unless, m.NodeID)
		}
	}
	if !on {
		op.Unless = nil
	}
	n := s.anyLive()
	if n == nil {
		return
	}
	res, err := n.Propose(ctx, op)
	if !on && within >= time.Minute && errors.Join(err, res.Err) != nil {
		s.t.Errorf("end the maintenance of %s: %v, %v", id, err, res.Err)
	}
}

func (s *schedule) anyLive() clustertest.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range s.ids {
		if n := s.live[id]; n != nil {
			return n
		}
	}
	return nil
}

func (s *schedule) jump(id string) {
	s.b.Jump(id, time.Duration(s.rng.IntN(7200)-3600)*time.Second)
}

func (s *schedule) share(id string) {
	switch s.rng.IntN(3) {
	case 0:
		s.b.Claims.Unreachable(id, true)
	case 1:
		s.b.Claims.LoseAnswers(id, true)
	case 2:
		s.b.Claims.Slow(id, time.Duration(s.rng.IntN(1500))*time.Millisecond)
	}
}

// copyDisk makes a backup of a node that does not run.
func (s *schedule) copyDisk(id string) {
	s.crash(id)
	s.copies[id], s.forgot[id] = s.b.Disk(id).Clone(), map[string]bool{}
	s.restart(id)
}

func (s *schedule) wipe(id string) {
	if s.spare(id) {
		s.tally.Wiped++
		s.b.Wipe(id)
		s.forgets(id)
		s.replaced(id)
	}
}

// restore puts an older copy of its disk into a node.
func (s *schedule) restore(id string) {
	old := s.copies[id]
	if old != nil && s.spare(id) {
		s.tally.Restored++
		s.b.SetDisk(id, old.Clone())
		s.forgets(id)
		s.replaced(id)
	}
}

// forgets: a node on another disk knows nothing of the others' past. A copy that nobody but its own node remembers cannot be told
// from the node itself.
func (s *schedule) forgets(id string) {
	for of, by := range s.forgot {
		if of == id {
			continue
		}
		if by[id] = true; len(by) == len(s.ids)-1 {
			delete(s.copies, of)
		}
	}
}

// spare ends the node, and reports whether the others have all that it has: who replaces the disk of one that alone has something loses
// it by their own hand.
func (s *schedule) spare(id string) bool {
	if len(s.ids) < 2 {
		return false
	}
	s.crash(id)
	for _, o := range s.ids {
		if o != id {
			s.heal(o)
			s.restart(o)
		}
	}
	time.Sleep(20 * time.Second)
	s.bury()
	s.wg.Wait()
	leader := ""
	for _, o := range s.ids {
		if o != id && s.down[o] {
			return false
		}
		if o != id && s.c.Node(o).View().Leading {
			leader = o
		}
	}
	if leader == "" {
		return false
	}
	s.agree()
	s.mu.Lock()
	defer s.mu.Unlock()
	return epochOf(s.all[id]) == epochOf(s.live[leader])
}

// epochOf is the epoch that the node's folder is in, applied or not.
func epochOf(n clustertest.Node) state.Epoch {
	v := n.View()
	for _, m := range v.Members {
		if m.NodeID == v.NodeID {
			return m.Epoch
		}
	}
	return state.Epoch{}
}

// replaced starts a node on another disk, and waits until it is a voter like any other.
func (s *schedule) replaced(id string) {
	s.heal(id)
	s.start(id)
	s.c.Voters(len(s.ids), 3*time.Minute)
	s.agree()
}
