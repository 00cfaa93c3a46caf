package poller

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"scomconnector/poller/alert"
)

func TestClosesOfABurstShareOneWriteWhoseCommentCarriesEveryMark(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		var asked []string
		r.begin()
		r.pass(time.Second)
		r.scom.perWrite = time.Second
		for n := range 51 {
			r.scom.set(n, 0, 0)
			asked = append(asked, r.out.close(n))
		}
		r.pass(10 * time.Second)
		for n, q := range asked {
			r.want(q, Done)
			if c := r.scom.comments[id(n)]; len(c) != 1 || !strings.Contains(c[0], "[sc:"+q+"]") || len(c[0]) > maxComment {
				t.Errorf("alert %d: comments %q, want one with the mark of %s", n, c, q)
			}
		}
		if r.scom.writes > 2 {
			t.Errorf("%d writes for 51 closes, want at most 2: the first that came, and the others", r.scom.writes)
		}
		r.end()
	})
}

func TestWhatScomShowsAlreadyIsNotWritten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.scom.set(1, 255, 0)
		r.begin()
		q := r.out.close(1)
		r.pass(time.Second)
		r.want(q, Already)
		if s := r.out.outcome(q); s.Reason != "" {
			t.Errorf("reason %q of an alert that SCOM shows closed, want none", s.Reason)
		}
		r.wantStates(1)
		r.end()
	})
}

func TestCloseReopenCloseOfOneAlertArriveInOrderAndEachOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.scom.set(1, 0, 0)
		r.begin()
		var asked []string
		for _, state := range []uint8{255, 0, 255, 249, 255} {
			asked = append(asked, r.out.ask(Close{Alert: id(1), State: state}))
		}
		r.pass(30 * time.Second)
		for _, q := range asked {
			r.want(q, Done)
		}
		r.wantStates(1, 255, 0, 255, 249, 255)
		r.end()
	})
}

func TestARowShownLateDoesNotPassForTheStateAskedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		v := r.scom.set(1, 0, 0)
		r.begin()
		r.out.close(1)
		r.pass(time.Second)
		// SCOM shows the alert once more as it was before our close.
		r.scom.mu.Lock()
		r.scom.alerts[id(1)] = r.scom.alerts[id(1)][:1]
		r.scom.mu.Unlock()
		q := r.out.ask(Close{Alert: id(1), State: v.State})
		r.pass(time.Second)
		r.want(q, Done)
		r.wantStates(1, 255, 0)
		r.end()
	})
}

func TestAWriteWhoseAnswerWasLostIsFoundAndNotRepeated(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprint("reopened by a person meanwhile ", late), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newWriteRig(t)
				r.scom.set(1, 0, 0)
				var lost atomic.Bool
				r.scom.fate = func([]alert.ID, uint8) fate {
					if !lost.Swap(true) {
						return answerLost
					}
					return goesWell
				}
				r.begin()
				q := r.out.close(1)
				r.pass(time.Second)
				if late {
					r.scom.set(1, 0, 0) // a person has another opinion
				}
				if r.w.Status().Error == "" {
					t.Error("the status does not say why nothing moves")
				}
				r.pass(2 * time.Minute)
				r.want(q, Done)
				r.wantStates(1, 255)
				r.end()
			})
		})
	}
}

func TestAWriteThatNeverArrivedIsRepeated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		var tries atomic.Int32
		r.scom.fate = func([]alert.ID, uint8) fate {
			if tries.Add(1) <= 3 {
				return requestLost
			}
			return goesWell
		}
		r.begin()
		var asked []string
		for n := range 20 {
			r.scom.set(n, 0, 0)
			asked = append(asked, r.out.close(n))
		}
		r.pass(10 * time.Minute)
		for _, q := range asked {
			r.want(q, Done)
		}
		r.end()
	})
}

func TestANewTermLooksUpWhatTheOneBeforeMayHaveWritten(t *testing.T) {
	for _, marks := range []bool{true, false} {
		t.Run(fmt.Sprint("histories ", marks), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newWriteRig(t)
				r.scom.noMarks = !marks
				r.scom.set(1, 0, 0)
				r.scom.set(2, 0, 0)
				r.begin()
				r.pass(time.Second)
				r.out.fail = func([]Settlement) error { return ErrUnknownOutcome } // it dies between SCOM's answer and the commit
				q1, q2 := r.out.close(1), ""
				r.pass(time.Second)
				if err := <-r.done; !errors.Is(err, ErrUnknownOutcome) {
					t.Fatalf("Run: %v, want that the term is over", err)
				}
				r.out.fail = nil
				q2 = r.out.close(2)
				if marks {
					r.scom.set(1, 0, 0) // reopened by a person: our close must not come again
				}
				r.begin()
				r.pass(10 * time.Second)
				r.want(q2, Done)
				if marks {
					r.want(q1, Done)
				} else {
					r.want(q1, Already) // the state alone decides
				}
				r.wantStates(1, 255)
				r.end()
			})
		})
	}
}

func TestARequestOfThisTermNeedsNoHistory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.scom.set(1, 0, 0)
		r.begin()
		r.pass(time.Second)
		q := r.out.close(1)
		r.pass(time.Second)
		r.want(q, Done)
		if r.scom.looked[id(1)] != 0 {
			t.Error("a history was read, want none: nobody can have written it")
		}
		r.end()
	})
}

func TestFiveThousandClosesWaitOutAnHourAndAreDrainedWithinTenSeconds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.scom.setFault(faultAll(alert.FaultTransport))
		r.scom.perPoll, r.scom.perWrite = 20*time.Millisecond, 50*time.Millisecond
		r.begin()
		for n := range 5000 {
			r.scom.set(n, 0, 0)
			r.out.close(n)
		}
		r.pass(time.Hour)
		if n := r.out.pending(); n != 5000 || len(r.out.settled) != 0 {
			t.Fatalf("%d wait, %d are settled; want all to wait", n, len(r.out.settled))
		}
		asked := r.scom.asked
		if asked > 3600/10 {
			t.Errorf("SCOM was asked %d times in an hour, want a back-off", asked)
		}
		s := r.w.Stands(r.out.Waiting(1))
		if len(s) != 1 || !strings.Contains(s[0], "waiting for SCOM since") {
			t.Errorf("it stands: %q", s)
		}
		r.scom.setFault(nil)
		r.w.Wake() // a poll has succeeded
		r.pass(10 * time.Second)
		if n := r.out.pending(); n != 0 {
			t.Errorf("%d still wait ten seconds after SCOM is back", n)
		}
		if r.w.Status().Error != "" {
			t.Errorf("the status still says %q", r.w.Status().Error)
		}
		r.end()
	})
}

// A request that came while SCOM was away has not waited since before it was there.
func TestARequestWaitsSinceItCame(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.scom.setFault(faultAll(alert.FaultTransport))
		r.begin()
		r.scom.set(1, 0, 0)
		r.out.close(1)
		r.pass(time.Minute)
		since := r.w.Status().Since
		came := time.Now().UTC()
		got := r.w.Stands([]Close{{ID: "a", Alert: id(1), At: since.Add(-time.Second)}, {ID: "b", Alert: id(2), At: came}})
		for i, at := range []time.Time{since, came} {
			if want := "waiting for SCOM since " + at.Format("Jan 2 15:04:05 UTC"); got[i] != want {
				t.Errorf("request %d: %q, want %q", i, got[i], want)
			}
		}
		r.scom.setFault(nil)
		r.pass(time.Hour)
		r.end()
	})
}

func TestScomAwayForDaysParksNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.scom.set(1, 0, 0)
		var back atomic.Bool
		r.scom.fate = func([]alert.ID, uint8) fate {
			if back.Load() {
				return goesWell
			}
			return requestLost
		}
		r.begin()
		q := r.out.close(1)
		r.pass(72 * time.Hour)
		r.want(q, 0)
		back.Store(true)
		r.pass(3 * time.Minute)
		r.want(q, Done)
		r.end()
	})
}

func TestAnAlertThatScomCannotChangeHoldsUpNoOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.scom.fate = func(ids []alert.ID, _ uint8) fate {
			for _, i := range ids {
				if i == id(0) {
					return requestLost
				}
			}
			return goesWell
		}
		r.begin()
		r.pass(time.Second)
		var asked []string
		for n := range 40 {
			r.scom.set(n, 0, 0)
			asked = append(asked, r.out.close(n))
		}
		r.pass(10 * time.Minute)
		for _, q := range asked[1:] {
			r.want(q, Done)
		}
		r.want(asked[0], 0)
		if s := r.w.Stands(r.out.Waiting(10)); len(s) != 1 || !strings.Contains(s[0], "no answer from SCOM") {
			t.Errorf("the one that waits stands: %q", s)
		}
		r.end()
	})
}

func TestDrainFinishesTheWriteUnderWayAndBeginsNoOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.scom.perWrite = 3 * time.Second
		r.scom.set(1, 0, 0)
		r.scom.set(2, 0, 0)
		r.begin()
		r.pass(time.Second)
		q1 := r.out.close(1)
		r.pass(time.Second)
		q2 := r.out.close(2)
		r.w.Drain()
		r.pass(5 * time.Second)
		if err := <-r.done; err != nil {
			t.Errorf("Run after Drain: %v", err)
		}
		r.want(q1, Done)
		r.want(q2, 0)
		r.wantStates(2)
		r.once()
	})
}

func TestWhatScomHasTakenIsRecordedAlsoWhenTheContextEndsMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.scom.set(1, 0, 0)
		r.begin()
		r.pass(time.Second)
		r.out.fail = func([]Settlement) error { return errors.New("no quorum") }
		q := r.out.close(1)
		r.pass(5 * time.Second)
		if s := r.w.Status(); !strings.Contains(s.Error, "no quorum") {
			t.Errorf("status %q, want why nothing is recorded", s.Error)
		}
		r.out.mu.Lock()
		r.out.fail = nil
		r.out.mu.Unlock()
		r.pass(2 * time.Second)
		r.want(q, Done)
		r.wantStates(1, 255)
		r.end()
	})
}

func TestEveryRequestIsSettledOrWaitsWhateverScomDoes(t *testing.T) {
	for seed := range uint64(30) {
		bubble(t, func(t *testing.T) { chaos(t, seed) })
	}
}
