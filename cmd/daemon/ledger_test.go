package daemon

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"scomconnector/cluster"
	"scomconnector/cluster/state"
	"scomconnector/poller"
	"scomconnector/poller/alert"
)

// testLedger is a ledger whose proposals are applied at once.
func testLedger(t *testing.T) *ledger {
	t.Helper()
	s, token := state.New(), state.Token{Epoch: state.Epoch{Number: 1, Node: "primary"}, Term: 1}
	propose := func(_ context.Context, op state.Op) (state.Result, error) {
		b, err := state.Encode(state.Command{Token: token, Op: op})
		if err != nil {
			return state.Result{}, err
		}
		res, _, err := s.Apply(1, 0, b)
		return res, err
	}
	if _, err := propose(t.Context(), state.TermStart{Node: "primary", ClusterID: "c1", At: time.Unix(0, 0)}); err != nil {
		t.Fatal(err)
	}
	return &ledger{term: cluster.Term{Token: token, Propose: propose}, state: s, pipeline: "alerts/default"}
}

func TestTheLedgerRemembersWhatWasHandledAndCountsWhatWasSent(t *testing.T) {
	l := testLedger(t)
	sent, parked := alert.Version{ID: alert.ID{1}, LastModified: 1000}, alert.Version{ID: alert.ID{2}, LastModified: 2000}
	c := poller.Commit{Sent: []alert.Version{sent}, Handled: []alert.Version{parked}, Parked: []poller.Parked{{Key: parked.ID, Version: parked}}}
	if err := l.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for _, v := range []alert.Version{sent, parked} {
		if got, ok := l.Sent(v.ID); !ok || got != v {
			t.Errorf("remembered %v, want %v", got, v)
		}
	}
	if got, want := l.state.Totals(), (state.Totals{Accepted: 1, Parked: 1}); got != want {
		t.Errorf("totals %+v, want %+v", got, want)
	}
}

func TestTheLedgerNamesAParkedEntryThatIsTooLarge(t *testing.T) {
	l := testLedger(t)
	noise := make([]byte, 1<<20) // does not deflate
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	err := l.Commit(t.Context(), poller.Commit{Parked: []poller.Parked{{Key: alert.ID{1}, Payload: noise}}})
	if !errors.Is(err, poller.ErrTooLarge) {
		t.Errorf("got %v, want %v", err, poller.ErrTooLarge)
	}
	if err := l.Commit(t.Context(), poller.Commit{Parked: []poller.Parked{{Key: alert.ID{1}, Payload: noise[:1<<15]}}}); err != nil {
		t.Errorf("a smaller one: %v", err)
	}
}
