package alert

import "time"

// Event is one alert version as it goes to a LAM.
type Event struct {
	Version
	// Own events (heartbeat, outage) have a Kind and no ID; they belong to no cursor.
	Kind string
	Body []byte // one JSON object
}

// Own is an event about the connector itself, before it is encoded.
type Own struct {
	Kind        string // "heartbeat", "scom-outage", ...: part of the signature, from a closed set
	Class       string // "heartbeat" or "connector"
	Severity    int    // Moogsoft's, 0 clears
	Description string
	At          time.Time
}

// Verdict is what a destination said of one event.
type Verdict uint8

// The verdicts. Pending is the zero value: not delivered, through no fault of the event.
const (
	Pending  Verdict = iota
	Accepted         // some LAM answered 2xx for it
	Refused          // a LAM refused this event, alone, as malformed
)

// Delivery is what became of a batch. Verdicts are in the batch's order.
type Delivery struct {
	Verdicts []Verdict
	Refusals []Refusal // one for each Refused
	// Err is set iff some event is Pending: the destination is wrong or away.
	Err *Away
}

// Refusal is one event that a LAM refused, standing alone.
type Refusal struct {
	Index  int    // in the batch
	LAM    string // who refused it
	Status int    // HTTP status
	Answer string // what it said, at most 1 KiB
	Do     string // what to do about it, where the status alone tells, as of a size; else empty
	// Mark is that LAM's count of accepted requests at the time of the refusal.
	Mark uint64
}

// Away says that a destination took nothing more.
type Away struct {
	LAM        string        // the last one tried
	RetryAfter time.Duration // what the LAM itself asked for, else zero
	Err        error
	// Back is closed once a LAM that could not be reached can be: a reason to try before a back-off is over. Nil: nobody looks.
	Back <-chan struct{}
	// What is the matter with it in a few words, and what to Do about it; empty where Err has to say it.
	What, Do string
	// Said is what it answered, or how the request ended, in the words of whoever said so; empty where What says it all.
	Said string
}

func (a *Away) Error() string { return "LAM " + a.LAM + ": " + a.Err.Error() }
func (a *Away) Unwrap() error { return a.Err }
