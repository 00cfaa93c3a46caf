package raftnode

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"scomconnector/cluster"
	"scomconnector/cluster/port"
	"scomconnector/cluster/state"
	"scomconnector/test/pipenet"
)

// inMemory runs a node in memory until the test ends; its lead waits for its context.
func inMemory(t *testing.T, net *pipenet.Net, nodeID string, members ...cluster.Member) *Node {
	t.Helper()
	i := slices.IndexFunc(members, func(m cluster.Member) bool { return m.NodeID == nodeID })
	return inMemoryWith(t, net, Config{NodeID: nodeID, Role: members[i].Role, Members: members})
}

func inMemoryWith(t *testing.T, net *pipenet.Net, cfg Config) *Node {
	t.Helper()
	return inMemoryLogged(t, net, cfg, hclog.NewNullLogger())
}

func inMemoryLogged(t *testing.T, net *pipenet.Net, cfg Config, log hclog.Logger) *Node {
	t.Helper()
	m, _ := cfg.member(cfg.NodeID)
	ln, err := net.Listen(m.ClusterAddress)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Version, cfg.Listener = "test", ln
	if cfg.Dial == nil {
		cfg.Dial = net.Dialer(cfg.NodeID)
	}
	if cfg.Memory == nil {
		cfg.Memory = NewMemory()
	}
	n, err := Open(cfg, log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- n.Run(context.Background(), func(ctx context.Context, _ cluster.Term) error {
			<-ctx.Done()
			return nil
		})
	}()
	t.Cleanup(func() {
		n.Close() //nolint:errcheck // the test is over
		<-done
	})
	return n
}

// until waits in a bubble.
func until(t *testing.T, within time.Duration, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

var (
	alone = []cluster.Member{{NodeID: "primary", Role: cluster.Primary, ClusterAddress: "primary:8086"}}
	two   = append(slices.Clone(alone), cluster.Member{NodeID: "secondary", Role: cluster.Secondary, ClusterAddress: "secondary:8086"})
)

// After a handover that raft never ends (hashicorp/raft#696) it refuses all proposals for ever, and goes on leading.
func TestHandoverThatNeverEndsHasRaftRebuilt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := inMemory(t, pipenet.New(), "primary", alone...)
		until(t, 10*time.Second, "it leads", func() bool { return n.View().Leading })
		term, before := n.term.Load(), n.inst.Load()
		term.noteProposal(raft.ErrLeadershipTransferInProgress)
		time.Sleep(2 * n.timing.election)
		term.noteProposal(raft.ErrLeadershipTransferInProgress)
		if n.term.Load() != term {
			t.Fatal("the term was ended before three election timeouts")
		}
		time.Sleep(n.timing.election + time.Millisecond)
		term.noteProposal(raft.ErrLeadershipTransferInProgress)
		until(t, 10*time.Second, "it leads with another raft", func() bool { return n.View().Leading && n.inst.Load() != before })
		if now := n.View().Token; now.Compare(term.token) <= 0 {
			t.Errorf("token: got %v, before %v", now, term.token)
		}
	})
}

// raft remembers such a handover over the end of its leadership: elected again, it took not even the start of a term.
func TestHandoverThatOutlastsItsLeadershipHasRaftRebuilt(t *testing.T) {
	InBubble(t, func(t *testing.T) {
		net := pipenet.New()
		three := append(slices.Clone(two), cluster.Member{NodeID: "witness", Role: cluster.Witness, ClusterAddress: "witness:8086", Url: "http://witness:8085"})
		n := inMemory(t, net, "primary", three...)
		inMemory(t, net, "secondary", three...)
		inMemory(t, net, "witness", three...)
		until(t, 10*time.Second, "all vote", func() bool { return n.View().Leading && n.Health().Voters == 3 })
		before := n.inst.Load()
		net.Cut("primary", "secondary")
		net.Cut("secondary", "witness")
		time.Sleep(5 * time.Second)
		if _, err := n.Propose(t.Context(), state.SetManagementGroup{Name: "what the secondary lacks"}); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second one waits for the slot that the first has taken
			if err := before.raft.LeadershipTransferToServer("secondary", "secondary:8086").Error(); err == nil {
				t.Fatal("a member that is away was handed leadership")
			}
			time.Sleep(time.Second)
		}
		net.Cut("primary", "witness")
		until(t, 10*time.Second, "it leads no more", func() bool { return before.raft.State() != raft.Leader })
		net.Heal("primary", "witness")
		until(t, 10*time.Second, "it is elected again", func() bool { return n.inst.Load() == before && before.raft.State() == raft.Leader })
		until(t, time.Minute, "it leads with another raft", func() bool { return n.View().Leading && n.inst.Load() != before })
	})
}

func TestHandoverThatEndsIsNotTakenForStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s stuckTransfer
		for range 10 {
			if s.note(raft.ErrLeadershipTransferInProgress, time.Second) {
				t.Fatal("stuck, although proposals succeed in between")
			}
			time.Sleep(2 * time.Second)
			s.note(nil, time.Second)
		}
	})
}

// The leader gives a forwarded proposal up a moment before its caller does: it was not appended, and the caller must hear that.
func TestForwardedProposalThatRunsOutOfTimeMayBeTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := inMemory(t, pipenet.New(), "primary", alone...)
		until(t, 10*time.Second, "it leads", func() bool { return n.View().Leading })
		data, err := state.Encode(state.Command{Op: state.SetManagementGroup{Name: "late"}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := n.answerPropose(ctx, request{Op: opPropose, Command: data}).Fault; got != port.FaultNotLeader {
			t.Errorf("got %q, want %q", got, port.FaultNotLeader)
		}
	})
}

// An older member would have to stop at a command that it does not know.
func TestCommandIsNotProposedBeforeAllMembersKnowIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := pipenet.New()
		n := inMemory(t, net, "primary", two...)
		inMemory(t, net, "secondary", two...)
		until(t, 10*time.Second, "both vote", func() bool { return n.Health().Voters == 2 })
		op := state.SetMaintenance{Node: "secondary", On: true, At: time.Now()}
		p := n.peers["secondary"]
		p.mu.Lock()
		p.last.Knows, p.last.Version = state.KindOf(op)-1, "0.9"
		p.mu.Unlock()
		_, err := n.Propose(t.Context(), op)
		if !errors.Is(err, cluster.ErrOldMember) || !strings.Contains(err.Error(), "secondary runs 0.9") {
			t.Errorf("propose: got %v, want it refused for the old member", err)
		}
		time.Sleep(time.Second) // it has been upgraded, says its next greeting
		if res, err := n.Propose(t.Context(), op); err != nil || res.Err != nil {
			t.Errorf("propose after the upgrade: %v, %v", err, res.Err)
		}
	})
}

// It is away, and this process has never heard from it.
func TestCommandIsNotProposedForAnOldMemberThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, memory := pipenet.New(), NewMemory()
		open := func() *Node {
			return inMemoryWith(t, net, Config{NodeID: "primary", Role: cluster.Primary, Members: two, Memory: memory})
		}
		n, s := open(), inMemory(t, net, "secondary", two...)
		until(t, 10*time.Second, "both vote", func() bool { return n.Health().Voters == 2 })
		time.Sleep(5 * time.Second)
		s.Close() //nolint:errcheck // it is lost
		until(t, 10*time.Second, "the primary goes on alone", func() bool { return n.Health().Voters == 1 })
		n.Close() //nolint:errcheck // as above
		op := state.SetMaintenance{Node: "secondary", On: true, At: time.Now()}
		seen := memory.ident.Seen["secondary"]
		if seen.Knows != state.MaxKind || seen.Version != "test" {
			t.Errorf("of the secondary is kept %+v", seen)
		}
		seen.Knows, seen.Version = state.KindOf(op)-1, "0.9"
		memory.ident.Seen["secondary"] = seen
		n = open()
		until(t, 30*time.Second, "the primary leads", func() bool { return n.View().Leading })
		if _, err := n.Propose(t.Context(), op); !errors.Is(err, cluster.ErrOldMember) || !strings.Contains(err.Error(), "secondary runs 0.9") {
			t.Errorf("propose: got %v, want it refused for the old member", err)
		}
	})
}

// A wipe that was killed at any point is finished by the next start.
func TestWipeInterruptedAnywhereIsFinishedByTheNextStart(t *testing.T) {
	for name, undo := range map[string]func(t *testing.T, dir string){
		"before the store went": func(*testing.T, string) {},
		"the store has gone": func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "raft", "raft.db")); err != nil {
				t.Fatal(err)
			}
		},
		"the folder has gone": func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "raft")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			solo(t, dir, func(n *Node, term cluster.Term) {
				if _, err := term.Propose(t.Context(), state.SetManagementGroup{Name: "old"}); err != nil {
					t.Fatal(err)
				}
			})
			d, err := openDisk(dir, hclog.NewNullLogger())
			if err != nil {
				t.Fatal(err)
			}
			before, _, err := d.load()
			if err != nil {
				t.Fatal(err)
			}
			doing := before.wiped()
			doing.Wiping = true
			if err := d.save(doing); err != nil {
				t.Fatal(err)
			}
			d.close() //nolint:errcheck // nothing is open but the lock
			undo(t, dir)
			solo(t, dir, func(n *Node, _ cluster.Term) {
				if got := n.View().State.ManagementGroup(); got != "" {
					t.Errorf("the wiped folder still holds %q", got)
				}
				if id := n.ident(); id.Incarnation == before.Incarnation || id.Wiping || id.ClusterID == before.ClusterID {
					t.Errorf("identity after the wipe: %+v, before %+v", id, before)
				}
			})
		})
	}
}

func TestArchivesAreKeptThirtyDaysAndSurviveAWipe(t *testing.T) {
	dir := t.TempDir()
	solo(t, dir, func(n *Node, term cluster.Term) {
		if _, err := term.Propose(t.Context(), state.SetManagementGroup{Name: "old"}); err != nil {
			t.Fatal(err)
		}
		if _, err := n.archiveState(); err != nil {
			t.Fatal(err)
		}
		got := n.View().Archives
		if len(got) != 1 || got[0].Epoch != n.View().Token.Epoch || time.Since(got[0].At) > time.Minute {
			t.Fatalf("archives: got %+v", got)
		}
		f, err := os.Open(filepath.Join(dir, "archive", got[0].Name))
		if err != nil {
			t.Fatal(err)
		}
		s := state.New()
		if err := errors.Join(s.Restore(f), f.Close()); err != nil || s.ManagementGroup() != "old" {
			t.Errorf("the archive holds %q, %v", s.ManagementGroup(), err)
		}
		for _, age := range []time.Duration{29 * 24 * time.Hour, 31 * 24 * time.Hour} {
			if err := n.pruneArchives(time.Now().Add(age)); err != nil {
				t.Fatal(err)
			}
			if want := 1; age < keepArchives && len(n.View().Archives) != want || age > keepArchives && len(n.View().Archives) != 0 {
				t.Errorf("archives after %v: %+v", age, n.View().Archives)
			}
		}
	})
}

// An archive that cannot be removed, as one that is open on Windows, keeps nobody from putting the state aside; it stays in the list.
func TestAnArchiveThatStaysIsNoFault(t *testing.T) {
	dir := t.TempDir()
	solo(t, dir, func(n *Node, _ cluster.Term) {
		stays := archiveName(time.Now().Add(-2*keepArchives), state.Epoch{Number: 1, Node: "primary"})
		if err := os.MkdirAll(filepath.Join(dir, "archive", stays, "full"), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := n.archiveState(); err != nil {
			t.Fatal(err)
		}
		if got := n.View().Archives; len(got) != 2 || got[1].Name != stays {
			t.Errorf("archives: got %+v", got)
		}
	})
}

func TestStartKnowsWhetherTheOneBeforeEndedAsPlanned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := NewMemory()
		run := func(planned bool) (start uint64, clean bool) {
			n, err := Open(Config{NodeID: "primary", Role: cluster.Primary, Members: alone, Version: "test", Memory: data}, hclog.NewNullLogger(), prometheus.NewRegistry())
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				done <- n.Run(ctx, func(ctx context.Context, _ cluster.Term) error { <-ctx.Done(); return nil })
			}()
			time.Sleep(3 * time.Second)
			v := n.View()
			if planned {
				stop()
				<-done
			}
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			if !planned {
				<-done
			}
			stop()
			return v.Start, v.CleanStart
		}
		for i, step := range []struct{ planned, cleanBefore bool }{{true, false}, {false, true}, {true, false}, {true, true}} {
			if start, clean := run(step.planned); start != uint64(i+1) || clean != step.cleanBefore {
				t.Errorf("start %d: got start %d, clean %v, want clean %v", i+1, start, clean, step.cleanBefore)
			}
		}
	})
}

// raft reads the log for its metrics in a goroutine that outlives it by a moment (found by the race detector).
func TestLateReaderOfTheStoreMeetsNeitherAWipeNorTheEnd(t *testing.T) {
	dir := t.TempDir()
	solo(t, dir, func(n *Node, term cluster.Term) {
		if _, err := term.Propose(t.Context(), state.SetManagementGroup{Name: "x"}); err != nil {
			t.Fatal(err)
		}
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				default:
					var l raft.Log
					first, _ := n.store.FirstIndex()  //nolint:errcheck // what it finds is nobody's business
					n.store.GetLog(max(first, 1), &l) //nolint:errcheck // as above
				}
			}
		}()
		if err := n.change(t.Context(), func() error {
			if err := n.pauseRaft(); err != nil {
				return err
			}
			return n.wipe()
		}); err != nil {
			t.Error(err)
		}
		n.store.close()
		close(stop)
		<-done
		if err := n.store.fault(); err != nil {
			t.Errorf("the store was given up for a late reader: %v", err)
		}
	})
}

// Not every node has seen each start of the others: one alone may take a member for an older copy, and would keep away from it for ever.
func TestDoubtThatTheLeaderDoesNotShareEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := pipenet.New()
		three := append(slices.Clone(two), cluster.Member{NodeID: "witness", Role: cluster.Witness, ClusterAddress: "witness:8086"})
		p := inMemory(t, net, "primary", three...)
		inMemory(t, net, "secondary", three...)
		w := inMemory(t, net, "witness", three...)
		until(t, 20*time.Second, "all vote", func() bool { return p.Health().Voters == 3 })
		if err := w.changeIdentity(func(id *identity) {
			s := id.Seen["secondary"]
			s.Start += 5
			id.Seen["secondary"] = s
		}); err != nil {
			t.Fatal(err)
		}
		until(t, 5*time.Second, "the witness doubts it", func() bool { _, doubts := w.peers["secondary"].older(); return doubts })
		refusal := func() string { return w.judge(port.KindRaft, w.peers["secondary"].now().greeting) }
		if refusal() == "" {
			t.Error("it takes raft connections of a member that it doubts")
		}
		until(t, time.Minute, "the witness believes it again", func() bool { return refusal() == "" && w.peers["secondary"].now().fresh() })
	})
}

func TestWhenADiskIsNearlyFull(t *testing.T) {
	const mb, gb = 1 << 20, 1 << 30
	for name, c := range map[string]struct {
		s         Space
		was, want bool
	}{
		"a large disk":                  {Space{65 * mb, 500 * gb}, false, false},
		"little left of a large disk":   {Space{63 * mb, 500 * gb}, false, true},
		"a small disk":                  {Space{20 * mb, 256 * mb}, false, false},
		"little left of a small disk":   {Space{15 * mb, 256 * mb}, false, true},
		"a little has been freed":       {Space{70 * mb, 500 * gb}, true, true},
		"enough has been freed":         {Space{81 * mb, 500 * gb}, true, false},
		"a file system without a size":  {Space{0, 0}, false, false},
		"nothing left of a small quota": {Space{0, 64 * mb}, false, true},
	} {
		if got := c.s.low(c.was); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	s, err := spaceOf(t.TempDir())
	if err != nil || s.Total == 0 || s.Free > s.Total {
		t.Errorf("the disk of this test: %+v, %v", s, err)
	}
	if _, err := spaceOf(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a folder that is not there has room")
	}
}

// raft's main loop blocks while nobody reads its notifications (consul#3230, nomad#6977, vault#8547): whoever reads must wait for nobody.
func TestRaftNeverWaitsForItsNotificationsToBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := leadership{changed: make(chan struct{}, 1)}
		i := &instance{notify: make(chan bool), watched: make(chan struct{}), done: make(chan struct{})}
		go l.watch(i)
		for n := range 1001 { // nobody serves a term meanwhile
			i.notify <- n%2 == 0
		}
		synctest.Wait()
		ctx, of := l.now()
		if ctx == nil || ctx.Err() != nil || of != i {
			t.Errorf("after the last one, which said that it leads: %v of %p", ctx, of)
		}
		if got := l.losses(); got != 500 {
			t.Errorf("lost %d times, want 500", got)
		}
		close(i.done)
		<-i.watched
		if ctx.Err() == nil {
			t.Error("the leadership has not ended with its raft")
		}
	})
}

// Lost and won again within a moment may look like "true, true": the second one is another term.
func TestLeadershipLostAndWonAgainUnnoticedIsAnotherOne(t *testing.T) {
	l, i := leadership{changed: make(chan struct{}, 1)}, &instance{}
	l.set(i, true)
	first, _ := l.now()
	l.set(i, true)
	second, _ := l.now()
	if first.Err() == nil || second.Err() != nil || second == first {
		t.Errorf("first: %v, second: %v", first.Err(), second.Err())
	}
	l.end()
}

// Who is elected again says whether its process is new, or for how long it did not lead.
func TestReasonOfANodeThatIsElectedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := inMemory(t, pipenet.New(), "primary", alone...)
		until(t, 10*time.Second, "it leads", func() bool { return n.term.Load() != nil })
		if got := n.reason("primary").Text; got != "primary was started again, and elected again" {
			t.Errorf("got %q", got)
		}
		n.led.end()
		until(t, 10*time.Second, "its term has ended", func() bool { return n.term.Load() == nil })
		time.Sleep(700 * time.Millisecond)
		if got := n.reason("primary").Text; !strings.Contains(got, "elected again, 7") || !strings.Contains(got, "ms after it had stood still") {
			t.Errorf("got %q", got)
		}
	})
}
