package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	v1 "scomconnector/api/v1"
)

// fakeSettings has two versions and takes what it is given, or refuses with err.
type fakeSettings struct {
	err  error
	got  Change
	took int
}

func (f *fakeSettings) Version(n uint64) (v1.Settings, error) {
	switch n {
	case 0, 2:
		return v1.Settings{Version: 2, Author: "alice", At: now, Text: `{"Filter": ""}`}, nil
	case 1:
		return v1.Settings{Version: 1, Author: "file of primary", At: now, Text: "{}"}, nil
	}
	return v1.Settings{}, fmt.Errorf("version %d: %w", n, ErrNotFound)
}

func (f *fakeSettings) Versions() []v1.SettingsVersion {
	return []v1.SettingsVersion{{Version: 2, Author: "alice", At: now}, {Version: 1, Author: "file of primary", At: now}}
}

func (f *fakeSettings) Apply(_ context.Context, c Change) (Applied, error) {
	f.got = c
	if f.err != nil {
		return Applied{}, f.err
	}
	f.took++
	return Applied{Version: 3, Changed: []string{"Filter", "MoogServers[1]"}}, nil
}

// fakeParked has one entry.
type fakeParked struct {
	err     error
	removed []string
	retried []string
}

func (f *fakeParked) Resend(_ context.Context, pipeline, key string) (v1.ParkedRetried, error) {
	if f.err == nil {
		f.retried = append(f.retried, pipeline+" "+key)
	}
	return v1.ParkedRetried{Status: v1.RetryDelivered, Entry: f.List()[0]}, f.err
}

func (f *fakeParked) List() []v1.ParkedEntry {
	return []v1.ParkedEntry{{Key: "k", Pipeline: "alerts/default", Reason: "refused", At: now}}
}

func (f *fakeParked) Entry(pipeline, key string) (v1.ParkedPayload, error) {
	if pipeline != "alerts/default" || key != "k" {
		return v1.ParkedPayload{}, ErrNotFound
	}
	return v1.ParkedPayload{Entry: f.List()[0], Payload: `{"signature":"s"}`}, nil
}

func (f *fakeParked) Remove(_ context.Context, pipeline, key string) error {
	if f.err == nil {
		f.removed = append(f.removed, pipeline+" "+key)
	}
	return f.err
}

// put is a PUT of settings as somebody at the machine sends it.
func put(h http.Handler, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPut, "http://localhost:8085/api/v1/config", strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:50000"
	r.Header.Set("If-Match", `"2"`)
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func from(addr string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = addr } }
func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

// refusal checks that an answer has the status, and a body that says what and what to do.
func refusal(t *testing.T, name string, w *httptest.ResponseRecorder, code int, says string) {
	t.Helper()
	var e v1.Error
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != code || !strings.Contains(e.Error, says) || e.Hint == "" {
		t.Errorf("%s: got %d %s, want %d, an error with %q, and a hint", name, w.Code, w.Body, code, says)
	}
}

// Without an operator token whoever sits at the machine may write, and nobody who only seems to.
func TestWritesWithoutATokenAreTakenFromTheMachineOnly(t *testing.T) {
	for _, c := range []struct {
		name   string
		change []func(*http.Request)
		code   int
		says   string
	}{
		{"at the machine", nil, 200, ""},
		{"over IPv6", []func(*http.Request){from("[::1]:50000"), host("[::1]:8085")}, 200, ""},
		{"IPv4 in IPv6", []func(*http.Request){from("[::ffff:127.0.0.1]:50000")}, 200, ""},
		{"another loopback address", []func(*http.Request){from("127.8.9.10:50000"), host("127.8.9.10")}, 200, ""},
		{"by an address of the machine", []func(*http.Request){host("192.0.2.7:8085")}, 200, ""},
		{"by its IPv6 address", []func(*http.Request){host("[2001:db8::7]:8085")}, 200, ""},
		{"by a name of the settings", []func(*http.Request){host("SCOMC1.contoso.com:8085")}, 200, ""},
		{"by another one, with a dot", []func(*http.Request){host("vip.contoso.com.")}, 200, ""},
		{"its own page", []func(*http.Request){header("Origin", "http://localhost:8085"), header("Sec-Fetch-Site", "same-origin")}, 200, ""},
		{"typed into a browser", []func(*http.Request){header("Sec-Fetch-Site", "none")}, 200, ""},

		{"from elsewhere", []func(*http.Request){from("192.0.2.9:50000")}, 403, "this machine only"},
		{"from the machine's other address", []func(*http.Request){from("192.0.2.7:50000")}, 403, "this machine only"},
		{"from nowhere", []func(*http.Request){from("")}, 403, "this machine only"},
		{"through a proxy", []func(*http.Request){header("X-Forwarded-For", "192.0.2.9")}, 403, "proxy"},
		{"through a proxy that gives the host", []func(*http.Request){header("X-Forwarded-Host", "x")}, 403, "proxy"},
		{"through a modern proxy", []func(*http.Request){header("Forwarded", "for=192.0.2.9")}, 403, "proxy"},
		{"a name that resolves to the machine", []func(*http.Request){host("evil.example:8085")}, 403, "name"},
		{"an address of another machine", []func(*http.Request){host("192.0.2.8")}, 403, "name"},
		{"a name that only begins well", []func(*http.Request){host("localhost.evil.example")}, 403, "name"},
		{"no name", []func(*http.Request){host("")}, 403, "name"},
		{"another site's page", []func(*http.Request){header("Origin", "https://evil.example")}, 403, "another site"},
		{"a page of a file", []func(*http.Request){header("Origin", "null")}, 403, "another site"},
		{"another port's page", []func(*http.Request){header("Origin", "http://localhost:9090")}, 403, "another site"},
		{"a sibling site's page", []func(*http.Request){header("Sec-Fetch-Site", "same-site")}, 403, "another site"},
		{"cross-site", []func(*http.Request){header("Sec-Fetch-Site", "cross-site")}, 403, "another site"},
	} {
		n := &node{}
		h := n.handlerOn("192.0.2.7/24", "2001:db8::7/64", "127.0.0.1/8")
		w := put(h, "{}", c.change...)
		if c.code == 200 {
			if w.Code != 200 || n.settings.took != 1 {
				t.Errorf("%s: got %d %s, want it taken", c.name, w.Code, w.Body)
			}
			continue
		}
		refusal(t, c.name, w, c.code, c.says)
		if n.settings.took != 0 {
			t.Errorf("%s: refused and taken", c.name)
		}
		if !strings.Contains(n.log.String(), "operator write refused") {
			t.Errorf("%s: the audit has %q", c.name, n.log.String())
		}
	}
}

// handlerOn is a handler on a machine with these addresses.
func (n *node) handlerOn(addresses ...string) http.Handler {
	var all []net.Addr
	for _, a := range addresses {
		ip, block, err := net.ParseCIDR(a)
		if err != nil {
			panic(err)
		}
		block.IP = ip
		all = append(all, block)
	}
	n.addresses = func() ([]net.Addr, error) { return all, nil }
	return n.handler("")
}

// With an operator token the token decides, wherever it comes from; a page of another site's never does.
func TestOperatorToken(t *testing.T) {
	for _, c := range []struct {
		name   string
		change []func(*http.Request)
		code   int
		says   string
	}{
		{"right", []func(*http.Request){header("Authorization", "Bearer s3cret"), from("192.0.2.9:50000"), host("anything")}, 200, ""},
		{"through a proxy", []func(*http.Request){header("Authorization", "bearer s3cret "), header("X-Forwarded-For", "192.0.2.9")}, 200, ""},
		{"none, at the machine", nil, 401, "a token is needed"},
		{"wrong", []func(*http.Request){header("Authorization", "Bearer s3cre")}, 401, "not the operator token"},
		{"longer", []func(*http.Request){header("Authorization", "Bearer s3crets")}, 401, "not the operator token"},
		{"empty", []func(*http.Request){header("Authorization", "Bearer ")}, 401, "not the operator token"},
		{"the one for reading", []func(*http.Request){header("Authorization", "Bearer r3ader")}, 401, "not the operator token"},
		// A browser sends this by itself once it knows it, for anybody's page.
		{"as a browser's password", []func(*http.Request){header("Authorization", "Basic YW55Ym9keTpzM2NyZXQ=")}, 401, "a token is needed"},
		{"another site's page", []func(*http.Request){header("Authorization", "Bearer s3cret"), header("Origin", "https://evil.example")}, 403, "another site"},
	} {
		n := &node{operators: "s3cret"}
		w := put(n.handler("r3ader"), "{}", c.change...)
		if c.code == 200 {
			if w.Code != 200 || n.settings.took != 1 {
				t.Errorf("%s: got %d %s, want it taken", c.name, w.Code, w.Body)
			}
			continue
		}
		refusal(t, c.name, w, c.code, c.says)
		if challenged := w.Header().Get("WWW-Authenticate") != ""; n.settings.took != 0 || challenged != (c.code == 401) {
			t.Errorf("%s: taken %d times, challenge %v", c.name, n.settings.took, challenged)
		}
	}
	n := &node{operators: "s3cret"}
	if w := ask(n.handler("r3ader"), "GET", "/api/v1/config", header("Authorization", "Bearer s3cret")); w.Code != 200 {
		t.Errorf("who may write cannot read: %d %s", w.Code, w.Body)
	}
	if w := ask((&node{}).handler("r3ader"), "GET", "/api/v1/config", header("Authorization", "Bearer ")); w.Code != 401 {
		t.Errorf("an empty token reads where no operator token is set: %d", w.Code)
	}
}

// Every write stands in the log with who, from where and what, and never with what was written.
func TestEveryWriteIsAudited(t *testing.T) {
	n := &node{operators: "s3cret"}
	h := n.handler("")
	token := header("Authorization", "Bearer s3cret")
	put(h, `{"AuthTokenCode": "plain:hunter2"}`, token, from("192.0.2.9:50000"), header(OperatorHeader, "alice\n\"admin\""))
	ask(h, "DELETE", "/api/v1/parked/alerts/default/k", token)
	n.settings.err = fmt.Errorf("%w: version 4 is in use", ErrStale)
	put(h, "{}", token)
	for range 5 {
		put(h, "{}", from("192.0.2.66:1"))
	}
	log := n.log.String()
	for _, want := range []string{
		`operator write: who="aliceadmin (operator token)" from=192.0.2.9:50000 what="settings: version 3 in place of 2, changed: Filter, MoogServers[1]"`,
		`what="parked: alerts/default/k removed"`,
		`operator write failed: who="operator token"`, "version 4 is in use",
		"operator write refused: from=192.0.2.66:1",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the audit lacks %s:\n%s", want, log)
		}
	}
	if got := strings.Count(log, "operator write refused"); got != 1 {
		t.Errorf("a stranger's five attempts make %d lines, want 1", got)
	}
	if strings.Contains(log, "hunter2") || strings.Contains(log, "s3cret") {
		t.Errorf("a secret is in the audit:\n%s", log)
	}
	if got, want := n.settings.got.Author, "operator token, from 127.0.0.1:50000"; got != want {
		t.Errorf("author %q, want %q", got, want)
	}
}

func TestReadingTheSettings(t *testing.T) {
	h := (&node{}).handler("")
	for _, c := range []struct {
		path, etag, body string
	}{
		{"/api/v1/config", `"2"`, `{"version":2,"author":"alice","at":"2026-01-02T03:04:05Z","text":"{\"Filter\": \"\"}"}`},
		{"/api/v1/config?version=1", `"1"`, `{"version":1,"author":"file of primary","at":"2026-01-02T03:04:05Z","text":"{}"}`},
		{"/api/v1/config/versions", "", `{"versions":[{"version":2,"author":"alice","at":"2026-01-02T03:04:05Z"},{"version":1,"author":"file of primary","at":"2026-01-02T03:04:05Z"}]}`},
		{"/api/v1/parked/alerts/default/k", "", `{"entry":{"key":"k","pipeline":"alerts/default","alert":"","at":"2026-01-02T03:04:05Z","reason":"refused","lam":"","httpStatus":0,"answer":""},"payload":"{\"signature\":\"s\"}"}`},
	} {
		w := ask(h, "GET", c.path)
		if got := strings.TrimSpace(w.Body.String()); w.Code != 200 || got != c.body || w.Header().Get("ETag") != c.etag {
			t.Errorf("%s: got %d %s %s\nwant %s %s", c.path, w.Code, w.Header().Get("ETag"), got, c.etag, c.body)
		}
	}
	if w := ask(h, "GET", "/api/v1/parked"); w.Code != 200 || !strings.HasPrefix(w.Body.String(), `{"count":1,"entries":[{"key":"k"`) {
		t.Errorf("/api/v1/parked: got %d %s", w.Code, w.Body)
	}
	refusal(t, "a version that is gone", ask(h, "GET", "/api/v1/config?version=9"), 404, "version 9")
	refusal(t, "a version that is none", ask(h, "GET", "/api/v1/config?version=x"), 400, "version must be")
	refusal(t, "no entry", ask(h, "GET", "/api/v1/parked/alerts/default/other"), 404, "not found")
}

func TestApplyingSettings(t *testing.T) {
	n := &node{}
	h := n.handler("")
	w := put(h, `{"Filter": "x"}`, func(r *http.Request) { r.URL.RawQuery = "from=1" })
	if w.Code != 200 || w.Body.String() != "{\"version\":3,\"unchecked\":[]}\n" || w.Header().Get("ETag") != `"3"` {
		t.Errorf("got %d %s, ETag %s", w.Code, w.Body, w.Header().Get("ETag"))
	}
	if c := n.settings.got; string(c.Text) != `{"Filter": "x"}` || c.Expect != 2 || c.From != 1 || c.Author != "somebody on this machine, from 127.0.0.1:50000" {
		t.Errorf("got %+v", c)
	}
	for given, want := range map[string]uint64{`"7"`: 7, "7": 7, `"0"`: 0} {
		if put(h, "{}", header("If-Match", given)); n.settings.got.Expect != want {
			t.Errorf("If-Match: %s is %d, want %d", given, n.settings.got.Expect, want)
		}
	}
	took := n.settings.took
	refusal(t, "no If-Match", put(h, "{}", func(r *http.Request) { r.Header.Del("If-Match") }), 428, "If-Match is missing")
	for _, bad := range []string{"*", `W/"2"`, `"1", "2"`, `"-1"`, "latest"} {
		refusal(t, "If-Match: "+bad, put(h, "{}", header("If-Match", bad)), 400, "If-Match must be one version")
	}
	refusal(t, "from nothing", put(h, "{}", func(r *http.Request) { r.URL.RawQuery = "from=0" }), 400, "from must be")
	refusal(t, "too long", put(h, strings.Repeat(" ", maxBodyBytes+1)), 413, "too large")
	refusal(t, "too long and not saying so", put(h, strings.Repeat(" ", maxBodyBytes+1), func(r *http.Request) { r.ContentLength = -1 }), 413, "too large")
	if n.settings.took != took {
		t.Error("a request that was refused was taken")
	}
}

// One table decides which status an error has.
func TestErrorsHaveTheirStatus(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		says string
	}{
		{fmt.Errorf("%w: version 4 is in use, not 2", ErrStale), 412, "version 4 is in use"},
		{fmt.Errorf("%w:\nSCOMConnectorConfig.json:3: Filtr: unknown key", ErrInvalid), 422, "Filtr"},
		{fmt.Errorf("%w: election", ErrNoLeader), 503, "no leader"},
		{fmt.Errorf("%w: cut", ErrUnknownOutcome), 503, "not known"},
		{fmt.Errorf("propose: %w", context.DeadlineExceeded), 503, "deadline"},
		{fmt.Errorf("version 9: %w", ErrNotFound), 404, "version 9"},
		{errors.New("the moon is full"), 500, "moon"},
	} {
		n := &node{}
		n.settings.err, n.parked.err = c.err, c.err
		h := n.handler("")
		for name, w := range map[string]*httptest.ResponseRecorder{
			"PUT":    put(h, "{}"),
			"DELETE": ask(h, "DELETE", "http://localhost/api/v1/parked/alerts/default/k", from("127.0.0.1:1")),
		} {
			refusal(t, name+" "+c.err.Error(), w, c.code, c.says)
			if retry := w.Header().Get("Retry-After") != ""; retry != (c.code == 503) {
				t.Errorf("%s %v: Retry-After is %v", name, c.err, retry)
			}
		}
	}
}

func TestRemovingAParkedEntry(t *testing.T) {
	n := &node{}
	w := ask(n.handler(""), "DELETE", "http://localhost/api/v1/parked/alerts/default/k", from("127.0.0.1:1"))
	if w.Code != 204 || w.Body.Len() != 0 || fmt.Sprint(n.parked.removed) != "[alerts/default k]" {
		t.Errorf("got %d %s, removed %q", w.Code, w.Body, n.parked.removed)
	}
	w = ask(n.handler(""), "DELETE", "/api/v1/parked/alerts/default/k", from("192.0.2.9:1"))
	refusal(t, "from elsewhere", w, 403, "this machine only")
	if len(n.parked.removed) != 1 {
		t.Error("refused and removed")
	}
}

func TestSendingAParkedEntryAgain(t *testing.T) {
	const path = "/api/v1/parked/alerts/default/k/retry"
	n := &node{}
	local := from("127.0.0.1:1")
	w := ask(n.handler(""), "POST", "http://localhost"+path, local)
	if w.Code != 200 || !strings.HasPrefix(w.Body.String(), `{"status":"delivered","entry":{"key":"k","pipeline":"alerts/default"`) || fmt.Sprint(n.parked.retried) != "[alerts/default k]" {
		t.Errorf("got %d %s, sent %q", w.Code, w.Body, n.parked.retried)
	}
	if log := n.log.String(); !strings.Contains(log, `what="parked: alerts/default/k sent again: delivered"`) {
		t.Errorf("the audit says\n%s", log)
	}
	refusal(t, "from elsewhere", ask(n.handler(""), "POST", path, from("192.0.2.9:1")), 403, "this machine only")
	for _, c := range []struct {
		err  error
		code int
		says string
	}{
		{fmt.Errorf("parked entry k: %w: LAM lam1 answers 400: no", ErrRefusedAgain), 409, "LAM lam1 answers 400: no"},
		{fmt.Errorf("parked entry k: %w: there is none", ErrNoEvent), 409, "there is none"},
		{fmt.Errorf("parked entry k: %w: LAM lam1 takes nothing", ErrAway), 503, "takes nothing"},
		{fmt.Errorf("parked entry k: %w", ErrNotFound), 404, "not found"},
	} {
		n := &node{parked: fakeParked{err: c.err}}
		refusal(t, c.err.Error(), ask(n.handler(""), "POST", "http://localhost"+path, local), c.code, c.says)
	}
	if len(n.parked.retried) != 1 {
		t.Error("refused and sent")
	}
}

func TestAllowNamesWhatAnAddressTakes(t *testing.T) {
	h := (&node{}).handler("")
	for path, want := range map[string]string{
		"/api/v1/config": "GET, HEAD, PUT", "/api/v1/parked/alerts/default/k": "GET, HEAD, DELETE", "/": "GET, HEAD",
	} {
		if got := strings.Join(ask(h, "POST", path).Header().Values("Allow"), ", "); got != want {
			t.Errorf("%s: Allow is %q, want %q", path, got, want)
		}
	}
}

func TestVanishedAlertsAreConfirmedAtTheLeader(t *testing.T) {
	n := &node{operators: "secret", leads: true}
	post := func() *httptest.ResponseRecorder {
		return ask(n.handler(""), http.MethodPost, "/api/v1/reconcile/confirm", func(r *http.Request) { r.Header.Set("Authorization", "Bearer secret") })
	}
	if w := post(); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"vanished":7`) {
		t.Errorf("at the leader: %d %s", w.Code, w.Body)
	}
	n.leads = false
	if w := post(); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "primary leads") {
		t.Errorf("elsewhere: %d %s, want 409 and who leads", w.Code, w.Body)
	}
}
