package poller

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"scomconnector/poller/alert"
)

var unhealthy = alert.Objection{Kind: alert.ObjectionUnhealthy, Text: "the monitor that has generated this alert is still unhealthy"}

func TestAnUnhealthyMonitorsAlertIsReportedInScomsWords(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.scom.set(1, 0, 0)
		r.scom.set(2, 0, 0)
		r.scom.object[id(1)] = []alert.Objection{unhealthy}
		r.begin()
		q1, q2 := r.out.close(1), r.out.close(2)
		r.pass(time.Second)
		r.want(q1, Refused, "still unhealthy")
		r.want(q2, Done)
		if len(r.scom.resets) != 0 {
			t.Error("a monitor was reset, want a report only")
		}
		r.end()
	})
}

func TestAnUnhealthyMonitorIsResetWhereTheSettingsSaySo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.cfg.ResetMonitors = true
		for n := range 3 {
			r.scom.set(n, 0, 0)
		}
		r.scom.object[id(1)] = []alert.Objection{unhealthy} // stays so
		r.begin()
		q := r.out.close(1)
		r.pass(time.Minute)
		r.want(q, Refused, "still unhealthy", "was reset")
		if n := r.scom.resets[id(1)]; n != 1 {
			t.Errorf("the monitor was reset %d times, want once", n)
		}
		r.scom.get(func() { r.scom.object[id(2)] = []alert.Objection{unhealthy, unhealthy, {}} })
		q = r.out.close(2)
		r.pass(1500 * time.Millisecond)
		r.scom.get(func() { delete(r.scom.object, id(2)) }) // the monitor is healthy by then
		r.pass(10 * time.Second)
		r.want(q, Done)
		r.wantStates(2, 255)
		r.scom.noReset = true
		r.scom.get(func() { r.scom.object[id(0)] = []alert.Objection{unhealthy} })
		q = r.out.close(0)
		r.pass(time.Second)
		r.want(q, Refused, "still unhealthy", "cannot reset a monitor")
		r.end()
	})
}

func TestAnAlertThatTheResetMonitorClosesItselfIsDone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.cfg.ResetMonitors = true
		r.scom.set(1, 0, 0)
		r.scom.object[id(1)] = []alert.Objection{unhealthy}
		r.begin()
		q := r.out.close(1)
		r.pass(500 * time.Millisecond)
		r.scom.set(1, 255, 0) // the monitor's own verdict
		r.pass(5 * time.Second)
		r.want(q, Done)
		r.wantStates(1)
		r.end()
	})
}

func TestWhatPassesIsTriedAgainInOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.scom.set(1, 0, 0)
		r.scom.object[id(1)] = []alert.Objection{{Kind: alert.ObjectionPassing, Text: "the SDK service is not running"}}
		r.begin()
		q1 := r.out.close(1)
		q2 := r.out.ask(Close{Alert: id(1), State: 0})
		r.pass(time.Hour)
		r.want(q1, 0)
		r.want(q2, 0)
		if s := r.w.Stands(r.out.Waiting(10)); !strings.Contains(s[0], "SDK service") || s[1] != "waiting behind 1 of the same alert" {
			t.Errorf("they stand: %q", s)
		}
		r.scom.get(func() { delete(r.scom.object, id(1)) })
		r.pass(3 * time.Minute)
		r.want(q1, Done)
		r.want(q2, Done)
		r.wantStates(1, 255, 0)
		r.end()
	})
}

func TestAnObjectionThatNobodyCanClassIsFinalAfterSomeTries(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.scom.set(1, 0, 0)
		r.scom.set(2, 0, 0)
		odd := alert.Objection{Text: "something odd"}
		r.scom.object[id(1)] = []alert.Objection{odd}
		r.scom.object[id(2)] = []alert.Objection{odd}
		r.begin()
		q1, q2 := r.out.close(1), r.out.close(2)
		r.pass(time.Second)
		r.want(q1, 0)
		r.scom.get(func() { delete(r.scom.object, id(2)) })
		r.pass(20 * time.Second)
		r.want(q1, Refused, "something odd")
		r.want(q2, Done)
		r.end()
	})
}

func TestARefusalThatNamesNoAlertFindsTheGuiltyOne(t *testing.T) {
	for name, bad := range map[string]fate{"a vague answer": goesWell, "a bad request": badRequest} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newWriteRig(t)
				if bad == goesWell {
					r.scom.vague = true
					r.scom.object[id(7)] = []alert.Objection{{Text: "no"}}
				} else {
					r.scom.fate = func(ids []alert.ID, _ uint8) fate {
						if slices.Contains(ids, id(7)) {
							return bad
						}
						return goesWell
					}
				}
				r.begin()
				var asked []string
				for n := range 30 {
					r.scom.set(n, 0, 0)
					asked = append(asked, r.out.close(n))
				}
				r.pass(time.Minute)
				for n, q := range asked {
					if n == 7 {
						r.want(q, Refused)
					} else {
						r.want(q, Done)
					}
				}
				r.end()
			})
		})
	}
}

func TestAnAlertThatIsGoneCountsAsClosedAndNothingElse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.begin()
		q1 := r.out.close(1)
		q2 := r.out.ask(Close{Alert: id(2), State: 249})
		q3 := r.out.ask(Close{Alert: id(3), Keep: true, Fields: []alert.Field{{Name: "TicketId", Value: "INC1"}}})
		r.pass(30 * time.Second)
		r.want(q1, Already, "unknown to SCOM", "never had this alert", "has removed it since it was closed")
		count := func(o string) float64 { return testutil.ToFloat64(r.w.metrics.settled.WithLabelValues(o)) }
		if count("unknown_alert") != 1 || count("already_closed") != 0 {
			t.Errorf("unknown alerts %v, already closed %v; want 1 and 0", count("unknown_alert"), count("already_closed"))
		}
		r.want(q2, Refused, "does not show this alert")
		r.want(q3, Refused, "does not show this alert")
		r.end()
	})
}

func TestScomsNotFoundIsNotBelievedOfAnAlertThatItShows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.scom.set(1, 0, 0)
		r.scom.object[id(1)] = []alert.Objection{{Kind: alert.ObjectionNoAlert, Text: "user was not found"}}
		r.begin()
		q := r.out.close(1)
		r.pass(time.Minute)
		r.want(q, Refused, "user was not found")
		r.end()
	})
}

func TestFieldsAreChangedBesideTheState(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.scom.set(1, 0, 0)
		r.scom.set(2, 0, 0)
		r.begin()
		ticket := []alert.Field{{Name: "TicketId", Value: "INC1"}}
		q1 := r.out.ask(Close{Alert: id(1), State: 255, Fields: ticket})
		r.pass(time.Second)
		r.want(q1, Done)
		q2 := r.out.ask(Close{Alert: id(1), State: 255, Fields: ticket})
		r.pass(time.Second)
		r.want(q2, Already)
		q3 := r.out.ask(Close{Alert: id(2), Keep: true, Comment: "see the ticket", Fields: ticket})
		r.pass(time.Second)
		r.want(q3, Done)
		r.wantStates(1, 255)
		r.wantStates(2, 0)
		if c := r.scom.comments[id(2)]; len(c) != 1 || c[0] != "see the ticket [sc:"+q3+"]" {
			t.Errorf("comments %q", c)
		}
		if a, _ := r.scom.newest(id(2)); a.TicketID != "INC1" || a.ResolutionState != 0 {
			t.Errorf("alert 2: %+v", a)
		}
		r.scom.noFields = true
		q4 := r.out.ask(Close{Alert: id(2), State: 255, Fields: ticket})
		r.pass(time.Second)
		r.want(q4, Refused, "state was set to 255", "cannot change TicketId")
		r.wantStates(2, 0, 255)
		r.end()
	})
}

func TestFullParkedRequestsHoldUpOnlyWhatIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		for n := range 3 {
			r.scom.set(n, 0, 0)
		}
		r.scom.object[id(0)] = []alert.Objection{unhealthy}
		r.scom.object[id(1)] = []alert.Objection{unhealthy}
		r.out.fail = func(s []Settlement) error {
			if slices.ContainsFunc(s, func(s Settlement) bool { return s.Outcome == Refused }) {
				return ErrParkedFull
			}
			return nil
		}
		r.begin()
		q0, q1, q2 := r.out.close(0), r.out.close(1), r.out.close(2)
		r.pass(time.Minute)
		r.want(q0, 0)
		r.want(q1, 0)
		r.want(q2, Done)
		if s := r.w.Status(); !strings.Contains(s.Blocked, "parked list") {
			t.Errorf("status %+v, want what to do", s)
		}
		if r.scom.writes > 3 {
			t.Errorf("%d writes, want SCOM to be left alone with what it has refused", r.scom.writes)
		}
		r.out.mu.Lock()
		r.out.fail = nil
		r.out.mu.Unlock()
		r.pass(10 * time.Second)
		r.want(q0, Refused, "unhealthy")
		r.want(q1, Refused, "unhealthy")
		if s := r.w.Status(); s.Blocked != "" {
			t.Errorf("still blocked: %s", s.Blocked)
		}
		r.end()
	})
}

func TestTheTermsEndEndsTheWriteback(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.scom.set(1, 0, 0)
		r.begin()
		r.out.fail = func([]Settlement) error { return ErrTermOver }
		r.out.close(1)
		r.pass(time.Second)
		if err := <-r.done; !errors.Is(err, ErrTermOver) {
			t.Errorf("Run: %v, want that the term is over", err)
		}
	})
}

// echoRig runs a pipeline and a writeback on the same SCOM.
func echoRig(t *testing.T) (*rig, *writeRig) {
	wr := newWriteRig(t)
	r := newRig(t, nil)
	r.scom = wr.scom.fakeSCOM
	r.echo = func(a *alert.Alert, old alert.Version) bool { return wr.w.Echo(a, old) }
	wr.begin()
	return r, wr
}

func TestTheEchoOfOurOwnCloseIsNotSentAndAPersonsChangeRightAfterIs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, wr := echoRig(t)
		r.scom.set(1, 0, 0)
		r.scom.set(2, 0, 0)
		r.begin()
		r.pass(10 * time.Second)
		wr.out.close(1)
		wr.out.close(2)
		r.pass(50 * time.Millisecond)
		r.scom.put(alert.Alert{ID: id(2), LastModified: r.scom.now(), ResolutionState: 0, Name: "disk full", LastModifiedBy: `CONTOSO\jensen`}, 0)
		r.pass(time.Minute)
		r.end()
		wr.end()
		var closed, reopened int
		for _, x := range r.lam.taken() {
			if x.v.State == 255 {
				closed++
			} else if x.v.ID == id(2) {
				reopened++
			}
		}
		if closed != 0 {
			t.Errorf("%d closes of our own were sent, want none", closed)
		}
		if reopened != 2 {
			t.Errorf("alert 2 was sent %d times as open, want twice: raised, and reopened by a person", reopened)
		}
		if v := r.state.sent[id(1)]; v.State != 255 {
			t.Errorf("the echo is not recorded: %v", show(v))
		}
	})
}

func TestWhatAPersonChangedJustBeforeOurWriteIsSentWithIt(t *testing.T) {
	for what, unseen := range map[string]bool{"not polled yet": true, "polled": false} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r, wr := echoRig(t)
				r.scom.set(1, 0, 0)
				r.begin()
				r.pass(10 * time.Second)
				r.scom.put(alert.Alert{ID: id(1), LastModified: r.scom.now(), Owner: "jensen", Name: "disk full", LastModifiedBy: `CONTOSO\jensen`}, 0)
				if !unseen {
					r.pass(20 * time.Second)
				}
				wr.out.close(1)
				r.pass(time.Minute)
				r.end()
				wr.end()
				sent := r.lam.taken()
				if got := sent[len(sent)-1].v.State == 255; got != unseen {
					t.Errorf("the close was sent: %v, want %v", got, unseen)
				}
			})
		})
	}
}

func TestTheSameStateByTheSameAccountLaterIsNoEcho(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var e echoes
		e.init()
		began := time.Now()
		date := alert.MillisOf(began)
		before := alert.Alert{ID: id(1), LastModified: began.Add(-time.Hour), Name: "disk full"}
		now := shownNow{alerts: map[alert.ID]*alert.Alert{id(1): &before}, date: date, began: began}
		e.begin(now, Close{Alert: id(1), State: 255}, 255, ourAccount)
		row := before
		row.ResolutionState, row.LastModifiedBy = 255, strings.ToUpper(ourAccount)
		check := func(what string, want bool, change func(*alert.Alert, *alert.Version)) {
			t.Helper()
			a, old := row, before.Version()
			a.LastModified = began.Add(time.Second)
			change(&a, &old)
			if got := e.match(&a, old); got != want {
				t.Errorf("%s: echo %v, want %v", what, got, want)
			}
		}
		check("while the write is under way", true, func(*alert.Alert, *alert.Version) {})
		time.Sleep(time.Second)
		e.end(id(1), now)
		check("within the write", true, func(*alert.Alert, *alert.Version) {})
		check("a minute later", false, func(a *alert.Alert, _ *alert.Version) { a.LastModified = began.Add(time.Minute) })
		check("before the write", false, func(a *alert.Alert, _ *alert.Version) { a.LastModified = began.Add(-time.Minute) })
		check("by a person", false, func(a *alert.Alert, _ *alert.Version) { a.LastModifiedBy = "jensen" })
		check("another state", false, func(a *alert.Alert, _ *alert.Version) { a.ResolutionState = 0 })
		check("with another owner", false, func(a *alert.Alert, _ *alert.Version) { a.Owner = "jensen" })
		check("with a repeat", false, func(a *alert.Alert, _ *alert.Version) { a.RepeatCount++ })
		check("over a version that was not sent", false, func(_ *alert.Alert, old *alert.Version) { old.LastModified-- })
	})
}

func BenchmarkHeadsOfAFullOutbox(b *testing.B) {
	out := newOutbox()
	for n := range 100_000 {
		out.waiting = append(out.waiting, Close{ID: "x", Alert: id(n), State: 255})
	}
	w := NewWriteback(WritebackConfig{}, WritebackDeps{Outbox: out, Rand: rand.Float64})
	for b.Loop() {
		if heads, _ := w.heads(time.Now()); len(w.group(heads)) < 50 {
			b.Fatal("no group")
		}
	}
}

func TestSettledRequestsAreCountedByOutcomeOnceTheyAreRecorded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		for n := range 3 {
			r.scom.set(n, uint8(n/2*255), 0)
		}
		r.scom.object[id(1)] = []alert.Objection{unhealthy}
		r.begin()
		r.out.fail = func([]Settlement) error { return errors.New("no quorum") }
		for n := range 3 {
			r.out.close(n)
		}
		r.pass(3 * time.Second)
		count := func(o string) float64 { return testutil.ToFloat64(r.w.metrics.settled.WithLabelValues(o)) }
		if n := count("closed") + count("already_closed") + count("refused"); n != 0 {
			t.Errorf("%v counted before anything is recorded", n)
		}
		r.out.mu.Lock()
		r.out.fail = nil
		r.out.mu.Unlock()
		r.pass(5 * time.Second)
		if count("closed") != 1 || count("already_closed") != 1 || count("refused") != 1 {
			t.Errorf("done %v, already %v, refused %v; want one each", count("closed"), count("already_closed"), count("refused"))
		}
		r.end()
	})
}
