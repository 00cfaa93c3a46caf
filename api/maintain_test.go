package api

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	v1 "scomconnector/api/v1"
)

// open is the maintenance page as a browser on the node's machine gets it.
func open(h http.Handler, query string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	return ask(h, "GET", "http://localhost:8085/maintenance"+query, append([]func(*http.Request){from("127.0.0.1:50000")}, change...)...)
}

var codeField = regexp.MustCompile(`name="code" value="([^"]+)"`)

// codesOf are the codes of the page's forms: the one of maintenance, and where it is offered that of the takeover.
func codesOf(t *testing.T, page string) []string {
	t.Helper()
	var all []string
	for form := range strings.SplitSeq(page, "<form ") {
		found := codeField.FindStringSubmatch(form)
		switch {
		case found == nil:
		case strings.Contains(form, `value="takeover"`):
			all = append(all, found[1])
		default:
			all = slices.Insert(all, 0, found[1])
		}
	}
	if len(all) == 0 {
		t.Fatalf("no code on the page:\n%s", page)
	}
	return all
}

// submit sends a form as a browser on the node's machine does.
func submit(h http.Handler, fields url.Values, change ...func(*http.Request)) *httptest.ResponseRecorder {
	form := []func(*http.Request){
		header("Content-Type", "application/x-www-form-urlencoded"), header("Origin", "http://localhost:8085"), header("Sec-Fetch-Site", "same-origin"),
	}
	return send(h, "POST", "/maintenance", fields.Encode(), append(form, change...)...)
}

// order is a form with a fresh code.
func order(t *testing.T, h http.Handler, fields ...string) url.Values {
	t.Helper()
	codes := codesOf(t, open(h, "").Body.String())
	v := url.Values{"code": {codes[0]}}
	for i := 0; i < len(fields); i += 2 {
		v.Set(fields[i], fields[i+1])
	}
	if v.Get("action") == "takeover" {
		v.Set("code", codes[len(codes)-1])
	}
	return v
}

var inline = regexp.MustCompile(`</?(b|strong|a|span)\b[^>]*>`)

// text is a page's words as a person reads them.
func text(page string) string {
	_, body, _ := strings.Cut(page, "<body>")
	body = inline.ReplaceAllString(body, "")
	plain := strings.NewReplacer("&#39;", "'", "&#34;", `"`, "&amp;", "&", "&lt;", "<", "&gt;", ">").Replace(tags.ReplaceAllString(body, " "))
	return strings.Join(strings.Fields(plain), " ")
}

func TestMaintenancePageGoldens(t *testing.T) {
	for name, s := range map[string]v1.Status{"leader": healthy(), "unfit": broken(), "lonely": lonely(), "hostile": hostile()} {
		w := open((&node{status: s, operators: "s3cret"}).handler(""), "")
		if w.Code != 200 {
			t.Fatalf("%s: %d %s", name, w.Code, w.Body)
		}
		page := w.Body.Bytes()
		got := codeField.ReplaceAll(page, []byte(`name="code" value="CODE"`))
		file := filepath.Join("testdata", "maintenance-"+name+".html")
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from %s; look at the page, then run with -update", name, file)
		}
	}
}

func TestMaintenancePageSaysWhatWillHappen(t *testing.T) {
	alone, both, unknown := healthy(), healthy(), healthy()
	alone.Members = alone.Members[:1]
	both.Members[1].Maintenance = true
	both.Maintenance = []string{"secondary"}
	unknown.Leader = ""
	novote, behind := healthy(), healthy()
	novote.Members[1].Voter = false
	behind.Members[1].Behind = 1234
	nearly := healthy()
	nearly.Members[1].Behind = 1
	failback := standby()
	failback.Leader = "secondary"
	failback.Members[0].Maintenance, failback.Members[0].Leader, failback.Members[1].Leader = true, false, true
	failback.Maintenance = []string{"primary"}
	for name, c := range map[string]struct {
		s    v1.Status
		want []string
	}{
		"a healthy leader": {healthy(), []string{"Leader primary, this node", "In maintenance nobody", "primary enters maintenance primary finishes what it has begun and hands over to secondary",
			"secondary enters maintenance primary leads and goes on leading", "secondary is asked first whether it reaches SCOM and a LAM; if it does not, this is refused unless forced"}},
		"an only node":           {alone, []string{"This is refused: the cluster has no other node that could lead"}},
		"one in maintenance":     {both, []string{"primary enters maintenance This is refused, also with force: secondary is in maintenance", "secondary leaves maintenance secondary may lead again. primary goes on leading."}},
		"no leader":              {unknown, []string{"This is refused while no leader is known"}},
		"a sibling out of reach": {func() v1.Status { s := broken(); s.Members[1].Maintenance = false; return s }(), []string{"secondary is out of contact (secondary does not answer: connect: no route to host)", "If primary must stop all the same, stop it"}},
		"a sibling without vote": {novote, []string{"This is refused, also with force: secondary has no vote yet"}},
		"a sibling one behind":   {nearly, []string{"secondary is 1 entry behind"}},
		"a sibling behind":       {behind, []string{"secondary is 1,234 entries behind"}},
		"a fail-back":            {failback, []string{"primary leaves maintenance primary may lead again. secondary goes on leading, until primary has been well"}},
		"a takeover": {lonely(), []string{"It takes over by itself in 8 s, at 03:04:13 UTC", "as old as its last word from a leader: 40 s, from 2026-01-02 03:03:25 UTC", "are sent again",
			"they are lost if it never does", "Warning: primary had committed 3 entries", "Take over on secondary"}},
		"no takeover": {func() v1.Status { s := standby(); s.Takeover.Refusal = "primary leads."; return s }(), []string{"Not possible here: primary leads."}},
	} {
		page := text(open((&node{status: c.s}).handler(""), "").Body.String())
		for _, want := range c.want {
			if !strings.Contains(page, want) {
				t.Errorf("%s: the page does not say %q:\n%s", name, want, page)
			}
		}
	}
}

// A link in a run-book fills in the form, so that pressing the button is all there is to do.
func TestMaintenanceLinkFillsInTheForm(t *testing.T) {
	in := healthy()
	in.Members[1].Maintenance = true
	for _, c := range []struct {
		s            v1.Status
		query        string
		node, action string
		notice       string
	}{
		{healthy(), "", "primary", "enter", ""},
		{healthy(), "?node=secondary", "secondary", "enter", ""},
		{healthy(), "?node=secondary&action=leave", "secondary", "leave", "secondary is not in maintenance"},
		{healthy(), "?node=primary&action=enter", "primary", "enter", ""},
		{in, "?node=secondary", "secondary", "leave", ""},
		{in, "?node=secondary&action=enter", "secondary", "enter", "secondary is in maintenance already"},
	} {
		page := open((&node{status: c.s}).handler(""), c.query).Body.String()
		for _, want := range []string{`<option value="` + c.node + `" selected>`, `value="` + c.action + `" required checked`, c.notice} {
			if !strings.Contains(page, want) {
				t.Errorf("%q: the page lacks %s", c.query, want)
			}
		}
		if strings.Contains(page, `name="force" value="true" checked`) {
			t.Errorf("%q: a link must not tick Force", c.query)
		}
	}
}

// Who mistypes a link must not find the button set for something else.
func TestALinkWithATypoPresetsNothing(t *testing.T) {
	for query, notice := range map[string]string{
		"?node=witness":                 "There is no node &#34;witness&#34; that could lead",
		"?node=secondry&action=leave":   "There is no node &#34;secondry&#34;",
		"?node=%3Cscript%3E":            "There is no node &#34;&lt;script&gt;&#34;",
		"?action=explode":               "There is no action &#34;explode&#34;",
		"?node=secondary&action=leaves": "There is no action &#34;leaves&#34;",
	} {
		page := open((&node{status: healthy()}).handler(""), query).Body.String()
		for _, want := range []string{notice, `<option value="" selected>`, "Nothing is chosen yet"} {
			if !strings.Contains(page, want) {
				t.Errorf("%q: the page lacks %s", query, want)
			}
		}
		if strings.Contains(page, " checked") || strings.Count(page, " selected>") != 1 {
			t.Errorf("%q: something is preset", query)
		}
	}
}

func TestLookingAtTheMaintenancePageChangesNothing(t *testing.T) {
	n := &node{status: lonely()}
	h := n.handler("")
	for _, method := range []string{"GET", "HEAD"} {
		w := ask(h, method, "http://localhost:8085/maintenance?node=primary&action=enter&force=true", from("127.0.0.1:1"), header("Origin", "https://evil.example"))
		if w.Code != 200 {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
	if len(n.office.got) > 0 || len(n.log.String()) > 0 {
		t.Errorf("the office was asked %q, the audit has %q", n.office.got, n.log.String())
	}
}

// The form works without any script, asks nobody but its own node, and every field has its label.
func TestMaintenanceFormIsPlainAndAccessible(t *testing.T) {
	w := open((&node{status: lonely(), operators: "s3cret"}).handler(""), "")
	page := w.Body.String()
	for _, bad := range []string{"<script", "onclick", "onsubmit", "http-equiv", "javascript:"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	if got := strings.Count(page, `<form method="post" action="/maintenance"`); got != 2 || strings.Count(page, "<form") != 2 {
		t.Errorf("%d forms that are posted to /maintenance, want 2", got)
	}
	for _, field := range regexp.MustCompile(`<(?:input|select)[^>]*>`).FindAllString(page, -1) {
		id := regexp.MustCompile(`id="([^"]+)"`).FindStringSubmatch(field)
		if strings.Contains(field, `type="hidden"`) {
			continue
		}
		if id == nil || strings.Count(page, `<label for="`+id[1]+`"`) != 1 {
			t.Errorf("no label for %s", field)
		}
	}
	ids := map[string]int{}
	for _, id := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if ids[id[1]]++; ids[id[1]] > 1 {
			t.Errorf("two elements with the id %s", id[1])
		}
	}
	for name, want := range map[string]string{
		"Content-Security-Policy": "form-action 'self'", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
		"Referrer-Policy": "same-origin", // with no-referrer a browser's form has the origin null
	} {
		if got := w.Header().Get(name); !strings.Contains(got, want) {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if strings.Contains(w.Header().Get("Content-Security-Policy"), "script-src") || strings.Contains(policy, "form-action 'self'") {
		t.Error("only this page may send a form, and none may run a script")
	}
	if page := open((&node{status: lonely()}).handler(""), "").Body.String(); strings.Contains(page, `name="token"`) {
		t.Error("a token is asked for where none is configured")
	}
}

func TestStrangersTextIsHarmlessOnTheMaintenancePage(t *testing.T) {
	s := hostile()
	s.Takeover.Possible = true
	n := &node{status: s}
	h := n.handler("")
	evil := `</option><script>alert(1)</script>`
	n.office.err = fmt.Errorf("%w: %s", ErrUnfit, evil)
	for name, page := range map[string]string{
		"shown":   open(h, "?node="+url.QueryEscape(evil)+"&action="+url.QueryEscape(evil)).Body.String(),
		"refused": submit(h, order(t, h, "node", "primary", "action", "enter")).Body.String(),
	} {
		allowed := regexp.MustCompile(`^</?(html|head|meta|title|link|style|body|header|p|strong|b|span|main|section|h1|h2|h3|a|dl|dt|dd|ul|li|form|input|select|option|fieldset|legend|label|button|footer)[ >]|^<!DOCTYPE html>$`)
		for _, tag := range tags.FindAllString(page, -1) {
			if !allowed.MatchString(tag) {
				t.Errorf("%s: a tag that is not ours: %s", name, tag)
			}
		}
		if strings.Contains(page, "<script") || strings.Contains(page, "\u202e") {
			t.Errorf("%s: a stranger's text got through", name)
		}
	}
}

func TestMaintenanceByForm(t *testing.T) {
	const me = " by somebody on this machine"
	for _, c := range []struct {
		s      v1.Status
		fields []string
		want   string
		says   []string
	}{
		{healthy(), []string{"node", "primary", "action", "enter"}, "enter primary force=false sticky=false" + me,
			[]string{"done primary is in maintenance. secondary leads.", "You may stop primary now.", "ends when it comes back after an ordinary stop"}},
		{healthy(), []string{"node", "primary", "action", "enter", "force", "true", "sticky", "true"}, "enter primary force=true sticky=true" + me,
			[]string{"You may stop primary now.", "until somebody has it leave"}},
		{healthy(), []string{"node", "secondary", "action", "enter"}, "enter secondary force=false sticky=false" + me, // the fake says that it leads all the same
			[]string{"done secondary is in maintenance. secondary leads.", "Wait with stopping it"}},
		{broken(), []string{"node", "secondary", "action", "leave", "sticky", "true"}, "leave secondary force=false sticky=false" + me,
			[]string{"done secondary is out of maintenance and may lead again."}},
		{lonely(), []string{"node", "secondary", "action", "takeover", "force", "true"}, "takeover force=true" + me,
			[]string{"done primary leads.", "status page"}},
	} {
		n := &node{status: c.s}
		h := n.handler("")
		w := submit(h, order(t, h, c.fields...))
		if w.Code != 200 || fmt.Sprint(n.office.got) != "["+c.want+"]" || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			t.Errorf("%q: got %d, the office %q; want %s", c.fields, w.Code, n.office.got, c.want)
		}
		page := text(w.Body.String())
		for _, want := range c.says {
			if !strings.Contains(page, want) {
				t.Errorf("%q: the answer does not say %q:\n%s", c.fields, want, page)
			}
		}
		if !strings.Contains(n.log.String(), `operator write: who="somebody on this machine" from=127.0.0.1:50000 what=`) {
			t.Errorf("%q: the audit has %q", c.fields, n.log.String())
		}
	}
}

// What is refused is told on the page with its status, the form is there again with a new code, and nothing is done.
func TestRefusedForms(t *testing.T) {
	enter := []string{"node", "primary", "action", "enter"}
	with := func(name, value string) func(url.Values) { return func(v url.Values) { v.Set(name, value) } }
	without := func(name string) func(url.Values) { return func(v url.Values) { v.Del(name) } }
	for _, c := range []struct {
		name   string
		edit   func(url.Values)
		change []func(*http.Request)
		code   int
		says   string
	}{
		{"no code", without("code"), nil, 403, "too old, or not from a page of this node"},
		{"an invented code", with("code", "AAAA"), nil, 403, "too old, or not from a page of this node"},
		{"no base64", with("code", "§"), nil, 403, "too old, or not from a page of this node"},
		{"a code of the takeover's", with("action", "takeover"), nil, 403, "too old, or not from a page of this node"},
		{"another machine", nil, []func(*http.Request){from("192.0.2.9:1")}, 403, "this machine only"},
		{"no action", without("action"), nil, 400, `action must be "enter" or "leave"`},
		{"a node that is not there", with("node", "x"), nil, 400, "no member is called"},
		{"a field that is not there", with("forced", "true"), nil, 400, `no field "forced"`},
		{"a field twice", func(v url.Values) { v.Add("node", "secondary") }, nil, 400, `"node" is there 2 times`},
		{"neither yes nor no", with("force", "maybe"), nil, 400, "force must be true or false"},
		{"too long", with("node", strings.Repeat("x", maxBodyBytes)), []func(*http.Request){func(r *http.Request) { r.ContentLength = -1 }}, 413, "too large"},
		{"no form", nil, []func(*http.Request){header("Content-Type", "text/plain")}, 415, "not of a type"},
		{"a broken form", nil, []func(*http.Request){func(r *http.Request) { r.Body = http.NoBody; r.URL.RawQuery = "%zz" }}, 400, "cannot be read"},

		{"another site's page", nil, []func(*http.Request){header("Origin", "https://evil.example")}, 403, "another site"},
		{"a page of a file", nil, []func(*http.Request){header("Origin", "null")}, 403, "another site"},
		{"another port's page", nil, []func(*http.Request){header("Origin", "http://localhost:9090")}, 403, "another site"},
		{"cross-site", nil, []func(*http.Request){header("Sec-Fetch-Site", "cross-site")}, 403, "another site"},
		{"a name that resolves to the machine", nil, []func(*http.Request){host("evil.example:8085"), header("Origin", "http://evil.example:8085")}, 403, "not a name of this node"},
		{"through a proxy", nil, []func(*http.Request){header("X-Forwarded-For", "192.0.2.9")}, 403, "proxy"},
	} {
		n := &node{status: healthy()}
		h := n.handler("")
		fields := order(t, h, enter...)
		sent := fields.Get("code")
		if c.edit != nil {
			c.edit(fields)
		}
		w := submit(h, fields, c.change...)
		page := w.Body.String()
		if w.Code != c.code || !strings.Contains(text(page), "refused") || !strings.Contains(text(page), c.says) || !strings.Contains(text(page), "What to do:") {
			t.Errorf("%s: got %d, want %d and %q:\n%s", c.name, w.Code, c.code, c.says, text(page))
		}
		if fresh := codesOf(t, page); fresh[0] == sent {
			t.Errorf("%s: the form has the old code again", c.name)
		}
		if len(n.office.got) > 0 {
			t.Errorf("%s: the office was asked %q", c.name, n.office.got)
		}
		if log := n.log.String(); !strings.Contains(log, "operator write failed") && !strings.Contains(log, "operator write refused") {
			t.Errorf("%s: the audit has %q", c.name, log)
		}
	}
}

// What the office refuses stands on the page with its reason and what to do, and the form keeps what was chosen.
func TestFormsThatTheOfficeRefuses(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		says []string
	}{
		{&Unfit{Err: fmt.Errorf("%w: secondary is 40 entries behind", ErrUnfit), Hint: "wait until it has caught up"}, 409, []string{"40 entries behind", "What to do: wait until it has caught up"}},
		{fmt.Errorf("%w: 3 entries are missing", ErrWarned), 409, []string{"3 entries", "ticks Force"}},
		{fmt.Errorf("%w: primary", ErrLeaderAlive), 409, []string{"has a leader", "transfer"}},
		{ErrNoLeader, 503, []string{"no leader"}},
	} {
		n := &node{status: healthy(), office: fakeOffice{err: c.err}}
		h := n.handler("")
		w := submit(h, order(t, h, "node", "secondary", "action", "enter", "sticky", "true"))
		page := w.Body.String()
		for _, want := range c.says {
			if w.Code != c.code || !strings.Contains(text(page), want) {
				t.Errorf("%v: got %d, want %d and %q:\n%s", c.err, w.Code, c.code, want, text(page))
			}
		}
		for _, want := range []string{`<option value="secondary" selected>`, `name="sticky" value="true" checked`, `role="alert"`} {
			if !strings.Contains(page, want) {
				t.Errorf("%v: the form lacks %s", c.err, want)
			}
		}
	}
}

func TestACodeIsGoodForOneSending(t *testing.T) {
	n := &node{status: healthy()}
	h := n.handler("")
	fields := order(t, h, "node", "primary", "action", "enter")
	submit(h, fields)
	w := submit(h, fields) // reloading the answer does this
	if page := text(w.Body.String()); w.Code != 409 || !strings.Contains(page, "sent before; nothing was done again") || len(n.office.got) != 1 {
		t.Errorf("sent twice: %d, the office %q\n%s", w.Code, n.office.got, page)
	}
	n.office.err = ErrNoLeader
	fields = order(t, h, "node", "primary", "action", "enter")
	if w := submit(h, fields); w.Code != 503 {
		t.Errorf("without a leader: %d", w.Code)
	}
	if w := submit(h, fields); w.Code != 409 {
		t.Errorf("a code is good again after it failed: %d", w.Code)
	}
	other := (&node{status: healthy()}).handler("")
	if w := submit(other, order(t, h, "node", "primary", "action", "enter")); w.Code != 403 {
		t.Errorf("another process takes the code: %d", w.Code)
	}
}

// Where an operator token is configured it is typed into the form, and nothing else will do.
func TestFormWithTheOperatorToken(t *testing.T) {
	for name, c := range map[string]struct {
		token  string
		change []func(*http.Request)
		code   int
		says   string
	}{
		"right":                 {"s3cret", nil, 200, "secondary leads"},
		"pasted with a newline": {"s3cret\r\n", nil, 200, "secondary leads"},
		"none":                  {"", nil, 401, "a token is needed"},
		"wrong":                 {"s3cre", nil, 401, "not the operator token"},
		"in the header only":    {"", []func(*http.Request){header("Authorization", "Bearer s3cret")}, 401, "a token is needed"},
		"a browser's password":  {"", []func(*http.Request){header("Authorization", "Basic YW55Ym9keTpzM2NyZXQ=")}, 401, "a token is needed"},
		"another's page":        {"s3cret", []func(*http.Request){from("192.0.2.66:50000")}, 403, "not from a page of this node that was shown to you"},
		"right, from elsewhere": {"s3cret", []func(*http.Request){header("Origin", "https://evil.example")}, 403, "another site"},
	} {
		n := &node{status: healthy(), operators: "s3cret"}
		h := n.handler("")
		far := from("192.0.2.9:50000")
		page := open(h, "", far).Body.String()
		fields := url.Values{"code": codesOf(t, page)[:1], "node": {"primary"}, "action": {"enter"}, "token": {c.token}}
		w := submit(h, fields, append([]func(*http.Request){far}, c.change...)...)
		if w.Code != c.code || !strings.Contains(text(w.Body.String()), c.says) || (len(n.office.got) > 0) != (c.code == 200) {
			t.Errorf("%s: got %d, the office %q, want %d and %q:\n%s", name, w.Code, n.office.got, c.code, c.says, text(w.Body.String()))
		}
		if strings.Contains(w.Body.String(), "s3cre") || strings.Contains(n.log.String(), "s3cre") {
			t.Errorf("%s: the token is on the page or in the audit", name)
		}
		if c.code == 401 { // the code was not spent on it
			fields.Set("token", "s3cret")
			if w := submit(h, fields, far); w.Code != 200 {
				t.Errorf("%s: then the right one: %d %s", name, w.Code, text(w.Body.String()))
			}
		}
	}
}

// Who may not read the page does not get it in answer to a form, either.
func TestFormsDoNotShowThePageToThoseWhoMayNotRead(t *testing.T) {
	for _, operators := range []string{"", "s3cret"} {
		n := &node{status: healthy(), operators: operators}
		w := submit(n.handler("r3ader"), url.Values{"node": {"primary"}, "action": {"enter"}})
		if strings.Contains(w.Body.String(), "secondary") || strings.Contains(w.Body.String(), "<form") || w.Code/100 != 4 {
			t.Errorf("operator token %q: got %d %s", operators, w.Code, w.Body)
		}
	}
}

func TestThePageSaysBeforehandThatTheFormWillBeRefused(t *testing.T) {
	n := &node{status: healthy()}
	if page := text(open(n.handler(""), "", from("192.0.2.9:1")).Body.String()); !strings.Contains(page, "The form will be refused from here: without an operator token changes are taken from this machine only") {
		t.Errorf("from elsewhere:\n%s", page)
	}
	if page := text(open(n.handler(""), "").Body.String()); strings.Contains(page, "will be refused from here") {
		t.Errorf("at the machine:\n%s", page)
	}
	n.operators = "s3cret"
	if page := text(open(n.handler(""), "", from("192.0.2.9:1")).Body.String()); strings.Contains(page, "will be refused from here") {
		t.Errorf("with a token:\n%s", page)
	}
}

func FuzzMaintenanceForm(f *testing.F) {
	f.Add("code=x&node=primary&action=enter&force=true", "application/x-www-form-urlencoded")
	f.Add("%zz;&=&&action=takeover", "application/x-www-form-urlencoded; charset=x")
	f.Fuzz(func(t *testing.T, body, typ string) {
		n := &node{status: lonely()}
		w := send(n.handler(""), "POST", "/maintenance", body, header("Content-Type", typ))
		if w.Code/100 != 4 || len(n.office.got) > 0 {
			t.Errorf("%q as %q: %d, the office %q", body, typ, w.Code, n.office.got)
		}
	})
}
