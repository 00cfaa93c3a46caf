package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "scomconnector/api/v1"
)

// fakeOffice notes what it is asked for and does it at once, or refuses with err, or hangs.
type fakeOffice struct {
	err  error
	hang bool
	got  []string
}

func (f *fakeOffice) do(ctx context.Context, what string, leader string) (v1.Leadership, error) {
	f.got = append(f.got, what)
	if f.hang {
		<-ctx.Done()
		return v1.Leadership{}, ctx.Err()
	}
	if f.err != nil {
		return v1.Leadership{}, f.err
	}
	return v1.Leadership{Leader: leader, Maintenance: []string{"primary"}}, nil
}

func (f *fakeOffice) Maintain(ctx context.Context, o v1.MaintenanceOrder, by string) (v1.Leadership, error) {
	return f.do(ctx, fmt.Sprintf("%s %s force=%v sticky=%v by %s", o.Action, o.Node, o.Force, o.Sticky, by), "secondary")
}

func (f *fakeOffice) Transfer(ctx context.Context, o v1.TransferOrder, by string) (v1.Leadership, error) {
	l, err := f.do(ctx, fmt.Sprintf("transfer to=%s force=%v by %s", o.To, o.Force, by), "secondary")
	l.Maintenance = nil
	return l, err
}

func (f *fakeOffice) TakeOver(ctx context.Context, o v1.TakeoverOrder, by string) (v1.Leadership, error) {
	l, err := f.do(ctx, fmt.Sprintf("takeover force=%v by %s", o.Force, by), "primary")
	l.Maintenance = nil
	return l, err
}

func (f *fakeOffice) RemoveMember(ctx context.Context, nodeID, by string) error {
	_, err := f.do(ctx, "remove "+nodeID+" by "+by, "")
	return err
}

// send is a request with a JSON body, as somebody at the machine sends it.
func send(h http.Handler, method, path, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://localhost:8085"+path, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:50000"
	r.Header.Set("Content-Type", "application/json")
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestOrdersReachTheOffice(t *testing.T) {
	const me = " by somebody on this machine"
	for _, c := range []struct {
		method, path, body string
		want               string // of the office
		code               int
		answer             string
		audit              string
	}{
		{"POST", "/api/v1/maintenance", `{"node":"secondary","action":"enter","force":true,"sticky":true}`, "enter secondary force=true sticky=true" + me, 200, `{"leader":"secondary","maintenance":["primary"]}`, "maintenance: enter secondary, forced, sticky; leader: secondary"},
		{"POST", "/api/v1/maintenance", `{"action":"leave"}`, "leave primary force=false sticky=false" + me, 200, `{"leader":"secondary","maintenance":["primary"]}`, "maintenance: leave primary; leader: secondary"},
		{"POST", "/api/v1/transfer", `{"to":"secondary"}`, "transfer to=secondary force=false" + me, 200, `{"leader":"secondary","maintenance":[]}`, "transfer to secondary; leader: secondary"},
		{"POST", "/api/v1/transfer", ` {} `, "transfer to= force=false" + me, 200, `{"leader":"secondary","maintenance":[]}`, "transfer to the other node"},
		{"POST", "/api/v1/takeover", `{"force":true}`, "takeover force=true" + me, 200, `{"leader":"primary","maintenance":[]}`, "takeover by primary, forced; leader: primary"},
		{"DELETE", "/api/v1/members/old%20node", "", "remove old node" + me, 204, "", `members: \"old node\" removed`},
	} {
		n := &node{status: healthy()}
		w := send(n.handler(""), c.method, c.path, c.body)
		if w.Code != c.code || strings.TrimSpace(w.Body.String()) != c.answer || fmt.Sprint(n.office.got) != "["+c.want+"]" {
			t.Errorf("%s %s: got %d %s, the office %q; want %d %s, %q", c.path, c.body, w.Code, w.Body, n.office.got, c.code, c.answer, c.want)
		}
		if !strings.Contains(n.log.String(), "operator write: ") || !strings.Contains(n.log.String(), c.audit) {
			t.Errorf("%s: the audit is %q, want %q", c.path, n.log.String(), c.audit)
		}
	}
}

func TestOrdersThatMakeNoSenseAreRefusedBeforeTheOffice(t *testing.T) {
	for _, c := range []struct {
		name, path, body string
		code             int
		says             string
		change           []func(*http.Request)
	}{
		{"nothing", "/api/v1/maintenance", "", 400, "it is empty", nil},
		{"nothing to take over with", "/api/v1/takeover", "", 400, "it is empty", nil},
		{"no JSON", "/api/v1/maintenance", "node=primary", 400, "JSON object", nil},
		{"a list", "/api/v1/transfer", "[]", 400, "JSON object", nil},
		{"two objects", "/api/v1/transfer", "{}{}", 400, "behind the object", nil},
		{"half an object", "/api/v1/transfer", `{"to":`, 400, "JSON object", nil},
		{"a mistyped key", "/api/v1/takeover", `{"forced":true}`, 400, "forced", nil},
		{"a text for a yes", "/api/v1/takeover", `{"force":"true"}`, 400, "force", nil},
		{"no action", "/api/v1/maintenance", `{"node":"primary"}`, 400, `action must be "enter" or "leave", not ""`, nil},
		{"another action", "/api/v1/maintenance", `{"node":"primary","action":"takeover"}`, 400, `not "takeover"`, nil},
		{"a node that is not there", "/api/v1/maintenance", `{"node":"primry","action":"enter"}`, 400, `node: no member is called "primry"; there are primary, secondary, witness`, nil},
		{"a target that is not there", "/api/v1/transfer", `{"to":"x"}`, 400, `to: no member is called "x"`, nil},
		{"too much", "/api/v1/transfer", `{"to":"` + strings.Repeat("x", maxBodyBytes) + `"}`, 413, "too large", nil},
		{"too much without saying so", "/api/v1/transfer", `{"to":"` + strings.Repeat("x", maxBodyBytes) + `"}`, 413, "too large", []func(*http.Request){func(r *http.Request) { r.ContentLength = -1 }}},
		{"too much behind it", "/api/v1/transfer", `{}` + strings.Repeat(" ", maxBodyBytes), 413, "too large", []func(*http.Request){func(r *http.Request) { r.ContentLength = -1 }}},
		// What an old browser sends for another site's form, without an Origin.
		{"a form's text", "/api/v1/maintenance", `{"action":"=","action":"enter"}`, 415, "text/plain", []func(*http.Request){header("Content-Type", "text/plain")}},
		{"a form's parts", "/api/v1/transfer", `{}`, 415, "multipart", []func(*http.Request){header("Content-Type", "multipart/form-data; boundary=x")}},
		{"a broken type", "/api/v1/transfer", `{}`, 415, "type", []func(*http.Request){header("Content-Type", ";")}},
	} {
		n := &node{status: healthy()}
		refusal(t, c.name, send(n.handler(""), "POST", c.path, c.body, c.change...), c.code, c.says)
		if len(n.office.got) > 0 {
			t.Errorf("%s: refused, and the office was asked %q", c.name, n.office.got)
		}
	}
	for _, typ := range []string{"", "application/json; charset=utf-8", "application/x-www-form-urlencoded"} { // the last is curl -d
		n := &node{status: healthy()}
		if w := send(n.handler(""), "POST", "/api/v1/transfer", "{}", header("Content-Type", typ)); w.Code != 200 {
			t.Errorf("Content-Type %q: got %d %s", typ, w.Code, w.Body)
		}
	}
}

// One table decides the status of the office's refusals; what to do is its own word, where it has one.
func TestRefusalsOfTheOffice(t *testing.T) {
	for _, c := range []struct {
		name       string
		err        error
		code       int
		says, hint string
	}{
		{"unfit", fmt.Errorf("%w: secondary is 40 entries behind", ErrUnfit), 409, "40 entries behind", "mend what"},
		{"unfit, with its own hint", &Unfit{Err: fmt.Errorf("%w: secondary does not answer", ErrUnfit), Hint: "stop primary"}, 409, "does not answer", "stop primary"},
		{"wrapped once more", fmt.Errorf("hand over: %w", &Unfit{Err: ErrUnfit, Hint: "stop primary"}), 409, "hand over", "stop primary"},
		{"alive", fmt.Errorf("%w: primary", ErrLeaderAlive), 409, "has a leader", "transfer"},
		{"warned", fmt.Errorf("%w: 3 entries are missing", ErrWarned), 409, "3 entries", "--force"},
		{"no leader", fmt.Errorf("%w", ErrNoLeader), 503, "no leader", "try again"},
		{"unknown outcome", fmt.Errorf("%w", ErrUnknownOutcome), 503, "not known", "again"},
		{"too late", fmt.Errorf("transfer: %w", context.DeadlineExceeded), 503, "deadline", "again"},
		{"not found", fmt.Errorf("member x: %w", ErrNotFound), 404, "member x", "/api/v1/members"},
		{"a bug", errors.New("the moon is full"), 500, "moon", "log"},
	} {
		for _, k := range [][3]string{
			{"POST", "/api/v1/maintenance", `{"action":"enter"}`}, {"POST", "/api/v1/transfer", "{}"}, {"POST", "/api/v1/takeover", "{}"}, {"DELETE", "/api/v1/members/x", ""},
		} {
			n := &node{status: healthy(), office: fakeOffice{err: c.err}}
			w := send(n.handler(""), k[0], k[1], k[2])
			refusal(t, c.name+" at "+k[1], w, c.code, c.says)
			if !strings.Contains(w.Body.String(), c.hint) {
				t.Errorf("%s at %s: got %s, want the hint %q", c.name, k[1], w.Body, c.hint)
			}
			if retry := w.Header().Get("Retry-After") != ""; retry != (c.code == 503) {
				t.Errorf("%s: Retry-After is %v", c.name, retry)
			}
			if log := n.log.String(); !strings.Contains(log, "operator write failed") || strings.Contains(log, "what=\"POST") {
				t.Errorf("%s at %s: the audit does not say what was tried: %s", c.name, k[1], log)
			}
		}
	}
}

// Nobody who may not write changes who leads, by any of the addresses.
func TestOrdersAreForOperatorsOnly(t *testing.T) {
	for _, k := range [][3]string{
		{"POST", "/api/v1/maintenance", `{"action":"enter"}`}, {"POST", "/api/v1/transfer", "{}"}, {"POST", "/api/v1/takeover", "{}"}, {"DELETE", "/api/v1/members/x", ""},
	} {
		n := &node{status: healthy()}
		refusal(t, k[1]+" from elsewhere", send(n.handler(""), k[0], k[1], k[2], from("192.0.2.9:1")), 403, "this machine only")
		refusal(t, k[1]+" from another site's page", send(n.handler(""), k[0], k[1], k[2], header("Origin", "https://evil.example")), 403, "another site")
		n.operators = "s3cret"
		refusal(t, k[1]+" without the token", send(n.handler(""), k[0], k[1], k[2]), 401, "a token is needed")
		if len(n.office.got) > 0 {
			t.Errorf("%s: the office was asked %q", k[1], n.office.got)
		}
		if w := send(n.handler(""), k[0], k[1], k[2], header("Authorization", "Bearer s3cret"), from("192.0.2.9:1")); w.Code/100 != 2 {
			t.Errorf("%s with the token: %d %s", k[1], w.Code, w.Body)
		}
	}
}

func TestOrdersEndWithinTheirDeadlines(t *testing.T) {
	for path, want := range map[string]time.Duration{"/api/v1/maintenance": 10 * time.Second, "/api/v1/transfer": 10 * time.Second, "/api/v1/takeover": 20 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			n := &node{status: healthy(), office: fakeOffice{hang: true}}
			body := "{}"
			if path == "/api/v1/maintenance" {
				body = `{"action":"enter"}`
			}
			begun := time.Now()
			refusal(t, path, send(n.handler(""), "POST", path, body), 503, "deadline")
			if took := time.Since(begun); took != want {
				t.Errorf("%s: gave up after %v, want %v", path, took, want)
			}
		})
		if limits := Server(nil); limits.WriteTimeout <= want || limits.ReadTimeout <= want { // the latter cancels a request, too
			t.Errorf("the server cuts %s off before its deadline", path)
		}
	}
}

func TestWhoLeadsAndWhoMustNot(t *testing.T) {
	n := &node{status: broken()}
	h := n.handler("")
	if got := strings.TrimSpace(ask(h, "GET", "/api/v1/maintenance").Body.String()); got != `{"leader":"primary","maintenance":["secondary"]}` {
		t.Errorf("GET maintenance: %s", got)
	}
	if got := ask(h, "GET", "/api/v1/members").Body.String(); !strings.HasPrefix(got, `{"leader":"primary","members":[{"node":"primary",`) || !strings.Contains(got, `"maintenance":true,"sticky":true,"behind":0,"fault":"secondary does not answer`) {
		t.Errorf("GET members: %s", got)
	}
	n.status = v1.Status{}
	for path, want := range map[string]string{"/api/v1/maintenance": `{"leader":"","maintenance":[]}`, "/api/v1/members": `{"leader":"","members":[]}`} {
		if got := strings.TrimSpace(ask(h, "GET", path).Body.String()); got != want {
			t.Errorf("%s of a node that knows nothing: %s, want %s", path, got, want)
		}
	}
}
