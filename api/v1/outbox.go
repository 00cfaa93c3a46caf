package v1

import "time"

// CloseAnswer answers POST /event_post/. Status: queued, closed (done), already_closed (it was so before), refused.
type CloseAnswer struct {
	Success bool   `json:"success"`
	ID      string `json:"id"` // of the alert, as SCOM writes it
	Status  string `json:"status"`
	Reason  string `json:"reason,omitempty"`
	// Request names the request itself, for ?wait and for scomconnector outbox.
	Request string `json:"request,omitempty"`
}

// CloseVerdict is what became of a request: Status as in CloseAnswer.
type CloseVerdict struct {
	Status string    `json:"status"`
	Reason string    `json:"reason,omitempty"`
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
	ID     string    `json:"id"`
	Alert  string    `json:"alert"`
	From   string    `json:"from"`
	Status string    `json:"status"`
	Reason string    `json:"reason,omitempty"`
	Asked  time.Time `json:"asked"`
	At     time.Time `json:"at"`
}

// OutboxList answers GET /api/v1/outbox.
type OutboxList struct {
	Pending int            `json:"pending"`
	Oldest  time.Time      `json:"oldest"`
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
