package api

import (
	"fmt"
	"net/http"

	v1 "scomconnector/api/v1"
)

// Levels is how much this node logs. Calls may overlap.
type Levels interface {
	Level() string
	// SetLevel holds until the next start. Its error names the words that there are.
	SetLevel(level string) error
}

func (s *server) logLevel(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, http.StatusOK, v1.LogLevel{Level: s.deps.Levels.Level()})
}

func (s *server) setLogLevel(r *http.Request, _ string) (done, error) {
	var o v1.LogLevel
	if err := readOrder(r, &o); err != nil {
		return done{}, err
	}
	before := s.deps.Levels.Level()
	if err := s.deps.Levels.SetLevel(o.Level); err != nil {
		return done{}, fmt.Errorf("%w: %w", errRequest, err)
	}
	now := s.deps.Levels.Level()
	return done{body: v1.LogLevel{Level: now}, what: fmt.Sprintf("log level: %s in place of %s", now, before)}, nil
}
