package alert

import (
	"errors"
	"time"
)

// Query says which alerts to read. The zero bounds and fields mean "any".
type Query struct {
	From Millis // LastModified at or after
	To   Millis // LastModified before
	// Open asks for alerts that are not closed, beside the bounds: with OpenOr false both must
	// hold, with OpenOr true either (all open alerts, and whatever changed since From).
	Open   bool
	OpenOr bool
	IDs    []ID // exactly these; at most MaxQueryIDs; excludes all else
	// Slow grants the answer the longer first-byte deadline: slices and full reads.
	Slow bool
}

// MaxQueryIDs bounds Query.IDs, so that the criteria text stays far below IIS' limits; 100 are 4 KB.
const MaxQueryIDs = 100

// Row is one row of an answer. A row that cannot be understood has Err set and a nil Alert.
type Row struct {
	Alert *Alert // valid only until the callback returns; copy what is kept
	ID    ID     // set whenever it could be read, also beside Err
	Raw   []byte // the row's JSON; only beside Err; valid only until the callback returns
	Err   error
}

// Answer describes a completely read answer.
type Answer struct {
	// ServerDate is the console's clock (HTTP Date, whole seconds), the only clock that counts for
	// positions. It is zero if the console did not send one.
	ServerDate Millis
	Rows       int
	Bytes      int64
	Duration   time.Duration // from sending the request to the last byte
	Console    string        // who answered
}

// Fault is why an answer was not completely read.
type Fault struct {
	Class FaultClass
	// Console is the one that was asked, as the operator wrote it.
	Console string
	// All says that no console of the list is left to try now: the caller backs off.
	All bool
	// RetryAfter, if not zero, is the least pause before the next attempt makes sense.
	RetryAfter time.Duration
	// Unknown says that what was asked for may have been done all the same; only of a change.
	Unknown bool
	// Back is closed once a console that could not be reached is found to answer again: a reason to try before a back-off is over. Nil:
	// nobody looks.
	Back <-chan struct{}
	// What is the matter in a few words that follow the console's name; empty where Err has to say it.
	What string
	Err  error
}

func (f *Fault) Error() string { return "console " + f.Console + ": " + f.Err.Error() }
func (f *Fault) Unwrap() error { return f.Err }

// FaultClass says what a caller does about a Fault.
type FaultClass uint8

// The classes of faults.
const (
	FaultTransport FaultClass = iota // refused, reset, cut in the middle, 5xx, HTML, broken JSON
	FaultTimeout                     // too slow: ask for less
	FaultAuth                        // log-on refused: trying again may lock the account
	FaultCriteria                    // the console refused the question itself
)

func (c FaultClass) String() string {
	switch c {
	case FaultTimeout:
		return "timeout"
	case FaultAuth:
		return "auth"
	case FaultCriteria:
		return "criteria"
	}
	return "transport"
}

// FaultOf finds the Fault in err's chain; ok is false for anything else, such as a cancelled context.
func FaultOf(err error) (f *Fault, ok bool) {
	ok = errors.As(err, &f)
	return f, ok
}
