package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	v1 "scomconnector/api/v1"
)

// fakeCursors has one pipeline.
type fakeCursors struct {
	err   error
	asked []string
}

func (f *fakeCursors) List(to time.Time) []v1.Cursor {
	c := v1.Cursor{Pipeline: "alerts/default", Cursor: now, Earliest: before(168 * time.Hour), Remembered: 812}
	if !to.IsZero() {
		c.Again = int(now.Sub(to).Hours())
	}
	return []v1.Cursor{c}
}

func (f *fakeCursors) Rewind(_ context.Context, o v1.RewindOrder, by string) (v1.Rewound, error) {
	if f.err != nil {
		return v1.Rewound{}, f.err
	}
	f.asked = append(f.asked, fmt.Sprintf("%s %s %s", o.Pipeline, o.To.Format(time.RFC3339), by))
	return v1.Rewound{Pipeline: "alerts/default", From: now, To: o.To, Again: 6}, nil
}

func TestCursorsAreShownAndPutBack(t *testing.T) {
	var log strings.Builder
	cursors := &fakeCursors{}
	h := New(Config{}, Deps{Status: healthy, Cursors: cursors, Gatherer: prometheus.NewRegistry(), Names: func() []string { return nil },
		Log: hclog.New(&hclog.LoggerOptions{Output: &log})})
	ask := func(method, path, body, from string) (int, string) {
		r := httptest.NewRequest(method, "http://localhost:8085"+path, strings.NewReader(body))
		r.RemoteAddr = from + ":50000"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	const post, path = http.MethodPost, "/api/v1/cursors/rewind"
	for _, c := range []struct {
		name, method, path, body, from string
		err                            error
		code                           int
		want                           string
	}{
		{"shown to anybody", "GET", "/api/v1/cursors", "", "192.0.2.1", nil, 200, `"again":0`},
		{"counted", "GET", "/api/v1/cursors?to=2026-01-01T21:04:05Z", "", "192.0.2.1", nil, 200, `"again":6`},
		{"counted from nonsense", "GET", "/api/v1/cursors?to=yesterday", "", "192.0.2.1", nil, 400, "to must be a time"},
		{"put back", post, path, `{"to":"2026-01-01T21:04:05Z"}`, "127.0.0.1", nil, 200, `"again":6`},
		{"by a stranger", post, path, `{"to":"2026-01-01T21:04:05Z"}`, "192.0.2.1", nil, 403, "this machine only"},
		{"without a time", post, path, `{}`, "127.0.0.1", nil, 400, "to is missing"},
		{"with a mistyped key", post, path, `{"till":"2026-01-01T21:04:05Z"}`, "127.0.0.1", nil, 400, "till"},
		{"too far", post, path, `{"to":"2020-01-01T21:04:05Z"}`, "127.0.0.1", fmt.Errorf("%w: too long ago", ErrRewind), 422, "cursors show"},
		{"of nobody", post, path, `{"pipeline":"x","to":"2026-01-01T21:04:05Z"}`, "127.0.0.1", fmt.Errorf("no pipeline: %w", ErrNotFound), 404, "no pipeline"},
	} {
		cursors.err = c.err
		if code, got := ask(c.method, c.path, c.body, c.from); code != c.code || !strings.Contains(strings.ReplaceAll(got, " ", ""), strings.ReplaceAll(c.want, " ", "")) {
			t.Errorf("%s: got %d %s, want %d with %s", c.name, code, got, c.code, c.want)
		}
	}
	if want := " 2026-01-01T21:04:05Z somebody on this machine"; len(cursors.asked) != 1 || cursors.asked[0] != want {
		t.Errorf("asked for were %q, want %q alone", cursors.asked, want)
	}
	if want := `at least 6 alerts are sent again`; !strings.Contains(log.String(), want) {
		t.Errorf("the audit lacks %q:\n%s", want, &log)
	}
}
