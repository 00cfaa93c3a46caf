package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	v1 "scomconnector/api/v1"
	"scomconnector/test/logbuf"
)

// node is a handler whose facts a test may change.
type node struct {
	status    v1.Status
	read      func() v1.Status // nil: status
	ready     []string
	unfit     []string
	leads     bool
	operators string // token
	callers   string // token
	addresses func() ([]net.Addr, error)
	settings  fakeSettings
	parked    fakeParked
	office    fakeOffice
	closes    fakeCloses
	levels    fakeLevels
	cursors   fakeCursors
	log       logbuf.Buffer
}

// secret is a token that stays; empty: there is none.
func secret(content string) Secret {
	if content == "" {
		return nil
	}
	return func() string { return content }
}

func (n *node) handler(token string) http.Handler {
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "scomconnector_test_total", Help: "a series"})
	reg.MustRegister(c)
	c.Add(3)
	return New(Config{ReadToken: secret(token), OperatorToken: secret(n.operators), CallbackToken: secret(n.callers), Location: time.FixedZone("CET", 3600), Addresses: n.addresses}, Deps{
		Status: n.current, Ready: func() []string { return n.ready }, Alive: func() []string { return n.unfit },
		Leader: func() bool { return n.leads }, Gatherer: reg,
		Settings: &n.settings, Parked: &n.parked, Office: &n.office, Closes: &n.closes, Levels: &n.levels, Cursors: &n.cursors, Log: hclog.New(&hclog.LoggerOptions{Output: &n.log}),
		Vanished: func() (int, error) {
			if !n.leads {
				return 0, fmt.Errorf("%w; primary leads", ErrElsewhere)
			}
			return 7, nil
		},
		Names: func() []string { return []string{"scomc1.contoso.com", "vip.contoso.com"} },
	})
}

func ask(h http.Handler, method, target string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestProbes(t *testing.T) {
	n := &node{status: healthy()}
	h := n.handler("")
	for _, c := range []struct {
		path  string
		ready []string
		leads bool
		code  int
		body  string
	}{
		{"/healthz", []string{"no leader is known"}, false, 200, "alive\n"}, // which is not this node's own fault
		{"/readyz", nil, false, 200, "ready\n"},
		{"/readyz", []string{"no leader is known", "the store\nhas failed"}, false, 503, "no leader is known\nthe store has failed\n"},
		{"/leader", nil, true, 200, "leader\n"},
		{"/leader", nil, false, 503, "not the leader\n"},
	} {
		n.ready, n.leads = c.ready, c.leads
		w := ask(h, "GET", c.path)
		if w.Code != c.code || w.Body.String() != c.body {
			t.Errorf("%s with %q, %v: got %d %q, want %d %q", c.path, c.ready, c.leads, w.Code, w.Body, c.code, c.body)
		}
	}
}

// A process that cannot do its part says why, with the read token set only to those who may read.
func TestHealthzSaysWhyNot(t *testing.T) {
	n := &node{status: healthy(), unfit: []string{"this node is stopping", "the store has failed: disk full"}}
	if w := ask(n.handler(""), "GET", "/healthz"); w.Code != 503 || w.Body.String() != "this node is stopping\nthe store has failed: disk full\n" {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
	h := n.handler("s3cret")
	if w := ask(h, "GET", "/healthz"); w.Code != 503 || w.Body.String() != "not alive\n" {
		t.Errorf("a stranger: got %d %q", w.Code, w.Body)
	}
	if w := ask(h, "GET", "/healthz", func(r *http.Request) { r.Header.Set("Authorization", "Bearer s3cret") }); w.Code != 503 || !strings.Contains(w.Body.String(), "disk full") {
		t.Errorf("who may read: got %d %q", w.Code, w.Body)
	}
}

func TestStatusIsWhatTheNodeSaysWithListsForNulls(t *testing.T) {
	n := &node{status: broken()}
	w := ask(n.handler(""), "GET", "/api/v1/status")
	var got v1.Status
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
		t.Fatalf("%d %v: %s", w.Code, err, w.Body)
	}
	if got.Parked.Newest[0] != n.status.Parked.Newest[0] || got.Verdict != n.status.Verdict || got.Pipelines[0] != n.status.Pipelines[0] {
		t.Errorf("got %+v, want %+v", got, n.status)
	}
	n.status = v1.Status{}
	if body := ask(n.handler(""), "GET", "/api/v1/status").Body.String(); strings.Contains(body, "null") {
		t.Errorf("an empty status has a null in it: %s", body)
	}
}

func TestMetrics(t *testing.T) {
	w := ask((&node{}).handler(""), "GET", "/metrics")
	if w.Code != 200 || !strings.Contains(w.Body.String(), "\nscomconnector_test_total 3\n") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestRefusalsHaveErrorAndHint(t *testing.T) {
	h := (&node{}).handler("secret")
	for _, c := range []struct {
		method, path string
		code         int
	}{
		{"GET", "/api/v1/nonsense", 404}, {"GET", "/api/", 404}, {"GET", "/favicon.ico", 404}, {"GET", "/api/v1/transfer", 405}, {"PUT", "/maintenance", 405}, {"GET", "/api/v1/members/witness", 405}, {"GET", "/api/v1/parked-requests/1", 405}, {"POST", "/api/v1/outbox", 405},
		{"POST", "/api/v1/status", 405}, {"POST", "/api/v1/config", 405}, {"PUT", "/api/v1/parked", 405}, {"GET", "/api/v1/parked/k", 404}, {"DELETE", "/", 405}, {"GET", "/api/v1/status", 401}, {"GET", "/", 401}, {"GET", "/metrics", 401},
	} {
		w := ask(h, c.method, c.path)
		var body v1.Error
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != c.code || body.Error == "" || body.Hint == "" {
			t.Errorf("%s %s: got %d %s, want %d with error and hint", c.method, c.path, w.Code, w.Body, c.code)
		}
		if c.code == 405 && w.Header().Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", c.method, c.path)
		}
	}
	big := ask(h, "GET", "/healthz", func(r *http.Request) { r.ContentLength = 1 << 20 })
	if big.Code != 413 {
		t.Errorf("a body of 1 MiB: got %d, want 413", big.Code)
	}
}

func TestReadTokenGuardsReadingButNotProbes(t *testing.T) {
	n := &node{status: healthy(), ready: []string{"the disk of scomc1 is full"}}
	h := n.handler("s3cret")
	for _, c := range []struct {
		name   string
		header string
		want   int
	}{
		{"none", "", 401}, {"wrong", "Bearer s3cre", 401}, {"longer", "Bearer s3crets", 401}, {"empty", "Bearer ", 401}, {"right", "Bearer s3cret", 200},
		{"any case of the scheme", "bearer s3cret", 200}, {"another scheme", "Digest s3cret", 401},
		{"a browser's", "Basic YW55Ym9keTpzM2NyZXQ=", 200}, {"a browser's wrong one", "Basic YW55Ym9keTpub3Bl", 401},
	} {
		for _, path := range []string{"/", "/metrics", "/api/v1/status", "/api/v1/config", "/api/v1/config/versions", "/api/v1/parked", "/api/v1/parked/alerts/default/k", "/api/v1/members", "/api/v1/maintenance", "/maintenance", "/api/v1/outbox", "/api/v1/parked-requests"} {
			w := ask(h, "GET", path, func(r *http.Request) { r.Header.Set("Authorization", c.header) })
			if w.Code != c.want {
				t.Errorf("%s token, %s: got %d, want %d", c.name, path, w.Code, c.want)
			}
			if challenged := w.Header().Get("WWW-Authenticate") != ""; challenged != (c.want == 401) {
				t.Errorf("%s token, %s: challenge is %v", c.name, path, challenged)
			}
		}
	}
	if w := ask(h, "GET", "/healthz"); w.Code != 200 {
		t.Errorf("/healthz: got %d, want 200 without a token", w.Code)
	}
	if w := ask(h, "GET", "/readyz"); w.Code != 503 || strings.Contains(w.Body.String(), "disk") {
		t.Errorf("/readyz: got %d %q, want 503 that tells strangers nothing", w.Code, w.Body)
	}
}

func TestEveryAnswerCarriesTheGuards(t *testing.T) {
	h := (&node{status: healthy()}).handler("")
	policies := map[string]string{"/": livePolicy, "/act/transfer": formPolicy, "/maintenance": formPolicy}
	for _, path := range []string{"/", "/healthz", "/metrics", "/api/v1/status", "/nothing", "/page.js", "/settings", "/act/transfer", "/act/nothing", "/maintenance"} {
		head := ask(h, "GET", path).Header()
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
			"Content-Security-Policy": cmp.Or(policies[path], policy),
		} {
			if got := head.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		// With no-referrer a browser gives no origin with a form.
		if got, form := head.Get("Referrer-Policy"), policies[path] == formPolicy; got != map[bool]string{true: "same-origin", false: "no-referrer"}[form] {
			t.Errorf("%s: Referrer-Policy is %q", path, got)
		}
		if head.Get("Content-Type") == "" {
			t.Errorf("%s: no Content-Type", path)
		}
	}
	for _, p := range []string{policy, livePolicy, formPolicy} {
		for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(p, part) || strings.Contains(p, "unsafe") || strings.Contains(p, "script-src") != (p == livePolicy) {
				t.Errorf("policy is %q, want %q and nothing unsafe", p, part)
			}
		}
	}
}

func TestDoubledSlashesNeverRedirect(t *testing.T) {
	h := (&node{status: healthy()}).handler("")
	for _, path := range []string{"//healthz", "/api/v1//status", "/api/v1/status/", "/a/../healthz"} {
		if w := ask(h, "GET", path); slices.Contains([]int{301, 302, 307, 308}, w.Code) {
			t.Errorf("%s: redirected with %d to %s", path, w.Code, w.Header().Get("Location"))
		}
	}
}

func TestServerHasLimits(t *testing.T) {
	s := Server(http.NotFoundHandler())
	if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout <= 30*time.Second || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 {
		t.Errorf("a limit is missing: %+v", s)
	}
}

func (n *node) current() v1.Status {
	if n.read != nil {
		return n.read()
	}
	return n.status
}
