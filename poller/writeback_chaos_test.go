package poller

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scomconnector/poller/alert"
)

// chaos asks for states of a few alerts while writes get lost in every way, terms end, and nobody else touches the alerts. In
// the end each request was carried out once, in order, or was not needed.
func chaos(t *testing.T, seed uint64) {
	r := newWriteRig(t)
	r.cfg.LowerBackoff, r.cfg.UpperBackoff = time.Second, 10*time.Second
	var mu sync.Mutex // guards rnd
	rnd := rand.New(rand.NewPCG(seed, 4))
	intn := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rnd.IntN(n)
	}
	var calm atomic.Bool
	r.scom.fate = func([]alert.ID, uint8) fate {
		if calm.Load() {
			return goesWell
		}
		return []fate{goesWell, goesWell, answerLost, requestLost, noWay}[intn(5)]
	}
	r.scom.fieldFate = func(alert.ID) fate { return r.scom.fate(nil, 0) }
	r.scom.setFault(func(alert.Query) error {
		if !calm.Load() && intn(6) == 0 {
			return &alert.Fault{Console: "scom1", All: intn(2) == 0, Err: errors.New("reset")}
		}
		return nil
	})
	const alerts = 6
	for n := range alerts {
		r.scom.set(n, 0, 0)
	}
	r.begin()
	var asked []Close
	for range 40 {
		c := Close{Alert: id(intn(alerts)), State: []uint8{255, 249, 0}[intn(3)]}
		if kind := intn(6); kind < 2 {
			c.Fields = []alert.Field{{Name: "TicketId", Value: fmt.Sprint("INC", len(asked))}}
			c.Keep = kind == 0
		}
		c.ID = r.out.ask(c)
		asked = append(asked, c)
		r.pass(time.Duration(intn(3000)) * time.Millisecond)
		if intn(8) == 0 { // the leader is killed
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			r.begin()
		}
	}
	calm.Store(true)
	r.pass(5 * time.Minute)
	r.end()
	if n := r.out.pending(); n != 0 {
		t.Errorf("seed %d: %d requests still wait", seed, n)
	}
	for change, n := range r.scom.fielded {
		if n != 1 {
			t.Errorf("seed %d: the fields of %s were changed %d times", seed, change, n)
		}
	}
	// What was done was done in the order of asking, and the last one asked for is what SCOM shows.
	last, ticket := map[alert.ID]uint8{}, map[alert.ID]string{}
	for _, c := range asked {
		if !c.Keep {
			last[c.Alert] = c.State
		}
		if len(c.Fields) > 0 {
			ticket[c.Alert] = c.Fields[0].Value
		}
		if s := r.out.outcome(c.ID); s.Outcome == Refused {
			t.Errorf("seed %d: %s was refused: %s", seed, c.ID, s.Reason)
		}
	}
	for alertID, want := range ticket {
		if a, _ := r.scom.newest(alertID); a.TicketID != want {
			t.Errorf("seed %d: alert %s has ticket %s, want %s", seed, alertID, a.TicketID, want)
		}
	}
	for alertID, want := range last {
		if a, _ := r.scom.newest(alertID); a.ResolutionState != want {
			t.Errorf("seed %d: alert %s is in state %d, want %d", seed, alertID, a.ResolutionState, want)
		}
	}
}
