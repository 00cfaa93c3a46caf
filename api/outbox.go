package api

import (
	"fmt"
	"net/http"

	"github.com/gorilla/mux"

	v1 "scomconnector/api/v1"
)

func (s *server) outbox(w http.ResponseWriter, _ *http.Request) {
	list := s.deps.Closes.Outbox()
	fill(&list.Entries)
	fill(&list.Settled)
	answerJSON(w, http.StatusOK, list)
}

func (s *server) parkedRequests(w http.ResponseWriter, _ *http.Request) {
	list := v1.ParkedRequestList{Requests: s.deps.Closes.ParkedRequests()}
	fill(&list.Requests)
	list.Count = len(list.Requests)
	answerJSON(w, http.StatusOK, list)
}

func (s *server) retryRequest(r *http.Request, _ string) (done, error) {
	id := mux.Vars(r)["id"]
	d := done{what: fmt.Sprintf("parked request %q put back into the outbox", clip(id, 64))}
	return d, s.deps.Closes.Retry(r.Context(), id)
}

func (s *server) discardRequest(r *http.Request, _ string) (done, error) {
	id := mux.Vars(r)["id"]
	d := done{what: fmt.Sprintf("parked request %q removed", clip(id, 64))}
	return d, s.deps.Closes.Discard(r.Context(), id)
}
