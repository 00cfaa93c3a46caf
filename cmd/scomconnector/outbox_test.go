package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"scomconnector/api"
	v1 "scomconnector/api/v1"
)

// sceneCloses is a made-up outbox, and what is parked. It is an api.Submitter and an api.Parked.
type sceneCloses struct {
	list   v1.OutboxList
	events []v1.ParkedEntry

	mu      sync.Mutex // guards requests
	refused []v1.ParkedRequest
}

// closingScene has requests of every kind, with strangers' text in them.
func closingScene() sceneCloses {
	closing := v1.OutboxEntry{
		ID: "00c0ffee00c0ffe1", Alert: "d3144ac9-4316-45ce-94b9-f50936219e24", State: 255, From: "moogsoft from 192.0.2.20", Node: "secondary", At: sceneTime.Add(-8 * time.Minute),
		Stands: "waiting for SCOM since 02:56 UTC",
	}
	changing, acknowledging := closing, closing
	changing.ID, changing.State, changing.Fields, changing.Stands = "00c0ffee00c0ffe2", -1, map[string]string{"TicketId": "INC1", "Owner": "bob"}, "waiting behind 1 of the same alert"
	acknowledging.ID, acknowledging.State, acknowledging.Comment, acknowledging.Stands = "00c0ffee00c0ffe3", 249, "by the night shift", ""
	updating := changing
	updating.ID = "00c0ffee00c0ffe4"
	event := func(key string) v1.ParkedEntry {
		return v1.ParkedEntry{Key: key, Pipeline: "alerts/default", At: sceneTime, Reason: "the LAM refused this event and accepted others", LAM: "moog1", Status: 400}
	}
	return sceneCloses{
		list: v1.OutboxList{
			Pending: 5000, Oldest: closing.At, Error: "SCOM does not answer: no route to host\x1b[31m", Entries: []v1.OutboxEntry{closing, changing},
			Settled: []v1.SettledEntry{
				{ID: "00c0ffee00c0ffe3", Alert: closing.Alert, State: 255, From: closing.From, Status: "refused", Reason: "the monitor\nis unhealthy", Asked: closing.At, At: sceneTime},
				{ID: "00c0ffee00c0ffef", Alert: closing.Alert, State: 255, From: closing.From, Status: "already_closed",
					Reason: "unknown to SCOM: it never had this alert, hides it from our account, or has removed it since it was closed", Asked: closing.At, At: sceneTime},
				{ID: "00c0ffee00c0ffe0", Alert: closing.Alert, State: -1, Fields: changing.Fields, From: closing.From, Status: "done", Asked: closing.At, At: sceneTime},
				{ID: "00c0ffee00c0ffdf", Alert: closing.Alert, State: 255, From: closing.From, Status: "closed", Asked: closing.At, At: sceneTime},
			},
		},
		events: []v1.ParkedEntry{
			event("5d0c6c2e-8d0f-4a27-9c36-6a86b2ec7a01"), event("5d0c6c2e-8d0f-4a27-9c36-6a86b2ec7a02"), event("5d0c6c2e-8d0f-4a27-9c36-6a86b2ec7a03"),
		},
		refused: []v1.ParkedRequest{
			{OutboxEntry: acknowledging, Reason: "the monitor\nis unhealthy", ParkedAt: sceneTime},
			{OutboxEntry: updating, Reason: "no right to change alerts", ParkedAt: sceneTime.Add(-time.Minute)},
		},
	}
}

func (s *sceneCloses) Submit(context.Context, api.CloseRequest) (string, error) {
	return "", api.ErrNoLeader
}

func (s *sceneCloses) Await(context.Context, string) (v1.CloseVerdict, bool) {
	return v1.CloseVerdict{}, false
}
func (s *sceneCloses) Rules() (api.CloseRules, bool) { return api.CloseRules{}, false }
func (s *sceneCloses) Outbox() v1.OutboxList         { return s.list }

func (s *sceneCloses) ParkedRequests() []v1.ParkedRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refused)
}

func (s *sceneCloses) Retry(_ context.Context, id string) error { return s.take(id) }

func (s *sceneCloses) Discard(_ context.Context, id string) error { return s.take(id) }

func (s *sceneCloses) take(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.refused, func(r v1.ParkedRequest) bool { return r.ID == id })
	if i < 0 {
		return fmt.Errorf("parked request %s: %w", id, api.ErrNotFound)
	}
	s.refused = slices.Delete(slices.Clone(s.refused), i, i+1)
	return nil
}

func (s *sceneCloses) List() []v1.ParkedEntry { return s.events }

func (s *sceneCloses) Entry(string, string) (v1.ParkedPayload, error) {
	return v1.ParkedPayload{}, api.ErrNotFound
}

// Resend ends one way or the other, by the last digit of the key.
func (s *sceneCloses) Resend(_ context.Context, pipeline, key string) (v1.ParkedRetried, error) {
	i := slices.IndexFunc(s.events, func(e v1.ParkedEntry) bool { return e.Pipeline == pipeline && e.Key == key })
	if i < 0 {
		return v1.ParkedRetried{}, api.ErrNotFound
	}
	switch key[len(key)-1] {
	case '2':
		return v1.ParkedRetried{}, fmt.Errorf("parked entry %s of pipeline %q: %w: LAM lam1 answers 400: type is missing", key, pipeline, api.ErrRefusedAgain)
	case '3':
		return v1.ParkedRetried{Status: v1.RetryOvertaken, Entry: s.events[i]}, nil
	}
	return v1.ParkedRetried{Status: v1.RetryDelivered, Entry: s.events[i]}, nil
}

func (s *sceneCloses) Remove(context.Context, string, string) error { return api.ErrNotFound }
