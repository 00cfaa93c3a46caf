package api

import (
	"context"
	"net/http"

	"github.com/gorilla/mux"

	v1 "scomconnector/api/v1"
)

// Parked is what was refused for good and kept for a person. Calls may overlap. Errors are those of this package.
type Parked interface {
	// List is all entries, newest first, without what was refused.
	List() []v1.ParkedEntry
	// Entry is one of them with what was refused.
	Entry(pipeline, key string) (v1.ParkedPayload, error)
	// Remove takes an entry away, because somebody has dealt with it. Nothing is sent again.
	Remove(ctx context.Context, pipeline, key string) error
	// Resend has the leader send an entry again, and waits for the LAM's answer. ErrNoEvent, ErrAway, ErrRefusedAgain: it stays parked.
	Resend(ctx context.Context, pipeline, key string) (v1.ParkedRetried, error)
}

func (s *server) parked(w http.ResponseWriter, _ *http.Request) {
	list := v1.ParkedList{Entries: s.deps.Parked.List()}
	fill(&list.Entries)
	list.Count = len(list.Entries)
	answerJSON(w, http.StatusOK, list)
}

func (s *server) parkedEntry(w http.ResponseWriter, r *http.Request) {
	vars := mux.Vars(r)
	entry, err := s.deps.Parked.Entry(vars["pipeline"], vars["key"])
	if err != nil {
		refuse(w, err)
		return
	}
	answerJSON(w, http.StatusOK, entry)
}

func (s *server) removeParked(r *http.Request, _ string) (done, error) {
	vars := mux.Vars(r)
	if err := s.deps.Parked.Remove(r.Context(), vars["pipeline"], vars["key"]); err != nil {
		return done{}, err
	}
	return done{what: "parked: " + vars["pipeline"] + "/" + vars["key"] + " removed"}, nil
}

func (s *server) retryParked(r *http.Request, _ string) (done, error) {
	vars := mux.Vars(r)
	what := "parked: " + clip(vars["pipeline"]+"/"+vars["key"], 300) + " sent again"
	d, err := s.deps.Parked.Resend(r.Context(), vars["pipeline"], vars["key"])
	return done{body: d, what: what + ": " + d.Status}, err
}
