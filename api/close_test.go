package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "scomconnector/api/v1"
)

// fakeCloses takes what it is given, or refuses with err, and has SCOM answer with verdict after delay.
type fakeCloses struct {
	err       error
	rulesAt   time.Time // when the settings are known
	actions   map[string]int
	verdict   v1.CloseVerdict
	delay     time.Duration
	list      v1.OutboxList
	refused   []v1.ParkedRequest
	submitted func(context.Context) // called within Submit

	mu     sync.Mutex // guards what follows
	took   []CloseRequest
	called []string
}

func (f *fakeCloses) Submit(ctx context.Context, r CloseRequest) (string, error) {
	if f.submitted != nil {
		f.submitted(ctx)
	}
	if f.err != nil {
		return "", f.err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.took = append(f.took, r)
	return fmt.Sprintf("%016x", len(f.took)), nil
}

func (f *fakeCloses) Await(ctx context.Context, _ string) (v1.CloseVerdict, bool) {
	if f.verdict.Status == "" {
		<-ctx.Done()
		return v1.CloseVerdict{}, false
	}
	select {
	case <-ctx.Done():
		return v1.CloseVerdict{}, false
	case <-time.After(f.delay):
		return f.verdict, true
	}
}

func (f *fakeCloses) Rules() (CloseRules, bool) {
	actions := f.actions
	if actions == nil {
		actions = map[string]int{"Closed": 255, "Resolved": 254, "Acknowledged": 249}
	}
	return CloseRules{Actions: actions, Wait: 5 * time.Second}, !time.Now().Before(f.rulesAt)
}

func (f *fakeCloses) Outbox() v1.OutboxList              { return f.list }
func (f *fakeCloses) ParkedRequests() []v1.ParkedRequest { return f.refused }

func (f *fakeCloses) Retry(_ context.Context, id string) error   { return f.note("retry " + id) }
func (f *fakeCloses) Discard(_ context.Context, id string) error { return f.note("discard " + id) }

func (f *fakeCloses) note(what string) error {
	if strings.HasSuffix(what, " none") {
		return fmt.Errorf("request none: %w", ErrNotFound)
	}
	f.called = append(f.called, what)
	return f.err
}

const guid = "5d0c6c2e-8d0f-4a27-9c36-6a86b2ec7a01"

// post sends a close request as a moobot on another machine does.
func post(h http.Handler, target, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	r.RemoteAddr = "192.0.2.20:40000"
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func answered(t testing.TB, w *httptest.ResponseRecorder) v1.CloseAnswer {
	t.Helper()
	var a v1.CloseAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	if a.Success != (w.Code == 200) || !a.Success && (a.Error == "" || a.Hint == "") {
		t.Errorf("%d answers %s: success is true for 200 and only then, all else has error and hint", w.Code, w.Body)
	}
	return a
}

func TestTheManualsRequestIsAccepted(t *testing.T) {
	n := &node{}
	w := post(n.handler(""), "/event_post/", `{"id":"`+guid+`","externalId":"CONTOSO-MG","description":"disk full","detail":"Closed"}`)
	if got, want := strings.TrimSpace(w.Body.String()), `{"success":true,"id":"`+guid+`","status":"queued","request":"0000000000000001"}`; w.Code != 200 || got != want {
		t.Errorf("got %d %s, want 200 %s", w.Code, got, want)
	}
	want := CloseRequest{Alert: guid, State: 255, From: "192.0.2.20"}
	if got := n.closes.took; len(got) != 1 || fmt.Sprint(got[0]) != fmt.Sprint(want) {
		t.Errorf("submitted %+v, want %+v", got, want)
	}
	for _, want := range []string{"who=192.0.2.20", "from=192.0.2.20:40000", `what="set ` + guid + ` to resolution state 255"`, `outcome="queued 0000000000000001"`} {
		if !strings.Contains(n.log.String(), want) {
			t.Errorf("the audit lacks %s: %s", want, n.log.String())
		}
	}
}

func TestUnderstoodRequests(t *testing.T) {
	upper := strings.ToUpper(guid)
	ticket := map[string]string{"TicketId": "INC1"}
	for _, c := range []struct {
		name, body string
		want       CloseRequest
	}{
		{"the id alone", `{"id":"` + guid + `"}`, CloseRequest{State: 255}},
		{"braces and upper case", `{"id":" {` + upper + `} "}`, CloseRequest{State: 255}},
		{"no dashes", `{"id":"` + strings.ReplaceAll(guid, "-", "") + `"}`, CloseRequest{State: 255}},
		{"no detail", `{"id":"` + guid + `","detail":null}`, CloseRequest{State: 255}},
		{"an empty detail", `{"id":"` + guid + `","detail":" "}`, CloseRequest{State: 255}},
		{"another case", `{"id":"` + guid + `","detail":" closed"}`, CloseRequest{State: 255}},
		{"another action", `{"id":"` + guid + `","detail":"Resolved"}`, CloseRequest{State: 254}},
		{"a byte order mark", "\ufeff" + `{"id":"` + guid + `"}`, CloseRequest{State: 255}},
		{"Latin-1 in the description", `{"id":"` + guid + `","description":"` + "Pl\xe4tte" + `"}`, CloseRequest{State: 255}},
		{"unknown keys of any kind", `{"sig":[1,{"id":"x"}],"id":"` + guid + `","description":null,"externalId":7}`, CloseRequest{State: 255}},
		{"the same id twice", `{"id":"` + guid + `","id":"` + guid + `"}`, CloseRequest{State: 255}},
		{"fields and closing", `{"id":"` + guid + `","ticketId":"INC1"}`, CloseRequest{State: 255, Fields: ticket}},
		{"a ticket that is a number", `{"id":"` + guid + `","TicketID":4711}`, CloseRequest{State: 255, Fields: map[string]string{"TicketId": "4711"}}},
		{"all fields", `{"id":"` + guid + `","owner":" bob ","customField1":"a","customField10":"","comment":"by\nMoogsoft","customField11":"x"}`,
			CloseRequest{State: 255, Comment: "by Moogsoft", Fields: map[string]string{"Owner": "bob", "CustomField1": "a", "CustomField10": ""}}},
		{"fields that are not there", `{"id":"` + guid + `","owner":null,"ticketId":null,"comment":null}`, CloseRequest{State: 255}},
		{"fields only", `{"id":"` + guid + `","detail":"update","ticketId":"INC1"}`, CloseRequest{Keep: true, Fields: ticket}},
	} {
		n := &node{}
		w := post(n.handler(""), "/event_post/", c.body)
		c.want.Alert, c.want.From = guid, "192.0.2.20"
		if a := answered(t, w); w.Code != 200 || a.Status != "queued" || a.ID != guid || len(n.closes.took) != 1 || fmt.Sprint(n.closes.took[0]) != fmt.Sprint(c.want) {
			t.Errorf("%s: got %d %s, submitted %+v, want %+v", c.name, w.Code, w.Body, n.closes.took, c.want)
		}
	}
}

// Whoever mistypes a key is told so, though the request is carried out; what the original's moobot sends besides is no news.
func TestKeysThatMeanNothingAreNamed(t *testing.T) {
	for body, want := range map[string][]string{
		`{"id":"` + guid + `","externalId":"MG","description":"d","detail":"Closed","ticketId":"INC1","comment":"c"}`: nil,
		`{"id":"` + guid + `","ticketID2":"INC1","Note\u0007":1}`:                                                     {"Note", "ticketID2"},
	} {
		n := &node{}
		w := post(n.handler(""), "/event_post/", body)
		if a := answered(t, w); w.Code != 200 || !slices.Equal(a.Ignored, want) {
			t.Errorf("%s: got %d %s, want %v ignored", body, w.Code, w.Body, want)
		}
		if told := strings.Contains(n.log.String(), "ignored Note, ticketID2"); told != (want != nil) {
			t.Errorf("%s: the audit says %s", body, n.log.String())
		}
	}
	many := `{"id":"` + guid + `"`
	for i := range 1000 {
		many += fmt.Sprintf(`,"key%d":1`, i)
	}
	w := post((&node{}).handler(""), "/event_post/", many+"}")
	if a := answered(t, w); w.Code != 200 || len(a.Ignored) != mostIgnored {
		t.Errorf("of 1,000 keys %d are named, want %d", len(a.Ignored), mostIgnored)
	}
}

func TestMalformedRequestsAreRefusedWithWhatIsWrong(t *testing.T) {
	n := &node{}
	for _, c := range []struct {
		name, target, body string
		code               int
		says               string
	}{
		{"nothing", "", "", 400, "empty"},
		{"white space", "", " \n", 400, "empty"},
		{"no JSON", "", "id=" + guid, 400, "no JSON object"},
		{"a list", "", `[{"id":"` + guid + `"}]`, 400, "no JSON object"},
		{"cut off", "", `{"id":"` + guid, 400, "no JSON"},
		{"two objects", "", `{"id":"` + guid + `"}{}`, 400, "behind the object"},
		{"no id", "", `{"externalId":"x"}`, 400, `"id" is missing`},
		{"id null", "", `{"id":null}`, 400, `"id" is missing`},
		{"id empty", "", `{"id":" "}`, 400, `"id" is missing`},
		{"id a number", "", `{"id":42}`, 400, `"id" must be a text`},
		{"id a list", "", `{"id":["` + guid + `"]}`, 400, `"id" must be a text`},
		{"id garbage", "", `{"id":"host17"}`, 400, `GUID: "host17"`},
		{"id of zeros", "", `{"id":"00000000-0000-0000-0000-000000000000"}`, 400, "GUID"},
		{"two ids", "", `{"id":"` + guid + `","ID":"5d0c6c2e-8d0f-4a27-9c36-6a86b2ec7a02"}`, 400, `"id" stands there twice`},
		{"two tickets", "", `{"id":"` + guid + `","ticketId":"1","ticketId":"2"}`, 400, "twice"},
		{"an unknown detail", "", `{"id":"` + guid + `","detail":"Shut"}`, 400, `"Shut" is none of the settings' CallbackActions: Acknowledged, Closed, Resolved; or Update`},
		{"a detail that is a number", "", `{"id":"` + guid + `","detail":255}`, 400, `"detail" must be a text`},
		{"an update of nothing", "", `{"id":"` + guid + `","detail":"Update","comment":"hello"}`, 400, "something to change"},
		{"a field that is a list", "", `{"id":"` + guid + `","owner":["bob"]}`, 400, `"owner" must be a text`},
		{"a field that is too long", "", `{"id":"` + guid + `","ticketId":"` + strings.Repeat("x", 151) + `"}`, 400, "151 characters"},
		{"a field with a line break", "", `{"id":"` + guid + `","owner":"a\nb"}`, 400, "control characters"},
		{"a wait that is none", "?wait=soon", `{"id":"` + guid + `"}`, 400, "wait=5s"},
		{"no wait", "?wait=", `{"id":"` + guid + `"}`, 400, "wait=5s"},
		{"too long a wait", "?wait=31", `{"id":"` + guid + `"}`, 400, "30s"},
		{"a negative wait", "?wait=-1s", `{"id":"` + guid + `"}`, 400, "wait=5s"},
		{"no number", "?wait=NaN", `{"id":"` + guid + `"}`, 400, "wait=5s"},
		{"too large", "", `{"id":"` + guid + `","description":"` + strings.Repeat("x", 64<<10) + `"}`, 413, "too large"},
	} {
		// Each comes from a machine of its own: there is a limit for one.
		h := n.handler("")
		w := post(h, "/event_post/"+c.target, c.body)
		if a := answered(t, w); w.Code != c.code || !strings.Contains(a.Error, c.says) {
			t.Errorf("%s: got %d %s, want %d with %q", c.name, w.Code, w.Body, c.code, c.says)
		}
	}
	w := post(n.handler(""), "/event_post/", "", func(r *http.Request) {
		r.Header.Set("Idempotency-Key", strings.Repeat("k", 129))
		r.Body = io.NopCloser(strings.NewReader(`{"id":"` + guid + `"}`))
	})
	if a := answered(t, w); w.Code != 400 || !strings.Contains(a.Error, "Idempotency-Key") || a.ID != guid {
		t.Errorf("a long key: got %d %s", w.Code, w.Body)
	}
	if len(n.closes.took) > 0 {
		t.Errorf("malformed requests were submitted: %+v", n.closes.took)
	}
}

func TestAnActionOfTheNameUpdateIsAnAction(t *testing.T) {
	n := &node{closes: fakeCloses{actions: map[string]int{"Closed": 255, "closed": 10, "UPDATE": 100}}}
	h := n.handler("")
	for detail, want := range map[string]uint8{"update": 100, "Closed": 255, "closed": 10, "CLOSED": 255} {
		post(h, "/event_post/", fmt.Sprintf(`{"id":"%s","detail":%q}`, guid, detail))
		if got := n.closes.took[len(n.closes.took)-1]; got.State != want || got.Keep {
			t.Errorf("%s asks for %+v, want state %d", detail, got, want)
		}
	}
}

func TestAFaultOfTheClusterTellsWhenToComeAgain(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		code  int
		retry string
		says  string
	}{
		{"no leader", fmt.Errorf("%w: none for 5 s", ErrNoLeader), 503, "5", "no leader"},
		{"in time", context.DeadlineExceeded, 503, "5", "deadline"},
		{"unknown outcome", ErrUnknownOutcome, 503, "5", "not known"},
		{"full", fmt.Errorf("%w: 100000", ErrOutboxFull), 429, "30", "100000"},
		{"unknown alert", ErrUnknownAlert, 404, "", "no such alert"},
		{"refused as it is", fmt.Errorf("%w: too long", ErrInvalid), 400, "", "too long"},
		{"a bug", errors.New("boom"), 500, "", "boom"},
	} {
		n := &node{}
		n.closes.err = c.err
		w := post(n.handler(""), "/event_post/", `{"id":"`+guid+`"}`)
		a := answered(t, w)
		if w.Code != c.code || w.Header().Get("Retry-After") != c.retry || !strings.Contains(a.Error, c.says) || a.ID != guid || a.Status != "" {
			t.Errorf("%s: got %d, Retry-After %q, %s; want %d, %q, %q", c.name, w.Code, w.Header().Get("Retry-After"), w.Body, c.code, c.retry, c.says)
		}
		if !strings.Contains(n.log.String(), "not accepted") {
			t.Errorf("%s is not in the audit: %s", c.name, n.log.String())
		}
	}
}

func TestItWaitsForALeaderAsLongAsTheSettingsSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{closes: fakeCloses{err: ErrNoLeader}}
		n.closes.submitted = func(ctx context.Context) { <-ctx.Done() }
		begun := time.Now()
		w := post(n.handler(""), "/event_post/?wait=30s", `{"id":"`+guid+`"}`)
		if took := time.Since(begun); w.Code != 503 || took != 5*time.Second {
			t.Errorf("got %d after %v, want 503 after 5s", w.Code, took)
		}
	})
}

// A node that has just started learns the settings in a moment: until then it must not turn away a moobot that asks only once.
func TestItWaitsForTheSettings(t *testing.T) {
	for _, after := range []time.Duration{2 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			n := &node{}
			n.closes.rulesAt = time.Now().Add(after)
			begun := time.Now()
			w := post(n.handler(""), "/event_post/", `{"id":"`+guid+`"}`)
			took := time.Since(begun)
			if after > forSettings {
				if a := answered(t, w); w.Code != 503 || took != forSettings || w.Header().Get("Retry-After") != "5" || !strings.Contains(a.Error, "settings") || a.ID != guid {
					t.Errorf("without settings: got %d %s after %v, want 503 after %v", w.Code, w.Body, took, forSettings)
				}
				if !strings.Contains(n.log.String(), "not accepted") {
					t.Errorf("it is not in the audit: %s", n.log.String())
				}
				return
			}
			if w.Code != 200 || took > after+time.Second {
				t.Errorf("with settings after %v: got %d %s after %v, want 200", after, w.Code, w.Body, took)
			}
		})
	}
}

func TestVerdictsOfSCOM(t *testing.T) {
	for _, c := range []struct {
		name, body, verdict string
		code                int
		status              string
	}{
		{"closed", `{"id":"` + guid + `"}`, "closed", 200, "closed"},
		{"closed before", `{"id":"` + guid + `"}`, "already_closed", 200, "already_closed"},
		{"unknown", `{"id":"` + guid + `"}`, "already_closed", 200, "already_closed"},
		{"refused", `{"id":"` + guid + `"}`, "refused", 409, "refused"},
		{"another state", `{"id":"` + guid + `","detail":"Acknowledged"}`, "closed", 200, "done"},
		{"fields, so before", `{"id":"` + guid + `","detail":"Update","owner":"bob"}`, "already_closed", 200, "already_done"},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := &node{closes: fakeCloses{verdict: v1.CloseVerdict{Status: c.verdict}, delay: 2 * time.Second}}
			if c.verdict == "refused" {
				n.closes.verdict.Reason = "the monitor is unhealthy"
			}
			if c.name == "unknown" {
				n.closes.verdict.Reason = "unknown to SCOM"
			}
			h := n.handler("")
			w := post(h, "/event_post/?wait=5s", c.body)
			a := answered(t, w)
			if w.Code != c.code || a.Status != c.status || a.Reason != n.closes.verdict.Reason || a.ID != guid || a.Request == "" {
				t.Errorf("%s: got %d %s, want %d %s", c.name, w.Code, w.Body, c.code, c.status)
			}
			for _, target := range []string{"/event_post/", "/event_post/?wait=1", "/event_post/?wait=0"} {
				if w := post(h, target, c.body); w.Code != 200 || answered(t, w).Status != "queued" {
					t.Errorf("%s, %s: got %d %s, want queued", c.name, target, w.Code, w.Body)
				}
			}
		})
	}
}

func TestIdsOfTheConnectorsOwnEventsNeedNothingDone(t *testing.T) {
	n := &node{closes: fakeCloses{rulesAt: time.Now().Add(time.Hour), err: ErrNoLeader}}
	w := post(n.handler(""), "/event_post", `{"id":"scomconnector::prod::noleader","detail":"Whatever"}`)
	if a := answered(t, w); w.Code != 200 || a.Status != "already_closed" || a.ID != "scomconnector::prod::noleader" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestSlashesAndTypesDoNotMatter(t *testing.T) {
	n := &node{}
	srv := httptest.NewServer(n.handler(""))
	defer srv.Close()
	for _, path := range []string{"/event_post/", "/event_post", "//event_post//", "//event_post", "/event_post//", "/event_post/?wait=0s"} {
		for _, media := range []string{"", "text/plain", "application/x-www-form-urlencoded", "nonsense"} {
			req, err := http.NewRequest(http.MethodPost, srv.URL+path, strings.NewReader(`{"id":"`+guid+`"}`))
			if err != nil {
				t.Fatal(err)
			}
			if media != "" {
				req.Header.Set("Content-Type", media)
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s as %q: got %d, want 200", path, media, resp.StatusCode)
			}
		}
	}
	for _, method := range []string{"GET", "PUT", "HEAD", "DELETE"} {
		w := ask(n.handler(""), method, "//event_post")
		if w.Code != 405 || w.Header().Get("Allow") != "POST" || answered(t, w).Success {
			t.Errorf("%s: got %d, Allow %q, want 405 and POST", method, w.Code, w.Header().Get("Allow"))
		}
	}
	for _, path := range []string{"/event_post/x", "/event_postx/", "/x/event_post/", "/"} {
		if w := post(n.handler(""), path, "{}"); w.Code == 200 || w.Code == 400 {
			t.Errorf("%s is taken for a close request: %d", path, w.Code)
		}
	}
}

func TestCallbackToken(t *testing.T) {
	n := &node{callers: "s3cret"}
	h := n.handler("r3ader")
	for _, c := range []struct {
		name   string
		change func(*http.Request)
		code   int
		from   string
	}{
		{"none", func(*http.Request) {}, 401, ""},
		{"wrong", header("Authorization", "Bearer s3cre"), 401, ""},
		{"empty", header("Authorization", "Bearer "), 401, ""},
		{"the reader's", header("Authorization", "Bearer r3ader"), 401, ""},
		{"bearer", header("Authorization", "Bearer s3cret"), 200, "192.0.2.20"},
		{"basic", func(r *http.Request) { r.SetBasicAuth("moog\n1", "s3cret") }, 200, "moog 1 from 192.0.2.20"},
		{"basic, wrong", func(r *http.Request) { r.SetBasicAuth("s3cret", "moog") }, 401, ""},
	} {
		w := post(h, "/event_post/", `{"id":"`+guid+`"}`, c.change)
		answered(t, w)
		if w.Code != c.code || c.code == 401 != strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic") {
			t.Errorf("%s: got %d, %q", c.name, w.Code, w.Header())
		}
		if c.code == 200 && n.closes.took[len(n.closes.took)-1].From != c.from {
			t.Errorf("%s: from %q, want %q", c.name, n.closes.took[len(n.closes.took)-1].From, c.from)
		}
	}
	if strings.Contains(n.log.String(), "s3cre") {
		t.Error("a token is in the log")
	}
}

func TestHostsAreNotAskedAndForeignPagesAreRefused(t *testing.T) {
	h := (&node{operators: "x"}).handler("")
	for name, change := range map[string]func(*http.Request){
		"any name": host("anything.example"), "a proxy": header("X-Forwarded-For", "192.0.2.1"), "no name": host(""),
	} {
		if w := post(h, "/event_post/", `{"id":"`+guid+`"}`, change); w.Code != 200 {
			t.Errorf("%s: got %d %s", name, w.Code, w.Body)
		}
	}
	if w := post(h, "/event_post/", `{"id":"`+guid+`"}`, header("Origin", "https://evil.example")); w.Code != 403 || answered(t, w).Success {
		t.Errorf("another site's page: got %d", w.Code)
	}
}

func TestOnlyMalformedRequestsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{}
		h := n.handler("")
		codes := map[int]int{}
		for range 1000 {
			codes[post(h, "/event_post/", `{"id":7}`).Code]++
		}
		if codes[400] != strangeBurst || codes[429] != 1000-strangeBurst {
			t.Errorf("1000 malformed requests are answered %v, want 400 for %d and 429", codes, strangeBurst)
		}
		if w := post(h, "/event_post/", `{"id":7}`); w.Header().Get("Retry-After") == "" {
			t.Error("429 does not say when to come again")
		}
		for range 100 {
			if w := post(h, "/event_post/", `{"id":"`+guid+`"}`); w.Code != 200 {
				t.Fatalf("a good request from the same machine: got %d", w.Code)
			}
		}
		if w := post(h, "/event_post/", `{"id":7}`, from("192.0.2.21:1")); w.Code != 400 {
			t.Errorf("another machine's first: got %d", w.Code)
		}
		if got := strings.Count(n.log.String(), "close request refused"); got != strangeBurst+1 {
			t.Errorf("%d lines in the log, want %d", got, strangeBurst+1)
		}
		time.Sleep(strangeEvery)
		if w := post(h, "/event_post/", `{"id":7}`); w.Code != 400 {
			t.Errorf("after %v: got %d, want 400", strangeEvery, w.Code)
		}
	})
}

func TestStrangersTakeBoundedMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrangers()
		for i := range 5 * maxStrangers {
			s.allow(fmt.Sprintf("10.0.%d.%d:1", i/250, i%250))
		}
		if got := len(s.all); got > maxStrangers+1 {
			t.Errorf("%d are remembered, want at most %d", got, maxStrangers+1)
		}
		if s.allow("10.9.9.9:1") {
			t.Error("beyond the limit each has a measure of its own")
		}
		time.Sleep(strangeBurst * strangeEvery)
		if !s.allow("10.9.9.9:1") || len(s.all) > 2 {
			t.Errorf("later %d are remembered", len(s.all))
		}
		for range strangeBurst {
			s.allow("[2001:db8::1]:1")
		}
		if s.allow("[2001:db8::2:3]:1") || !s.allow("[2001:db8:0:1::1]:1") {
			t.Error("IPv6 is not measured by its first half")
		}
	})
}

func TestIdempotencyKeyIsPassedOn(t *testing.T) {
	n := &node{}
	post(n.handler(""), "/event_post/", `{"id":"`+guid+`"}`, header("Idempotency-Key", " 4711-3 "))
	if got := n.closes.took[0].Key; got != "4711-3" {
		t.Errorf("got %q", got)
	}
}

func TestLongCommentsAreCut(t *testing.T) {
	n := &node{}
	post(n.handler(""), "/event_post/", `{"id":"`+guid+`","comment":"`+strings.Repeat("😀", 600)+`"}`)
	if got := n.closes.took[0].Comment; got != strings.Repeat("😀", 499)+"…" {
		t.Errorf("got %d bytes ending in %q", len(got), got[len(got)-8:])
	}
}

// A moobot's burst waits in memory that is bounded, and what finds no place is told to come again.
func TestRequestsInFlightAreBounded(t *testing.T) {
	n := &node{}
	hold, begun := make(chan struct{}), make(chan struct{}, maxTaking)
	n.closes.submitted = func(context.Context) { begun <- struct{}{}; <-hold }
	h := n.handler("")
	var wg sync.WaitGroup
	codes := make(chan int, maxTaking)
	for range maxTaking {
		wg.Go(func() { codes <- post(h, "/event_post/", `{"id":"`+guid+`"}`).Code })
	}
	for range maxTaking {
		<-begun
	}
	if w := post(h, "/event_post/", `{"id":"`+guid+`"}`); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("one too many: got %d", w.Code)
	}
	close(hold)
	wg.Wait()
	close(codes)
	for c := range codes {
		if c != 200 {
			t.Errorf("one that was taken: got %d", c)
		}
	}
}

// The server's own deadline for reading is 30 s, which would end a request that waits as long.
func TestAWaitOfHalfAMinuteIsNotCutOff(t *testing.T) {
	n := &node{closes: fakeCloses{verdict: v1.CloseVerdict{Status: "closed"}, delay: 600 * time.Millisecond}}
	n.closes.submitted = func(ctx context.Context) {
		select {
		case <-ctx.Done():
			t.Error("the server cancelled a request that waits")
		case <-time.After(600 * time.Millisecond):
		}
	}
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = Server(n.handler(""))
	srv.Config.ReadTimeout, srv.Config.WriteTimeout = 200*time.Millisecond, 200*time.Millisecond
	srv.Start()
	defer srv.Close()
	resp, err := http.Post(srv.URL+"/event_post/?wait=30", "", strings.NewReader(`{"id":"`+guid+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), `"closed"`) {
		t.Errorf("got %d %s %v, want closed", resp.StatusCode, body, err)
	}
}

func TestWhoWaitsIsToldWhenTheNodeStops(t *testing.T) {
	n := &node{}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := Server(n.handler(""))
	go srv.Serve(ln)
	status := make(chan string, 1)
	begun := make(chan struct{})
	n.closes.submitted = func(context.Context) { close(begun) }
	go func() {
		resp, err := http.Post("http://"+ln.Addr().String()+"/event_post/?wait=30", "", strings.NewReader(`{"id":"`+guid+`"}`))
		if err != nil {
			status <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		status <- string(body)
	}()
	<-begun
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if got := <-status; !strings.Contains(got, `"queued"`) {
		t.Errorf("got %s, want queued", got)
	}
}

func TestOutboxAndParkedRequests(t *testing.T) {
	n := &node{}
	h := n.handler("")
	for path, want := range map[string]string{
		"/api/v1/outbox":          `{"pending":0,"error":"","entries":[],"settled":[]}`,
		"/api/v1/parked-requests": `{"count":0,"requests":[]}`,
	} {
		if w := ask(h, "GET", path); w.Code != 200 || strings.TrimSpace(w.Body.String()) != want {
			t.Errorf("%s: got %d %s, want %s", path, w.Code, w.Body, want)
		}
	}
	n.closes.refused = []v1.ParkedRequest{{OutboxEntry: v1.OutboxEntry{ID: "0a"}, Reason: "no"}}
	if w := ask(h, "GET", "/api/v1/parked-requests"); !strings.HasPrefix(w.Body.String(), `{"count":1,"requests":[{"id":"0a"`) {
		t.Errorf("got %s", w.Body)
	}
	local := []func(*http.Request){from("127.0.0.1:5"), host("localhost")}
	for _, c := range []struct {
		method, path string
		change       []func(*http.Request)
		code         int
	}{
		{"POST", "/api/v1/parked-requests/0a/retry", local, 204}, {"DELETE", "/api/v1/parked-requests/0b", local, 204},
		{"POST", "/api/v1/parked-requests/none/retry", local, 404}, {"DELETE", "/api/v1/parked-requests/none", local, 404},
		{"POST", "/api/v1/parked-requests/0c/retry", nil, 403}, {"DELETE", "/api/v1/parked-requests/0c", nil, 403},
	} {
		if w := ask(h, c.method, c.path, c.change...); w.Code != c.code {
			t.Errorf("%s %s: got %d %s, want %d", c.method, c.path, w.Code, w.Body, c.code)
		}
	}
	if want := []string{"retry 0a", "discard 0b"}; !slices.Equal(n.closes.called, want) {
		t.Errorf("called %q, want %q", n.closes.called, want)
	}
	for _, want := range []string{`parked request \"0a\" put back`, `parked request \"0b\" removed`} {
		if !strings.Contains(n.log.String(), want) {
			t.Errorf("the audit lacks %s: %s", want, n.log.String())
		}
	}
}

// garbage is a body such as fuzzers make: a good one, mutilated.
func garbage(r *rand.Rand) string {
	body := []byte(`{"id":"{` + guid + `}","externalId":"MG","description":"d\u00e9","detail":"Closed","ticketId":"INC1","owner":"o","customField10":"x","comment":"c"}`)
	for range 1 + r.IntN(6) {
		i := r.IntN(len(body))
		switch r.IntN(4) {
		case 0:
			body[i] = byte(r.Uint32())
		case 1:
			body = slices.Delete(body, i, i+1+r.IntN(len(body)-i))
		case 2:
			body = slices.Insert(body, i, []byte(`"{}[]:,\0`)[r.IntN(9)])
		case 3:
			body = append(body, body[i:]...)
		}
		if len(body) == 0 {
			body = []byte{byte(r.Uint32())}
		}
	}
	return string(body)
}

var plainGUID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// sane checks what must be so of any answer to any body.
func sane(t testing.TB, n *node, h http.Handler, body, sender string) {
	before := len(n.closes.took)
	w := post(h, "/event_post/", body, from(sender))
	a := answered(t, w)
	took := n.closes.took[before:]
	switch {
	case w.Code == 200 && a.Status == "queued":
		if len(took) != 1 || took[0].Alert != a.ID || !plainGUID.MatchString(a.ID) || took[0].Keep && len(took[0].Fields) == 0 {
			t.Errorf("%q is answered %s, and submitted as %+v", body, w.Body, took)
		}
	case w.Code == 200 && a.Status == "already_closed" && len(took) == 0 && strings.HasPrefix(strings.ToLower(a.ID), ownPrefix):
	case w.Code == 400 && len(took) == 0:
	case w.Code == 413 && len(body) > maxBodyBytes && len(took) == 0:
	default:
		t.Errorf("%q is answered %d %s, and submitted as %+v", body, w.Code, w.Body, took)
	}
}

func TestTenThousandGarbageBodies(t *testing.T) {
	n := &node{}
	var h http.Handler
	r := rand.New(rand.NewPCG(4, 2026))
	codes := map[bool]int{}
	for i := range 10000 {
		if i%maxStrangers == 0 {
			h = n.handler("")
		}
		before := len(n.closes.took)
		// No machine sends more than its measure: what the limit does is another test's.
		sane(t, n, h, garbage(r), fmt.Sprintf("10.0.%d.%d:1", i%maxStrangers/250, i%250))
		n.log.Reset()
		codes[len(n.closes.took) > before]++
	}
	if codes[true] < 500 || codes[false] < 500 {
		t.Errorf("%v: too few of one kind to show anything", codes)
	}
	w := post(h, "/event_post/", `{"id":"`+guid+`"}`)
	if w.Code != 200 {
		t.Errorf("after all that a good one is answered %d %s", w.Code, w.Body)
	}
}

func FuzzEventPost(f *testing.F) {
	r := rand.New(rand.NewPCG(4, 2026))
	for range 20 {
		f.Add(garbage(r))
	}
	f.Add(`{"id":"scomconnector::x::y"}`)
	n := &node{}
	var h http.Handler
	count := 0
	f.Fuzz(func(t *testing.T, body string) {
		if count%maxStrangers == 0 {
			h = n.handler("")
		}
		sane(t, n, h, body, fmt.Sprintf("10.0.%d.%d:1", count%maxStrangers/250, count%250))
		count++
		n.log.Reset()
		n.closes.took = n.closes.took[:0]
	})
}

func BenchmarkEventPost(b *testing.B) {
	n := &node{}
	h := n.handler("")
	for b.Loop() {
		post(h, "/event_post/", `{"id":"`+guid+`","externalId":"CONTOSO-MG","description":"disk full","detail":"Closed"}`)
		n.closes.took = n.closes.took[:0]
		n.log.Reset()
	}
}
