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

// After a leader's death only the group that it was writing is looked up, however many wait.
func TestANewTermLooksUpOnlyWhatWasBegun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.scom.perPoll, r.scom.perWrite = 50*time.Millisecond, 50*time.Millisecond
		r.scom.setFault(faultAll(alert.FaultTransport))
		var writes atomic.Int64
		r.scom.fate = func([]alert.ID, uint8) fate { writes.Add(1); return goesWell }
		r.begin()
		for n := range 1500 {
			r.scom.set(n, 0, 0)
			r.out.close(n)
		}
		r.pass(time.Minute)
		r.scom.setFault(nil)
		r.w.Wake()
		for writes.Load() < 5 {
			r.pass(time.Millisecond)
		}
		if err := r.stop(); err != nil { // its fifth write is under way
			t.Fatal(err)
		}
		before := r.out.pending()
		start := time.Now()
		r.begin()
		for r.out.pending() > 0 && time.Since(start) < time.Minute {
			r.pass(10 * time.Millisecond)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%d requests took %v after the change of leaders, want at most 5 s", before, took)
		}
		if n := len(r.scom.looked); n == 0 || n > maxGroup {
			t.Errorf("%d histories were read, want those of one group", n)
		}
		if before < 1000 || r.out.begun > 25 {
			t.Errorf("%d waited, and %d commits said what was begun", before, r.out.begun)
		}
		r.end()
	})
}

func TestNothingIsWrittenBeforeItIsRecordedThatItWillBe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.scom.set(1, 0, 0)
		r.begin()
		r.out.set(func() { r.out.balk = func([]Begun) error { return errors.New("no quorum") } })
		q := r.out.close(1)
		r.pass(time.Minute)
		if r.scom.writes != 0 {
			t.Error("SCOM was written to, want nothing before it is recorded")
		}
		if s := r.w.Status().Error; !strings.Contains(s, "does not record which close requests are begun: no quorum") {
			t.Errorf("the status says %q", s)
		}
		r.out.set(func() { r.out.balk = nil })
		r.pass(5 * time.Second)
		r.want(q, Done)
		if s := r.w.Status().Error; s != "" {
			t.Errorf("the status still says %q", s)
		}
		r.out.set(func() { r.out.balk = func([]Begun) error { return ErrTermOver } })
		r.out.ask(Close{Alert: id(1), State: 0})
		r.pass(time.Second)
		if err := <-r.done; !errors.Is(err, ErrTermOver) || r.scom.writes != 1 {
			t.Errorf("Run: %v after %d writes, want the term's end after one", err, r.scom.writes)
		}
		r.once()
	})
}

// Each try may fail in other words, and each was a line.
func TestARowOfFailedCommitsIsOneLineAndItsEndAnother(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.scom.set(1, 0, 0)
		r.begin()
		tries := 0
		r.out.set(func() {
			r.out.balk = func([]Begun) error {
				tries++
				return []error{errors.New("no quorum"), errors.New("no answer in 2 s")}[tries%2]
			}
		})
		q := r.out.close(1)
		r.pass(time.Minute)
		r.out.set(func() { r.out.balk = nil })
		r.pass(5 * time.Second)
		r.want(q, Done)
		r.end()
		text := r.log.String()
		if tries < 10 || strings.Count(text, "does not record it") != 1 || strings.Count(text, "records it again") != 1 {
			t.Errorf("of %d tries the log has\n%s", tries, text)
		}
	})
}

// A change of fields carries no mark. Where its outcome is unknown it is repeated only if nothing can have happened since.
func TestFieldsOfUnknownOutcome(t *testing.T) {
	ticket := []alert.Field{{Name: "TicketId", Value: "INC1"}}
	const parked = "it is not known whether SCOM has changed TicketId"
	for name, c := range map[string]struct {
		fate   fate
		since  func(a *alert.Alert) // what a person does meanwhile; nil: nothing
		keep   bool
		want   Outcome
		words  string
		ticket string
		writes int
	}{
		"arrived":                       {fate: answerLost, keep: true, want: Done, ticket: "INC1", writes: 1},
		"lost":                          {fate: requestLost, keep: true, want: Done, ticket: "INC1", writes: 1},
		"arrived, changed by a person":  {fate: answerLost, since: setTicket("INC2"), keep: true, want: Refused, words: parked, ticket: "INC2", writes: 1},
		"lost, changed by a person":     {fate: requestLost, since: setTicket("INC2"), keep: true, want: Refused, words: parked, ticket: "INC2"},
		"lost, done by a person":        {fate: requestLost, since: setTicket("INC1"), keep: true, want: Done, ticket: "INC1"},
		"arrived, with a state":         {fate: answerLost, want: Done, ticket: "INC1", writes: 1},
		"changed by a person, a state":  {fate: answerLost, since: setTicket("INC2"), want: Refused, words: "the resolution state was set to 249, but " + parked, ticket: "INC2", writes: 1},
		"arrived, another field change": {fate: answerLost, since: func(a *alert.Alert) { a.Owner = "ann" }, keep: true, want: Done, ticket: "INC1", writes: 1},
	} {
		for _, newTerm := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, new term %v", name, newTerm), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					r := newWriteRig(t)
					r.scom.set(1, 0, 0)
					r.begin()
					r.pass(time.Second)
					r.scom.get(func() { r.scom.fieldFate = func(alert.ID) fate { return c.fate } })
					q := r.out.ask(Close{Alert: id(1), State: 249, Keep: c.keep, Fields: ticket})
					r.pass(time.Second)
					if newTerm {
						if err := r.stop(); err != nil {
							t.Fatal(err)
						}
					}
					if c.since != nil {
						a, _ := r.scom.newest(id(1))
						c.since(&a)
						a.LastModified, a.LastModifiedBy = r.scom.now(), "ann"
						r.scom.put(a, 0)
					}
					r.scom.get(func() { r.scom.fieldFate = nil })
					if newTerm {
						r.begin()
					}
					r.pass(time.Minute)
					if got := r.out.outcome(q); got.Outcome != c.want && (c.want != Done || got.Outcome != Already) || !strings.HasPrefix(got.Reason, c.words) {
						t.Errorf("outcome %s %q, want %s %q", outcomeNames[got.Outcome], got.Reason, outcomeNames[c.want], c.words)
					}
					a, _ := r.scom.newest(id(1))
					if a.TicketID != c.ticket || r.scom.fielded[fmt.Sprint(id(1), " ", ticket)] != c.writes {
						t.Errorf("the ticket is %s, and was written %d times; want %s, %d", a.TicketID, r.scom.fielded[fmt.Sprint(id(1), " ", ticket)], c.ticket, c.writes)
					}
					if !c.keep {
						r.wantStates(1, 249)
					}
					r.end()
				})
			})
		}
	}
}

func setTicket(value string) func(*alert.Alert) { return func(a *alert.Alert) { a.TicketID = value } }

// The mark stands in the write of the state, and says nothing of the fields whose turn was before: what became of them must not be
// forgotten with the leader that knew.
func TestAMarkDoesNotSpeakForFields(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newWriteRig(t)
		r.scom.noFields = true // an older server
		r.scom.set(1, 0, 0)
		r.begin()
		r.pass(time.Second)
		r.out.fail = func([]Settlement) error { return ErrUnknownOutcome } // it dies between SCOM's answer and the commit
		q := r.out.ask(Close{Alert: id(1), State: 249, Fields: []alert.Field{{Name: "TicketId", Value: "INC1"}}})
		r.pass(time.Second)
		if err := <-r.done; !errors.Is(err, ErrUnknownOutcome) {
			t.Fatalf("Run: %v, want that the term is over", err)
		}
		r.out.fail = nil
		r.begin()
		r.pass(10 * time.Second)
		r.want(q, Refused, "the resolution state was set to 249, but it is not known whether SCOM has changed TicketId")
		r.wantStates(1, 249)
		r.end()
	})
}
