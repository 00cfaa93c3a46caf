package state

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Logon is what stands against logging on to SCOM with one secret of an account: that it was refused, or is being tried.
type Logon struct {
	Account string // as people write it; case does not count
	// Secret tells the account's secrets apart. It has few bits on purpose: they must not help to guess a password.
	Secret  uint16
	Refused uint64    // how often in a row
	Open    uint64    // tries since the last outcome that nobody knows the outcome of
	At      time.Time // of the last refusal; without one, of the first try
	Until   time.Time // nobody tries before; zero: anybody may
	Reason  string    // the console's words
	Console string
	Node    string // that was refused
}

// LogonEvent is what NoteLogon tells of.
type LogonEvent uint8

// The events of a log-on.
const (
	LogonBegun    LogonEvent = iota + 1 // it is about to be tried
	LogonRefused                        // the console has refused it
	LogonAccepted                       // the console has accepted it: nothing stands against it any more
	LogonUnjudged                       // nobody has looked at it, such as behind a wrong URL: as if it had not been tried
)

// NoteLogon tells all nodes of a log-on at SCOM, so that none tries again what was refused a minute ago. Begun is refused with
// ErrStale where nobody may try, and counts as a refusal until Until if the try before had no outcome either. A refusal that is
// known already, by its time, changes nothing.
type NoteLogon struct {
	Account string
	Secret  uint16
	Event   LogonEvent
	At      time.Time
	Until   time.Time // for LogonBegun and LogonRefused
	Reason  string
	Console string
	Node    string
}

// unknownOutcomes is how many tries in a row may end without anybody seeing how: a node was killed in the middle.
const unknownOutcomes = 2

// Logons lists what stands against logging on, by account and secret.
func (s *State) Logons() []Logon {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.logons)
}

// Logon is what stands against logging on with that secret; ok is false if nothing does.
func (s *State) Logon(account string, secret uint16) (l Logon, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, ok := s.logon(account, secret)
	if !ok {
		return Logon{}, false
	}
	return s.logons[i], true
}

func compareLogons(l Logon, m Logon) int {
	return cmp.Or(strings.Compare(strings.ToLower(l.Account), strings.ToLower(m.Account)), cmp.Compare(l.Secret, m.Secret))
}

func (s *State) logon(account string, secret uint16) (int, bool) {
	return slices.BinarySearchFunc(s.logons, Logon{Account: account, Secret: secret}, compareLogons)
}

func (s *State) noteLogon(op *NoteLogon) (Result, Parts) {
	i, known := s.logon(op.Account, op.Secret)
	if op.Event == LogonAccepted {
		if !known {
			return Result{}, nil
		}
		s.logons = slices.Delete(slices.Clone(s.logons), i, i+1)
		return Result{}, partsOf(Part{Kind: PartLogons})
	}
	l := Logon{Account: op.Account, Secret: op.Secret, At: op.At}
	if known {
		l = s.logons[i]
	}
	if op.Event == LogonUnjudged {
		return s.takeBack(l, op.At)
	}
	switch {
	case op.Event == LogonBegun && l.Until.After(op.At):
		return refuse(ErrStale)
	case op.Event == LogonBegun:
		if l.Open++; l.Open >= unknownOutcomes {
			l.Until = op.Until
		}
	case l.Refused > 0 && !op.At.After(l.At):
		return Result{}, nil
	default:
		l = Logon{Account: op.Account, Secret: op.Secret, Refused: l.Refused + 1, At: op.At, Until: op.Until,
			Reason: clip(op.Reason), Console: op.Console, Node: op.Node}
	}
	s.putLogon(l, op.At)
	return Result{}, partsOf(Part{Kind: PartLogons})
}

// takeBack ends a try without an outcome, and the pause that it began.
func (s *State) takeBack(l Logon, now time.Time) (Result, Parts) {
	if l.Open == 0 { // refused meanwhile, or accepted
		return Result{}, nil
	}
	l.Open--
	if l.Until.After(now) {
		l.Until = now
	}
	if l.Open == 0 && l.Refused == 0 {
		i, _ := s.logon(l.Account, l.Secret)
		s.logons = slices.Delete(slices.Clone(s.logons), i, i+1)
	} else {
		s.putLogon(l, now)
	}
	return Result{}, partsOf(Part{Kind: PartLogons})
}

// putLogon keeps l. What is a day out of date goes, and the oldest where there are too many: accounts are few, and their secrets
// change seldom.
func (s *State) putLogon(l Logon, now time.Time) {
	list := slices.DeleteFunc(slices.Clone(s.logons), func(o Logon) bool {
		return compareLogons(o, l) == 0 || now.Sub(latest(o.At, o.Until)) > keepLogons
	})
	if len(list) >= maxLogons {
		oldest := 0
		for i := range list {
			if list[i].At.Before(list[oldest].At) {
				oldest = i
			}
		}
		list = slices.Delete(list, oldest, oldest+1)
	}
	i, _ := slices.BinarySearchFunc(list, l, compareLogons)
	s.logons = slices.Insert(list, i, l)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func validateLogon(op *NoteLogon) error {
	if op.Event < LogonBegun || op.Event > LogonUnjudged {
		return fmt.Errorf("%d is nothing that happens to a log-on", op.Event)
	}
	return errors.Join(checkName("account", op.Account), checkOptionalName("console", op.Console), checkOptionalName("node", op.Node),
		checkTime(op.At), checkTime(op.Until))
}

func appendNoteLogon(b []byte, op *NoteLogon) []byte {
	b = appendString(b, op.Account)
	b = binary.AppendUvarint(b, uint64(op.Secret))
	b = append(b, byte(op.Event))
	b = appendTime(b, op.At)
	b = appendTime(b, op.Until)
	b = appendString(b, op.Reason)
	b = appendString(b, op.Console)
	return appendString(b, op.Node)
}

// noteLogon reads a NoteLogon of kind k.
func (r *reader) noteLogon(k kind) NoteLogon {
	op := NoteLogon{Account: r.string(), Secret: r.secret(), Event: LogonEvent(r.byte()), At: r.time(), Until: r.time(),
		Reason: r.string(), Console: r.string(), Node: r.string()}
	if op.kind() != k {
		r.fail(errNumber)
	}
	return op
}

func (r *reader) secret() uint16 {
	n := r.uvarint()
	if n > 1<<16-1 {
		r.fail(errNumber)
	}
	return uint16(n)
}

func appendLogon(b []byte, l *Logon) []byte {
	b = appendString(b, l.Account)
	b = binary.AppendUvarint(b, uint64(l.Secret))
	b = binary.AppendUvarint(b, l.Refused)
	b = binary.AppendUvarint(b, l.Open)
	b = appendTime(b, l.At)
	b = appendTime(b, l.Until)
	b = appendString(b, l.Reason)
	b = appendString(b, l.Console)
	return appendString(b, l.Node)
}

func (r *reader) logon() Logon {
	return Logon{Account: r.string(), Secret: r.secret(), Refused: r.uvarint(), Open: r.uvarint(), At: r.time(), Until: r.time(),
		Reason: r.string(), Console: r.string(), Node: r.string()}
}

func (in *recordReader) logon(d *data) error {
	r, err := in.record(recordLogon)
	if err != nil {
		return err
	}
	l := r.logon()
	if n := len(d.logons); n > 0 && compareLogons(d.logons[n-1], l) >= 0 {
		return errOrder
	}
	d.logons = append(d.logons, l)
	return r.end()
}

// logons hands over what the yielding node knows to be refused: the account is the same on both sides.
func (m *merger) logons() {
	for _, l := range m.state.Logons() {
		if l.Refused > 0 {
			m.add(NoteLogon{Account: l.Account, Secret: l.Secret, Event: LogonRefused, At: l.At, Until: l.Until, Reason: l.Reason, Console: l.Console, Node: l.Node})
		}
	}
}
