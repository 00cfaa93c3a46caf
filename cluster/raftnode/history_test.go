package raftnode_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"scomconnector/cluster"
	"scomconnector/cluster/clustertest"
	"scomconnector/cluster/state"
)

// TestHistoriesAreLinearizable: what callers on any node have seen, while all manner of faults went on, could have been seen on one node
// that does one thing after the other. Without takeovers by force that holds for every shape, and with claims also when a node takes over.
func TestHistoriesAreLinearizable(t *testing.T) {
	first, n := scheduleCount(t)
	n = max(1, n/10)
	t.Logf("%d histories from seed %d on", n, first)
	operations := 0
	for i := range n {
		seed := first + uint64(i)
		var h *history
		ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			h = runHistory(t, seed, func(n cluster.Coordinator) cluster.Coordinator { return n }, gentle)
		})
		if !ok {
			t.Fatalf("run it again with: go test ./cluster/raftnode -run TestHistories -seed %d", seed)
		}
		operations += len(h.done)
		if got := h.check(); got != porcupine.Ok {
			t.Fatalf("the history of seed %d is not linearizable (%s): go test ./cluster/raftnode -run TestHistories -seed %d\n%s", seed, got, seed, h.text())
		}
	}
	t.Logf("%d operations", operations)
	if operations < 100*n && *seedFlag == 0 {
		t.Error("the histories are too short to show anything")
	}
}

// A checker that has never refused anything proves nothing.
func TestHistoryOfABrokenCoordinatorIsRefused(t *testing.T) {
	for name, broken := range map[string]func(cluster.Coordinator) cluster.Coordinator{
		"answers before the commit": func(n cluster.Coordinator) cluster.Coordinator { return hasty{n} },
		"forgets what it committed": func(n cluster.Coordinator) cluster.Coordinator { return forgetful{n} },
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(10) {
				if runHistory(t, seed+1, broken, []fault{{"transfer", (*schedule).transfer}}).check() == porcupine.Illegal {
					return
				}
			}
			t.Error("ten histories passed")
		})
	}
}

// hasty answers before the commit.
type hasty struct{ cluster.Coordinator }

func (h hasty) Propose(ctx context.Context, op state.Op) (state.Result, error) {
	go func() {
		if sleep(ctx, 300*time.Millisecond) {
			h.Coordinator.Propose(ctx, op) //nolint:errcheck // that is what is wrong with it
		}
	}()
	if op, ok := op.(state.SetConfig); ok {
		return state.Result{Version: op.Expect + 1}, nil
	}
	return state.Result{}, nil
}

// forgetful says that the outcome of every fourth command is certain: it was refused.
type forgetful struct{ cluster.Coordinator }

func (f forgetful) Propose(ctx context.Context, op state.Op) (state.Result, error) {
	res, err := f.Coordinator.Propose(ctx, op)
	if res.Version%4 == 3 && res.Err == nil {
		return state.Result{Err: state.ErrStale, Version: res.Version - 1}, err
	}
	return res, err
}

// history is what callers have asked for and seen.
type history struct {
	clock atomic.Int64 // orders calls and returns
	mu    sync.Mutex   // guards done
	done  []porcupine.Operation
}

// call is one operation: on the settings, a register that is compared and set; or on the management group, one that is only set.
type call struct {
	register string
	read     bool
	expect   uint64 // set the settings
	value    string
}

// outcome is what came of it.
type outcome struct {
	unknown bool
	stale   bool
	version uint64 // of the settings
	value   string // read
}

// register is the model's state.
type register struct {
	version uint64
	value   string
}

// never is the return of an operation whose outcome is unknown: it may still happen, or not at all.
const never = math.MaxInt64

// registers is what one node that does one thing after the other would do.
var registers = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		parts := map[string][]porcupine.Operation{}
		for _, op := range all {
			name := op.Input.(call).register
			parts[name] = append(parts[name], op)
		}
		return [][]porcupine.Operation{parts["settings"], parts["group"]}
	},
	Init: func() any { return register{} },
	Step: func(before, in, out any) (bool, any) { return before.(register).step(in.(call), out.(outcome)) },
}

func (r register) step(c call, o outcome) (bool, register) {
	switch {
	case c.read:
		return r == register{o.version, o.value}, r
	case c.register == "group":
		return true, register{0, c.value}
	case r.version != c.expect:
		return o.unknown || o.stale && o.version == r.version, r
	}
	return o.unknown || !o.stale && o.version == r.version+1, register{r.version + 1, c.value}
}

func (h *history) check() porcupine.CheckResult {
	h.mu.Lock()
	defer h.mu.Unlock()
	return porcupine.CheckOperationsTimeout(registers, h.done, time.Minute)
}

func (h *history) text() (s string) {
	for _, op := range h.done {
		s += fmt.Sprintf("%d-%d %+v -> %+v\n", op.Call, op.Return, op.Input, op.Output)
	}
	return s
}

// runHistory runs four callers beside the faults. through stands between the callers and each node.
func runHistory(t *testing.T, seed uint64, through func(cluster.Coordinator) cluster.Coordinator, faults []fault) *history {
	h := &history{}
	inBubble(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, seed))
		shape, takeover := clustertest.Three, ""
		if i := rng.IntN(4); i < 2 {
			shape, takeover = clustertest.Pair, []string{"claim", "operator"}[i]
		}
		s := newScheduleOf(t, rng, shape, takeover)
		s.begin()
		ctx, stop := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		for i := range 4 {
			callers.Go(func() { h.caller(ctx, s, i, rand.New(rand.NewPCG(seed, uint64(i))), through) })
		}
		for range 15 {
			s.step(faults)
			s.rest(2 * time.Second)
		}
		s.wg.Wait()
		s.mend()
		stop()
		callers.Wait()
	})
	return h
}

// caller asks random nodes for one thing after the other until ctx ends.
func (h *history) caller(ctx context.Context, s *schedule, i int, rng *rand.Rand, through func(cluster.Coordinator) cluster.Coordinator) {
	for n := 0; sleep(ctx, time.Duration(rng.IntN(600))*time.Millisecond) && n < 60; n++ {
		s.mu.Lock()
		node := s.live[s.ids[rng.IntN(len(s.ids))]]
		s.mu.Unlock()
		if node == nil {
			continue
		}
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		h.one(try, through(node), i, s.b.PairTakeover != "", rng)
		cancel()
	}
}

// one does one thing. A node that yields hands its settings over, which moves that register outside of any call: a pair has only the
// other one.
func (h *history) one(ctx context.Context, n cluster.Coordinator, client int, pair bool, rng *rand.Rand) {
	c := call{register: "group", value: fmt.Sprintf("%d.%d", client, h.clock.Load())}
	if !pair && rng.IntN(2) == 0 {
		c.register, c.expect = "settings", n.View().State.Config().Version
	}
	op := porcupine.Operation{ClientId: client, Call: h.clock.Add(1)}
	var out outcome
	var err error
	if rng.IntN(3) == 0 {
		c = call{register: c.register, read: true}
		out, err = read(ctx, n, c.register)
	} else {
		out, err = write(ctx, n, c)
	}
	op.Return = h.clock.Add(1)
	switch {
	case errors.Is(err, cluster.ErrUnknownOutcome) && !c.read:
		out, op.Return = outcome{unknown: true}, never
	case err != nil:
		return // it had no effect
	}
	op.Input, op.Output = c, out
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done = append(h.done, op)
}

func write(ctx context.Context, n cluster.Coordinator, c call) (outcome, error) {
	var op state.Op = state.SetManagementGroup{Name: c.value, Force: true}
	if c.register == "settings" {
		op = state.SetConfig{Expect: c.expect, Text: []byte(c.value), At: time.Now().UTC()}
	}
	res, err := n.Propose(ctx, op)
	if errors.Is(res.Err, state.ErrStale) {
		return outcome{stale: true, version: res.Version}, err
	}
	return outcome{version: res.Version}, errors.Join(err, res.Err)
}

var errNoLeader = errors.New("the node did not lead all the time")

// read reads the leader's own copy, which is as new as a command that it has committed meanwhile.
func read(ctx context.Context, n cluster.Coordinator, register string) (outcome, error) {
	before := n.View()
	if !before.Leading {
		return outcome{}, errNoLeader
	}
	res, err := n.Propose(ctx, state.Commit{Pipeline: "bound"})
	if err = errors.Join(err, res.Err); err != nil {
		return outcome{}, err
	}
	out := outcome{value: n.View().State.ManagementGroup()}
	if register == "settings" {
		c := n.View().State.Config()
		out = outcome{version: c.Version, value: string(c.Text)}
	}
	if after := n.View(); !after.Leading || after.Token != before.Token {
		return outcome{}, errNoLeader
	}
	return out, nil
}
