package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	v1 "scomconnector/api/v1"
)

// Cursors are the positions of the pipelines. Calls may overlap. Errors are those of this package.
type Cursors interface {
	// List is the cursor of each pipeline that the settings want. With to not zero, Again is counted from there on.
	List(to time.Time) []v1.Cursor
	// Rewind has a pipeline deliver again what SCOM shows from a time on; it returns once this node knows of it.
	Rewind(ctx context.Context, o v1.RewindOrder, by string) (v1.Rewound, error)
}

func (s *server) cursors(w http.ResponseWriter, r *http.Request) {
	var to time.Time
	if text := r.URL.Query().Get("to"); text != "" {
		var err error
		if to, err = time.Parse(time.RFC3339Nano, text); err != nil {
			refuse(w, fmt.Errorf("%w: to must be a time such as 2026-01-02T03:04:05Z", errRequest))
			return
		}
	}
	list := v1.CursorList{Cursors: s.deps.Cursors.List(to)}
	fill(&list.Cursors)
	answerJSON(w, http.StatusOK, list)
}

func (s *server) rewind(r *http.Request, by string) (done, error) {
	var o v1.RewindOrder
	if err := readOrder(r, &o); err != nil {
		return done{}, err
	}
	if o.To.IsZero() {
		return done{}, fmt.Errorf("%w: to is missing: a time such as 2026-01-02T03:04:05Z", errRequest)
	}
	what := fmt.Sprintf("cursors: rewind of %q to %s", clip(o.Pipeline, 200), o.To.UTC().Format(time.RFC3339Nano))
	back, err := s.deps.Cursors.Rewind(r.Context(), o, by)
	if err != nil {
		return done{what: what}, err
	}
	return done{body: back, what: fmt.Sprintf("%s, from %s; at least %d alerts are sent again", what, back.From.UTC().Format(time.RFC3339Nano), back.Again)}, nil
}
