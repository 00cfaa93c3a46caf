package clustertest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
)

// Broken are coordinators whose histories a checker must refuse: one that has never refused anything proves nothing.
var Broken = map[string]func(cluster.Coordinator) cluster.Coordinator{
	"answers before the commit": func(n cluster.Coordinator) cluster.Coordinator { return hasty{n} },
	"forgets what it committed": func(n cluster.Coordinator) cluster.Coordinator { return forgetful{n} },
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

// forgetful says that the outcome of every fourth command is certain: it was refused.
type forgetful struct{ cluster.Coordinator }

func (f forgetful) Propose(ctx context.Context, op state.Op) (state.Result, error) {
	res, err := f.Coordinator.Propose(ctx, op)
	if res.Version%4 == 3 && res.Err == nil {
		return state.Result{Err: state.ErrStale, Version: res.Version - 1}, err
	}
	return res, err
}

// History is what callers have asked for and seen. The zero value is empty.
type History struct {
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

// checkTime bounds a check; one that takes longer is porcupine.Unknown.
const checkTime = time.Minute

// Check says whether one node that does one thing after the other could have answered so.
func (h *History) Check() porcupine.CheckResult {
	h.mu.Lock()
	defer h.mu.Unlock()
	return porcupine.CheckOperationsTimeout(registers, h.done, checkTime)
}

// Text is one line for each operation.
func (h *History) Text() (s string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, op := range h.done {
		s += fmt.Sprintf("%d-%d %+v -> %+v\n", op.Call, op.Return, op.Input, op.Output)
	}
	return s
}

// Len is how many operations have had, or may have had, an effect.
func (h *History) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.done)
}

// Call asks one node after the other for one thing after the other, until ctx ends: node chooses which, nil for none at this moment. A caller
// that keeps off the settings uses the other register alone. Several may call at the same time; client tells them apart.
func (h *History) Call(ctx context.Context, client int, rng *rand.Rand, settings bool, node func() cluster.Coordinator) {
	for n := 0; pause(ctx, time.Duration(rng.IntN(600))*time.Millisecond) && n < 60; n++ {
		node := node()
		if node == nil {
			continue
		}
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		h.one(try, node, client, settings, rng)
		cancel()
	}
}

func (h *History) one(ctx context.Context, n cluster.Coordinator, client int, settings bool, rng *rand.Rand) {
	c := call{register: "group", value: fmt.Sprintf("%d.%d", client, h.clock.Load())}
	if settings && rng.IntN(2) == 0 {
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

var errNoLead = errors.New("the node did not lead all the time")

// read reads the leader's own copy, which is as new as a command that it has committed meanwhile.
func read(ctx context.Context, n cluster.Coordinator, register string) (outcome, error) {
	before := n.View()
	if !before.Leading {
		return outcome{}, errNoLead
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
		return outcome{}, errNoLead
	}
	return out, nil
}

// pause waits; false: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
