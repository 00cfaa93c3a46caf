package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

// TestHistoriesAreLinearizable: what callers on any node have seen, while all manner of faults went on, could have been seen on one node
// that does one thing after the other.
func TestHistoriesAreLinearizable(t *testing.T) {
	first, n := seeds()
	n = max(1, n/5)
	operations := 0
	for seed := first; seed < first+uint64(n); seed++ {
		h := runHistory(t, seed, func(n cluster.Coordinator) cluster.Coordinator { return n }, gentle)
		operations += len(h.done)
		if got := h.check(); got != porcupine.Ok {
			t.Fatalf("the history of seed %d is not linearizable (%s)\n%s", seed, got, h.text())
		}
	}
	t.Logf("%d histories, %d operations", n, operations)
	if operations < 50*n && n > 1 {
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
		if pause(ctx, 300*time.Millisecond) {
			h.Coordinator.Propose(ctx, op) //nolint:errcheck // that is what is wrong with it
		}
	}()
	if op, ok := op.(state.SetConfig); ok {
		return state.Result{Version: op.Expect + 1}, nil
	}
	return state.Result{}, nil
}

// forgetful says of every fourth command that it was refused.
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
	settings bool
	read     bool
	expect   uint64 // set the settings
	value    string
}

// answered is what came of it.
type answered struct {
	unknown bool
	stale   bool
	version uint64 // of the settings
	value   string // read
}

type register struct {
	version uint64
	value   string
}

// registers is what one node that does one thing after the other would do.
var registers = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		parts := make([][]porcupine.Operation, 2)
		for _, op := range all {
			i := 0
			if op.Input.(call).settings {
				i = 1
			}
			parts[i] = append(parts[i], op)
		}
		return parts
	},
	Init: func() any { return register{} },
	Step: func(before, in, out any) (bool, any) { return before.(register).step(in.(call), out.(answered)) },
}

func (r register) step(c call, o answered) (bool, register) {
	switch {
	case c.read:
		return r == register{o.version, o.value}, r
	case !c.settings:
		return true, register{0, c.value}
	case r.version != c.expect:
		return o.unknown || o.stale && o.version == r.version, r
	}
	return o.unknown || !o.stale && o.version == r.version+1, register{r.version + 1, c.value}
}

func (h *history) check() porcupine.CheckResult {
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
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule(t, rand.New(rand.NewPCG(seed, seed)))
		s.begin()
		ctx, stop := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		for i := range 4 {
			callers.Go(func() { h.caller(ctx, s, i, rand.New(rand.NewPCG(seed, uint64(i))), through) })
		}
		for range 15 {
			s.step(faults, 2*time.Second)
		}
		s.mend()
		stop()
		callers.Wait()
	})
	return h
}

// caller asks random nodes for one thing after the other until ctx ends.
func (h *history) caller(ctx context.Context, s *schedule, i int, rng *rand.Rand, through func(cluster.Coordinator) cluster.Coordinator) {
	for n := 0; pause(ctx, time.Duration(rng.IntN(600))*time.Millisecond) && n < 60; n++ {
		s.mu.Lock()
		node := s.live[s.ids[rng.IntN(len(s.ids))]]
		s.mu.Unlock()
		if node == nil {
			continue
		}
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		h.one(try, through(node), i, rng)
		cancel()
	}
}

func (h *history) one(ctx context.Context, n cluster.Coordinator, client int, rng *rand.Rand) {
	c := call{settings: rng.IntN(2) == 0, value: fmt.Sprintf("%d.%d", client, h.clock.Load())}
	if c.settings {
		c.expect = n.View().State.Config().Version
	}
	op := porcupine.Operation{ClientId: client, Call: h.clock.Add(1)}
	var out answered
	var err error
	if rng.IntN(3) == 0 {
		c = call{settings: c.settings, read: true}
		out, err = read(ctx, n, c.settings)
	} else {
		out, err = write(ctx, n, c)
	}
	op.Return = h.clock.Add(1)
	switch {
	case errors.Is(err, cluster.ErrUnknownOutcome) && !c.read:
		out, op.Return = answered{unknown: true}, math.MaxInt64 // it may still happen, or not at all
	case err != nil:
		return // it had no effect
	}
	op.Input, op.Output = c, out
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done = append(h.done, op)
}

func write(ctx context.Context, n cluster.Coordinator, c call) (answered, error) {
	var op state.Op = state.SetManagementGroup{Name: c.value, Force: true}
	if c.settings {
		op = state.SetConfig{Expect: c.expect, Text: []byte(c.value), At: time.Now().UTC()}
	}
	res, err := n.Propose(ctx, op)
	if errors.Is(res.Err, state.ErrStale) {
		return answered{stale: true, version: res.Version}, err
	}
	return answered{version: res.Version}, errors.Join(err, res.Err)
}

var errNoLead = errors.New("the node did not lead all the time")

// read reads the leader's own copy, which is as new as a command that it has committed meanwhile.
func read(ctx context.Context, n cluster.Coordinator, settings bool) (answered, error) {
	before := n.View()
	if !before.Leading {
		return answered{}, errNoLead
	}
	res, err := n.Propose(ctx, state.Commit{Pipeline: "bound"})
	if err = errors.Join(err, res.Err); err != nil {
		return answered{}, err
	}
	st := n.View().State
	out := answered{value: st.ManagementGroup()}
	if settings {
		c := st.Config()
		out = answered{version: c.Version, value: string(c.Text)}
	}
	if after := n.View(); !after.Leading || after.Token != before.Token {
		return answered{}, errNoLead
	}
	return out, nil
}
