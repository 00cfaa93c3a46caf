package state

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

const pauseOfTests = 5 * time.Minute

func begun(at time.Time) NoteLogon {
	return NoteLogon{Account: `CONTOSO\svc`, Secret: 7, Event: LogonBegun, At: at, Until: at.Add(pauseOfTests), Node: "primary"}
}

func refusedAt(at time.Time) NoteLogon {
	return NoteLogon{Account: `CONTOSO\svc`, Secret: 7, Event: LogonRefused, At: at, Until: at.Add(pauseOfTests), Reason: "HTTP 401", Console: "scom1", Node: "primary"}
}

// A refused secret may not be tried before its time, by nobody, and another secret may at once.
func TestRefusedSecretIsLeftAlone(t *testing.T) {
	s := started(t)
	mustApply(t, s, 1, begun(t0))
	mustApply(t, s, 1, refusedAt(t0))
	mustRefuse(t, s, 1, begun(t0.Add(pauseOfTests-1)), ErrStale)
	other := begun(t0)
	other.Secret = 8
	mustApply(t, s, 1, other)
	mustApply(t, s, 1, begun(t0.Add(pauseOfTests)))
	mustApply(t, s, 1, refusedAt(t0.Add(pauseOfTests)))
	if l, ok := s.Logon(`contoso\SVC`, 7); !ok || l.Refused != 2 || l.Open != 0 || !l.Until.Equal(t0.Add(2*pauseOfTests)) || l.Reason != "HTTP 401" {
		t.Errorf("got %+v", l)
	}
	mustApply(t, s, 1, NoteLogon{Account: `CONTOSO\svc`, Secret: 7, Event: LogonAccepted, At: t0})
	if l, ok := s.Logon(`CONTOSO\svc`, 7); ok {
		t.Errorf("after it was accepted there stands %+v", l)
	}
}

// Two tries in a row whose outcome nobody has seen count as a refusal: a node that dies at each log-on must not lock the account.
func TestTriesWithoutAnOutcomeCount(t *testing.T) {
	s := started(t)
	mustApply(t, s, 1, begun(t0))
	mustApply(t, s, 1, begun(t0.Add(time.Second)))
	mustRefuse(t, s, 1, begun(t0.Add(2*time.Second)), ErrStale)
	mustApply(t, s, 1, begun(t0.Add(time.Second+pauseOfTests)))
	mustRefuse(t, s, 1, begun(t0.Add(2*time.Second+pauseOfTests)), ErrStale)
}

// A try that nobody has judged counts for nothing, and takes nothing away from what others have seen.
func TestATryThatNobodyJudgedIsTakenBack(t *testing.T) {
	unjudged := func(at time.Time) NoteLogon {
		return NoteLogon{Account: `CONTOSO\svc`, Secret: 7, Event: LogonUnjudged, At: at, Node: "primary"}
	}
	s := started(t)
	for i := range 5 {
		at := t0.Add(time.Duration(i) * time.Second)
		mustApply(t, s, 1, begun(at))
		mustApply(t, s, 1, unjudged(at))
	}
	if l, ok := s.Logon(`CONTOSO\svc`, 7); ok {
		t.Errorf("there stands %+v", l)
	}
	mustApply(t, s, 1, begun(t0)) // who did not live to see its outcome
	mustApply(t, s, 1, begun(t0))
	mustApply(t, s, 1, unjudged(t0))
	mustApply(t, s, 1, begun(t0))
	mustRefuse(t, s, 1, begun(t0.Add(time.Second)), ErrStale)

	s = started(t)
	mustApply(t, s, 1, begun(t0))
	mustApply(t, s, 1, refusedAt(t0))
	mustApply(t, s, 1, unjudged(t0))
	mustRefuse(t, s, 1, begun(t0.Add(pauseOfTests-1)), ErrStale)
	mustApply(t, s, 1, begun(t0.Add(pauseOfTests)))
	mustApply(t, s, 1, unjudged(t0.Add(pauseOfTests)))
	if l, _ := s.Logon(`CONTOSO\svc`, 7); l.Refused != 1 || l.Open != 0 || !l.At.Equal(t0) {
		t.Errorf("got %+v, want the refusal as it was", l)
	}
}

func TestLogonsAreBoundedAndForgotten(t *testing.T) {
	s := started(t)
	for i := range maxLogons + 5 {
		op := refusedAt(t0.Add(time.Duration(i) * time.Second))
		op.Account = fmt.Sprint("a", i)
		mustApply(t, s, 1, op)
	}
	if n := len(s.Logons()); n != maxLogons {
		t.Errorf("%d are kept, want %d", n, maxLogons)
	}
	if _, ok := s.Logon("a4", 7); ok {
		t.Error("the oldest is still there")
	}
	mustApply(t, s, 1, refusedAt(t0.Add(48*time.Hour)))
	if n := len(s.Logons()); n != 1 {
		t.Errorf("two days later %d are kept, want the new one alone", n)
	}
}

// What a yielding node knows to be refused is refused on the other side, too, and may be told twice.
func TestMergeCarriesRefusals(t *testing.T) {
	yielded, s := started(t), started(t)
	mustApply(t, yielded, 1, begun(t0))
	mustApply(t, yielded, 1, refusedAt(t0))
	for range 2 {
		for _, op := range Merge("primary", yielded, t0) {
			mustApply(t, s, 1, op)
		}
	}
	if l, _ := s.Logon(`CONTOSO\svc`, 7); l.Refused != 1 || !l.Until.Equal(t0.Add(pauseOfTests)) {
		t.Errorf("got %+v", l)
	}
}

func TestLogonsAreChecked(t *testing.T) {
	for _, op := range []NoteLogon{{}, {Account: "a"}, {Account: "a", Event: 5}, {Event: LogonBegun}} {
		if _, err := Encode(Command{Token: tok(1), Op: op}); err == nil {
			t.Errorf("%+v is taken", op)
		}
	}
	b, err := Encode(Command{Token: tok(1), Op: refusedAt(t0)})
	if _, err2 := Decode(b[:len(b)-1]); err != nil || err2 == nil || errors.Is(err2, ErrUnknownCommand) {
		t.Errorf("got %v, %v", err, err2)
	}
}
