package v1

import "time"

// CloseAnswer answers POST /event_post/, whatever became of it. Without Success, Error and Hint say why.
type CloseAnswer struct {
	Success bool   `json:"success"`
	ID      string `json:"id,omitempty"` // of the alert, as SCOM writes it; empty if none could be read
	// Status is queued, closed (done), already_closed (it was so before, or SCOM does not know the alert: see Reason) or refused (by SCOM, and parked). Where something else than
	// closing was asked for, done and already_done stand for the two in the middle. Empty: it was not accepted.
	Status string `json:"status,omitempty"`
	Reason string `json:"reason,omitempty"` // SCOM's own words with refused; with already_closed, if SCOM does not know the alert, that
	// Request names the request itself, as scomconnector outbox shows it.
	Request string `json:"request,omitempty"`
	// Ignored are keys of the request that mean nothing here, at most 10: one of them may be a mistyped one. What the original's moobot
	// sends is not named.
	Ignored []string `json:"ignored,omitempty"`
	Error   string   `json:"error,omitempty"`
	Hint    string   `json:"hint,omitempty"`
}

// CloseVerdict is what became of a request: closed, already_closed or refused, whatever was asked for.
type CloseVerdict struct {
	Status string    `json:"status"`
	Reason string    `json:"reason,omitempty"` // as in CloseAnswer
	At     time.Time `json:"at"`
}

// OutboxEntry is an accepted request that is not settled.
type OutboxEntry struct {
	ID      string            `json:"id"`
	Alert   string            `json:"alert"`
	State   int               `json:"state"` // resolution state asked for; -1: unchanged
	Comment string            `json:"comment,omitempty"`
	Fields  map[string]string `json:"fields,omitempty"`
	From    string            `json:"from"`
	Node    string            `json:"node"`
	At      time.Time         `json:"at"`
	// Stands is where it stands, in words: "waiting for SCOM since ...", "waiting behind 3 of the same alert".
	Stands string `json:"stands"`
}

// SettledEntry is a request that has come to its end.
type SettledEntry struct {
	ID     string            `json:"id"`
	Alert  string            `json:"alert"`
	State  int               `json:"state"` // asked for, as in OutboxEntry
	Fields map[string]string `json:"fields,omitempty"`
	From   string            `json:"from"`
	Status string            `json:"status"` // closed, already_closed, refused; done and already_done where something else than closing was asked for
	Reason string            `json:"reason,omitempty"`
	Asked  time.Time         `json:"asked"`
	At     time.Time         `json:"at"`
}

// OutboxList answers GET /api/v1/outbox.
type OutboxList struct {
	Pending int            `json:"pending"`
	Oldest  time.Time      `json:"oldest,omitzero"`
	Error   string         `json:"error"`   // why nothing moves; empty while it does
	Entries []OutboxEntry  `json:"entries"` // oldest first, at most 1,000
	Settled []SettledEntry `json:"settled"` // newest first, at most 100
}

// ParkedRequest is a request that SCOM has refused for good.
type ParkedRequest struct {
	OutboxEntry
	Reason   string    `json:"reason"` // SCOM's own words
	ParkedAt time.Time `json:"parkedAt"`
}

// ParkedRequestList answers GET /api/v1/parked-requests.
type ParkedRequestList struct {
	Count    int             `json:"count"`
	Requests []ParkedRequest `json:"requests"` // newest first
}
