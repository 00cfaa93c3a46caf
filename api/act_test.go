package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	v1 "scomconnector/api/v1"
)

// acted is a node with a refused close request and a parked alert.
func acted() *node {
	n := &node{status: healthy()}
	_, refused := waiting()
	n.closes.refused = refused.Requests
	n.closes.refused[0].Reason = "AlertMonitorUnhealthyException: the monitor is unhealthy." // SCOM's own words end in a full stop
	return n
}

// openAct is the page of an act as a browser on the node's machine gets it.
func openAct(h http.Handler, target string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	return ask(h, "GET", "http://localhost:8085"+target, append([]func(*http.Request){from("127.0.0.1:50000")}, change...)...)
}

// press sends the form of that page, as a browser does.
func press(t *testing.T, h http.Handler, target string, more url.Values, change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	v := u.Query()
	found := codeField.FindStringSubmatch(openAct(h, target).Body.String())
	if found == nil {
		t.Fatalf("%s has no form", target)
	}
	v.Set("code", found[1])
	for name, values := range more {
		v[name] = values
	}
	form := []func(*http.Request){
		header("Content-Type", "application/x-www-form-urlencoded"), header("Origin", "http://localhost:8085"), header("Sec-Fetch-Site", "same-origin"),
	}
	return send(h, "POST", u.Path, v.Encode(), append(form, change...)...)
}

const parkedAlert = "/act/remove-alert?pipeline=alerts%2Fdefault&key=k"

func TestActsSayWhatWillHappenAndDoIt(t *testing.T) {
	for _, c := range []struct {
		target string
		more   url.Values
		says   []string
		did    func(*node) []string
		want   string
		done   string
		audit  string
	}{
		{"/act/transfer", nil, []string{"primary finishes what it has begun and hands over to secondary", "Nobody is put into maintenance", "secondary is asked first"},
			func(n *node) []string { return n.office.got }, "transfer to= force=false by somebody on this machine", "done secondary leads.", "page: transfer"},
		{"/act/transfer", url.Values{"to": {"secondary"}, "force": {"true"}}, nil,
			func(n *node) []string { return n.office.got }, "transfer to=secondary force=true by somebody on this machine", "done secondary leads.", "page: transfer"},
		{"/act/retry-request?id=00c0ffee00c0fff0", nil, []string{"goes back into the outbox", "resolution state 249", "the monitor is unhealthy", "refuses it again"},
			func(n *node) []string { return n.closes.called }, "retry 00c0ffee00c0fff0", "done Request 00c0ffee00c0fff0 is in the outbox again.", `page: retry-request id=\"00c0ffee00c0fff0\"`},
		{"/act/remove-request?id=00c0ffee00c0fff0", nil, []string{"taken away for good. Nothing is sent to SCOM.", "go on to disagree"},
			func(n *node) []string { return n.closes.called }, "discard 00c0ffee00c0fff0", "done Request 00c0ffee00c0fff0 is removed.", `page: remove-request id=\"00c0ffee00c0fff0\"`},
		{"/act/rewind?pipeline=alerts%2Fdefault&to=2026-01-01T21:04:05Z", nil,
			[]string{"The cursor of alerts/default goes back from 2026-01-02T03:04:05Z to 2026-01-01T21:04:05Z, 6 h.", "6 alerts that were sent with a state from then on are sent again", "folds what arrives twice"},
			func(n *node) []string { return n.cursors.asked }, "alerts/default 2026-01-01T21:04:05Z somebody on this machine", "done The cursor of alerts/default stands at 2026-01-01T21:04:05Z again", `page: rewind pipeline=\"alerts/default\" to=\"2026-01-01T21:04:05Z\"`},
		{"/act/retry-alert?pipeline=alerts%2Fdefault&key=k", nil, []string{"sends what alerts/default has parked under k to Moogsoft again (17 bytes", "The reason was: refused", "stays parked"},
			func(n *node) []string { return n.parked.retried }, "alerts/default k", "done Moogsoft has taken entry k", `page: retry-alert pipeline=\"alerts/default\" key=\"k\"`},
		{parkedAlert, nil, []string{"The entry k of alerts/default is taken away for good", "The reason was: refused"},
			func(n *node) []string { return n.parked.removed }, "alerts/default k", "done Entry k is removed.", `page: remove-alert pipeline=\"alerts/default\" key=\"k\"`},
	} {
		n := acted()
		h := n.handler("")
		page := openAct(h, c.target)
		if page.Code != 200 {
			t.Fatalf("%s: %d %s", c.target, page.Code, page.Body)
		}
		for _, want := range c.says {
			if got := text(page.Body.String()); !strings.Contains(got, want) {
				t.Errorf("%s: the page does not say %q:\n%s", c.target, want, got)
			}
		}
		if got := text(page.Body.String()); strings.Contains(got, "..") {
			t.Errorf("%s: two full stops:\n%s", c.target, got)
		}
		if got := c.did(n); len(got) > 0 {
			t.Errorf("%s: looking has done %q", c.target, got)
		}
		w := press(t, h, c.target, c.more)
		if got := fmt.Sprint(c.did(n)); w.Code != 200 || got != "["+c.want+"]" || !strings.HasPrefix(text(w.Body.String()), c.done) {
			t.Errorf("%s: got %d, did %s, want %q:\n%s", c.target, w.Code, got, c.want, text(w.Body.String()))
		}
		if strings.Contains(w.Body.String(), "<form") {
			t.Errorf("%s: after it is done the form is still there", c.target)
		}
		if !strings.Contains(n.log.String(), c.audit) {
			t.Errorf("%s: the audit is %s", c.target, n.log.String())
		}
	}
}

func TestActsThatCannotBeDone(t *testing.T) {
	alone, none, away := acted(), acted(), acted()
	alone.status.Members = alone.status.Members[:1]
	none.status.Leader = ""
	away.status.Members[1].Fault = "timeout"
	for _, c := range []struct {
		n      *node
		target string
		code   int
		says   string
		form   bool
	}{
		{alone, "/act/transfer", 409, "no other node that could lead", false},
		{none, "/act/transfer", 503, "no leader", false},
		{away, "/act/transfer", 200, "it would be refused: secondary is out of contact (timeout)", true},
		{acted(), "/act/retry-request?id=nonsense", 404, "not found", false},
		{acted(), "/act/retry-request", 404, "not found", false},
		{acted(), "/act/remove-alert?pipeline=p&key=k", 404, "not found", false},
		{acted(), "/act/rewind?pipeline=alerts/default", 200, "Send again what SCOM shows from (UTC) The cursor stands at 2026-01-02T03:04:05Z; the earliest is 2025-12-26T03:04:05Z.", true},
		{acted(), "/act/rewind?pipeline=alerts/default&to=2025-01-01T00:00:00Z", 422, "the earliest is 2025-12-26T03:04:05Z", true},
		{acted(), "/act/rewind?pipeline=alerts/default&to=2026-01-02T03:04:05Z", 422, "does not skip", true},
		{acted(), "/act/rewind?pipeline=alerts/default&to=yesterday", 400, "accepted is a time with its zone", true},
		{acted(), "/act/rewind?pipeline=p&to=2026-01-01T00:00:00Z", 404, "not found", true},
	} {
		w := openAct(c.n.handler(""), c.target)
		if got := text(w.Body.String()); w.Code != c.code || !strings.Contains(got, c.says) || strings.Contains(w.Body.String(), "<form") != c.form {
			t.Errorf("%s: got %d %s", c.target, w.Code, got)
		}
		if posts := strings.Contains(w.Body.String(), `method="post"`); posts != (c.n == away) {
			t.Errorf("%s: there is a button to do it: %v", c.target, posts)
		}
	}
	if w := openAct(acted().handler(""), "/act/nonsense"); w.Code != 404 {
		t.Errorf("an act that there is not: %d", w.Code)
	}
	if w := send(acted().handler(""), "POST", "/act/nonsense", ""); w.Code != 404 {
		t.Errorf("to do what there is not: %d", w.Code)
	}
}

// The rules are those of every other write: see TestRefusedForms of the maintenance page.
func TestRefusedActs(t *testing.T) {
	const target = "/act/retry-request?id=00c0ffee00c0fff0"
	for name, c := range map[string]struct {
		more   url.Values
		change []func(*http.Request)
		code   int
		says   string
	}{
		"from another machine":   {nil, []func(*http.Request){from("192.0.2.9:5000")}, 403, "from this machine only"},
		"another site's page":    {nil, []func(*http.Request){header("Origin", "http://evil.example")}, 403, "another site's page"},
		"another site's frame":   {nil, []func(*http.Request){header("Sec-Fetch-Site", "cross-site")}, 403, "another site's page"},
		"a name that is foreign": {nil, []func(*http.Request){host("evil.example"), header("Origin", "http://evil.example")}, 403, "not a name of this node"},
		"through a proxy":        {nil, []func(*http.Request){header("X-Forwarded-For", "10.0.0.1")}, 403, "through a proxy"},
		"without a code":         {url.Values{"code": {""}}, nil, 403, "too old"},
		"the code of another":    {url.Values{"id": {"00c0ffee00c0fff1"}}, nil, 403, "too old"},
		"a field that is not":    {url.Values{"more": {"x"}}, nil, 400, "no field"},
		"a field twice":          {url.Values{"id": {"00c0ffee00c0fff0", "00c0ffee00c0fff0"}}, nil, 400, "2 times"},
		"as JSON":                {nil, []func(*http.Request){header("Content-Type", "application/json")}, 415, "not of a type"},
	} {
		n := acted()
		w := press(t, n.handler(""), target, c.more, c.change...)
		if got := text(w.Body.String()); w.Code != c.code || !strings.Contains(got, c.says) || len(n.closes.called) > 0 {
			t.Errorf("%s: got %d, did %q, want %d and %q:\n%s", name, w.Code, n.closes.called, c.code, c.says, got)
		}
	}
	n := acted()
	n.closes.err = fmt.Errorf("%w: try later", ErrNoLeader)
	if w := press(t, n.handler(""), target, nil); w.Code != 503 || !strings.Contains(w.Body.String(), "<form") {
		t.Errorf("refused by the cluster: %d, want 503 and the form anew", w.Code)
	}
	n = acted()
	n.office.err = fmt.Errorf("%w: secondary reaches neither", ErrWarned)
	if w := press(t, n.handler(""), "/act/transfer", nil); w.Code != 409 || !strings.Contains(text(w.Body.String()), "ticks Force") {
		t.Errorf("refused by the office: %d", w.Code)
	}
	if w := press(t, acted().handler(""), "/act/transfer", url.Values{"force": {"perhaps"}}); w.Code != 400 {
		t.Errorf("a box that says perhaps: %d", w.Code)
	}
}

func TestActsTakeTheOperatorTokenOnceAndDoNotRepeatIt(t *testing.T) {
	const target = "/act/remove-request?id=00c0ffee00c0fff0"
	n := acted()
	n.operators = "s3cret"
	h := n.handler("")
	if page := openAct(h, target).Body.String(); !strings.Contains(page, `type="password"`) || !strings.Contains(page, "required") {
		t.Error("the form does not ask for the token")
	}
	elsewhere := from("192.0.2.9:5000")
	for _, given := range []string{"", "wrong"} {
		w := press(t, h, target, url.Values{"token": {given}})
		if w.Code != 401 || len(n.closes.called) > 0 || !strings.Contains(text(w.Body.String()), "type the content of the file") {
			t.Errorf("token %q: %d", given, w.Code)
		}
	}
	page := openAct(h, target, elsewhere)
	v := url.Values{"id": {"00c0ffee00c0fff0"}, "token": {" s3cret\n"}, "code": {codeField.FindStringSubmatch(page.Body.String())[1]}}
	for i, want := range []int{200, 409} {
		w := send(h, "POST", "/act/remove-request", v.Encode(), elsewhere, header("Content-Type", "application/x-www-form-urlencoded"))
		if w.Code != want || len(n.closes.called) != 1 || strings.Contains(w.Body.String(), "s3cret") {
			t.Errorf("sending %d: %d %s, did %q", i+1, w.Code, text(w.Body.String()), n.closes.called)
		}
	}
	if strings.Contains(n.log.String(), "s3cret") {
		t.Error("the token is in the log")
	}
}

var quoted = regexp.MustCompile(`"[^"]*"`)

func TestStrangersTextIsHarmlessOnActsAndSettings(t *testing.T) {
	n := acted()
	n.status = hostile()
	n.closes.refused = n.status.Refused.Requests
	id := url.QueryEscape(n.closes.refused[0].ID)
	for _, target := range []string{"/act/retry-request?id=" + id, "/act/transfer?to=" + id, "/act/remove-alert?pipeline=" + id + "&key=" + id, "/settings?version=" + id, "/settings"} {
		page := openAct(n.handler(""), target).Body.String()
		foreign := []string{"script", "img", "iframe"}
		for _, tag := range tags.FindAllString(page, -1) {
			name := strings.ToLower(strings.Trim(strings.Fields(tag)[0], "</>"))
			if slices.Contains(foreign, name) || strings.Contains(strings.ToLower(quoted.ReplaceAllString(tag, "")), "onerror") {
				t.Errorf("%s: a tag that is not ours: %s", target, tag)
			}
		}
		if strings.ContainsAny(page, "\u202e\x00") {
			t.Errorf("%s: a character that turns the writing, or none at all", target)
		}
	}
}

func TestSettingsPageShowsEveryVersion(t *testing.T) {
	h := (&node{status: healthy()}).handler("")
	for target, want := range map[string]struct {
		code int
		says []string
	}{
		"/settings":               {200, []string{"Version 2", "by alice", `{"Filter": ""}`, "Versions that are kept", "file of primary"}},
		"/settings?version=1":     {200, []string{"Version 1", "{}"}},
		"/settings?version=9":     {404, []string{"version 9: not found", "Versions that are kept"}},
		"/settings?version=bogus": {400, []string{"version must be a number"}},
	} {
		w := ask(h, "GET", target)
		for _, s := range want.says {
			if got := text(w.Body.String()); w.Code != want.code || !strings.Contains(got, s) {
				t.Errorf("%s: got %d %s, want %d and %q", target, w.Code, got, want.code, s)
			}
		}
	}
	if w := ask((&node{status: v1.Status{}}).handler("token"), "GET", "/settings"); w.Code != 401 {
		t.Errorf("without the token for reading: %d", w.Code)
	}
}

// Every act has what its page needs, and the description of the API names it.
func TestActsAreWhole(t *testing.T) {
	described := at(t, readYAML(t, "openapi.yaml"), "components", "parameters", "act", "schema")["enum"]
	for name, d := range deeds {
		if d.title == "" || d.button == "" || d.outlook == nil || d.do == nil {
			t.Errorf("%s lacks something: %+v", name, d)
		}
		if !strings.Contains(fmt.Sprint(described), name) {
			t.Errorf("openapi.yaml does not name the act %s: %v", name, described)
		}
	}
}
