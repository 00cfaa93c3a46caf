package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Each method sends the request that the API documents.
func TestRequestsOfAnOperator(t *testing.T) {
	var got string
	answer, code := "{}", 200
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = fmt.Sprintf("%s %s If-Match=%s name=%s %s %q", r.Method, r.RequestURI, r.Header.Get("If-Match"), r.Header.Get("X-Operator-Name"), r.Header.Get("Authorization"), body)
		w.WriteHeader(code)
		if code != 204 {
			w.Write([]byte(answer))
		}
	}))
	defer srv.Close()
	c := New(srv.URL, "s3cret")
	ctx := context.Background()
	for _, k := range []struct {
		name   string
		answer string
		code   int
		do     func() (any, error)
		want   string
		result string
	}{
		{"settings", `{"version":3,"text":"{}"}`, 200, func() (any, error) { s, err := c.Settings(ctx, 0); return s.Version, err },
			`GET /api/v1/config If-Match= name= Bearer s3cret ""`, "3"},
		{"an older version", `{"version":2}`, 200, func() (any, error) { s, err := c.Settings(ctx, 2); return s.Version, err },
			`GET /api/v1/config?version=2 If-Match= name= Bearer s3cret ""`, "2"},
		{"versions", `{"versions":[{"version":3},{"version":2}]}`, 200, func() (any, error) { s, err := c.SettingsVersions(ctx); return len(s), err },
			`GET /api/v1/config/versions If-Match= name= Bearer s3cret ""`, "2"},
		{"apply", `{"version":4,"unchecked":["witness"]}`, 200, func() (any, error) { return c.ApplySettings(ctx, []byte("{ }"), 3, 0) },
			`PUT /api/v1/config If-Match="3" name= Bearer s3cret "{ }"`, "{4 [witness]}"},
		{"roll back", `{"version":4}`, 200, func() (any, error) { return c.ApplySettings(ctx, []byte("{ }"), 3, 1) },
			`PUT /api/v1/config?from=1 If-Match="3" name= Bearer s3cret "{ }"`, "{4 []}"},
		{"parked", `{"count":1,"entries":[{"key":"k"}]}`, 200, func() (any, error) { s, err := c.Parked(ctx); return len(s), err },
			`GET /api/v1/parked If-Match= name= Bearer s3cret ""`, "1"},
		{"one of them", `{"entry":{"key":"k"},"payload":"p"}`, 200, func() (any, error) { s, err := c.ParkedPayload(ctx, "alerts/x y", "k?"); return s.Payload, err },
			`GET /api/v1/parked/alerts/x%20y/k%3F If-Match= name= Bearer s3cret ""`, "p"},
		{"outbox", `{"pending":2,"entries":[{"id":"0a"}]}`, 200, func() (any, error) { s, err := c.Outbox(ctx); return s.Pending, err },
			`GET /api/v1/outbox If-Match= name= Bearer s3cret ""`, "2"},
		{"parked requests", `{"count":1,"requests":[{"id":"0a","reason":"no"}]}`, 200, func() (any, error) { s, err := c.ParkedRequests(ctx); return s[0].ID + s[0].Reason, err },
			`GET /api/v1/parked-requests If-Match= name= Bearer s3cret ""`, "0ano"},
		{"retried", "", 204, func() (any, error) { return nil, c.RetryRequest(ctx, "0a/") },
			`POST /api/v1/parked-requests/0a%2F/retry If-Match= name= Bearer s3cret ""`, "<nil>"},
		{"request removed", "", 204, func() (any, error) { return nil, c.RemoveRequest(ctx, "0a") },
			`DELETE /api/v1/parked-requests/0a If-Match= name= Bearer s3cret ""`, "<nil>"},
		{"sent again", `{"status":"delivered","entry":{"key":"k"}}`, 200, func() (any, error) {
			r, err := c.RetryParked(ctx, "alerts/default", "k")
			return r.Status + r.Entry.Key, err
		},
			`POST /api/v1/parked/alerts/default/k/retry If-Match= name= Bearer s3cret ""`, "deliveredk"},
		{"removed", "", 204, func() (any, error) { return nil, c.RemoveParked(ctx, "alerts/default", "k") },
			`DELETE /api/v1/parked/alerts/default/k If-Match= name= Bearer s3cret ""`, "<nil>"},
	} {
		answer, code = k.answer, k.code
		result, err := k.do()
		if err != nil || got != k.want || fmt.Sprint(result) != k.result {
			t.Errorf("%s: got %v, %v by\n%s, want %s by\n%s", k.name, result, err, got, k.result, k.want)
		}
	}
	c.Name = "alice"
	answer, code = `{"error":"stale","hint":"again"}`, 412
	_, err := c.ApplySettings(ctx, nil, 3, 0)
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != 412 || e.Hint != "again" || got != `PUT /api/v1/config If-Match="3" name=alice Bearer s3cret ""` {
		t.Errorf("got %v by %s", err, got)
	}
	code = 204
	_, err = c.Settings(ctx, 0)
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != 204 {
		t.Errorf("no content where some belongs: %v", err)
	}
}
