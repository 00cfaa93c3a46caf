package api

import (
	"context"
	"errors"
	"time"

	v1 "scomconnector/api/v1"
)

// Submitter takes close requests, on any node, and knows what became of them. Calls may overlap.
type Submitter interface {
	// Submit has the request committed to the outbox and returns its id. It waits for a leader until ctx ends (ErrNoLeader).
	// ErrOutboxFull, ErrUnknownAlert (only where the settings want it), ErrInvalid.
	Submit(ctx context.Context, r CloseRequest) (id string, err error)
	// Await waits for SCOM's verdict until ctx ends; then settled is false.
	Await(ctx context.Context, id string) (verdict v1.CloseVerdict, settled bool)
	// Rules are what the settings in use say about requests; known is false while there are none.
	Rules() (r CloseRules, known bool)
	// Outbox lists what is not settled, oldest first, and the newest settlements.
	Outbox() v1.OutboxList
	// ParkedRequests lists what SCOM has refused for good, newest first.
	ParkedRequests() []v1.ParkedRequest
	// Retry puts a parked request back into the outbox; Discard takes it away. ErrNotFound.
	Retry(ctx context.Context, id string) error
	Discard(ctx context.Context, id string) error
}

// CloseRequest is a moobot's request, understood.
type CloseRequest struct {
	Alert   string // GUID, lower case, without braces
	State   uint8
	Keep    bool // change only Fields
	Comment string
	Fields  map[string]string // TicketId, Owner, CustomField1...
	Key     string            // Idempotency-Key
	From    string
}

// CloseRules are the settings that decide about a request before it is submitted.
type CloseRules struct {
	Actions map[string]int // detail -> resolution state
	Wait    time.Duration  // for a leader
}

// Errors of Submitter.
var (
	// ErrOutboxFull: nothing was accepted; too much waits for SCOM already.
	ErrOutboxFull = errors.New("too many close requests wait already")
	// ErrUnknownAlert: this cluster has never sent such an alert, and the settings refuse it.
	ErrUnknownAlert = errors.New("no such alert is known")
)
