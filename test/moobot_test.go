package test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dop251/goja"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"scomconnector/api"
	v1 "scomconnector/api/v1"
)

// counter is a connector's real API whose cluster is made up: it takes what it is given, or refuses with err.
type counter struct {
	mu   sync.Mutex // guards what follows
	took []api.CloseRequest
	err  error
}

func (c *counter) Submit(_ context.Context, r api.CloseRequest) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return "", c.err
	}
	c.took = append(c.took, r)
	return fmt.Sprintf("%016x", len(c.took)), nil
}

func (c *counter) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (c *counter) Rules() (api.CloseRules, bool) {
	return api.CloseRules{Actions: map[string]int{"Closed": 255, "Resolved": 254}, Wait: time.Second}, true
}

func (c *counter) Await(context.Context, string) (v1.CloseVerdict, bool) {
	return v1.CloseVerdict{}, false
}
func (c *counter) Outbox() v1.OutboxList                 { return v1.OutboxList{} }
func (c *counter) ParkedRequests() []v1.ParkedRequest    { return nil }
func (c *counter) Retry(context.Context, string) error   { return api.ErrNotFound }
func (c *counter) Discard(context.Context, string) error { return api.ErrNotFound }

// serve is the node's URL.
func (c *counter) serve(t *testing.T, token string) string {
	var cfg api.Config
	if token != "" {
		cfg.CallbackToken = func() string { return token }
	}
	srv := httptest.NewServer(api.New(cfg, api.Deps{
		Status: func() v1.Status { return v1.Status{} }, Ready: func() []string { return nil }, Leader: func() bool { return false },
		Gatherer: prometheus.NewRegistry(), Names: func() []string { return nil }, Log: hclog.NewNullLogger(), Closes: c,
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// moogfarmd runs a moobot as Moogsoft does, as far as AlertMgr.js uses it.
type moogfarmd struct {
	t      *testing.T
	vm     *goja.Runtime
	fields map[string]any // of the alert
	info   goja.Value     // its custom_info
	saved  int            // moogdb.updateAlert
	listen map[string]string
	jobs   []string
	log    strings.Builder
}

const alertID = "5d0c6c2e-8d0f-4a27-9c36-6a86b2ec7a01"

func load(t *testing.T, source string) *moogfarmd {
	t.Helper()
	m := &moogfarmd{t: t, vm: goja.New(), listen: map[string]string{}, fields: map[string]any{
		"agent": "SCOM", "alert_id": 7, "external_id": alertID, "agent_location": "CONTOSO-MG", "description": "Plätte voll",
	}}
	m.vm.SetFieldNameMapper(goja.UncapFieldNameMapper())
	m.must(m.vm.Set("MooBot", map[string]any{"loadModule": m.module}))
	m.setInfo(`{}`)
	_, err := m.vm.RunScript("AlertMgr.js", source)
	m.must(err)
	return m
}

func (m *moogfarmd) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *moogfarmd) setInfo(object string) {
	m.t.Helper()
	v, err := m.vm.RunString("(" + object + ")")
	m.must(err)
	m.info = v
}

func (m *moogfarmd) module(name string) map[string]any {
	line := func(level string) func(string) { return func(s string) { fmt.Fprintln(&m.log, level, s) } }
	switch name {
	case "Events":
		return map[string]any{"onEvent": func(function, event string) map[string]any {
			return map[string]any{"listen": func() { m.listen[event] = function }}
		}}
	case "Constants":
		return map[string]any{"eventType": func(s string) string { return s }}
	case "Logger":
		return map[string]any{"debug": line("debug"), "info": line("info"), "warning": line("warning")}
	case "Scheduler":
		return map[string]any{"scheduleJob": func(_ goja.Value, function string, _, _ int) { m.jobs = append(m.jobs, function) }}
	case "MoogDb.V2":
		return map[string]any{"updateAlert": func(goja.Value) { m.saved++ }, "getAlert": func(goja.Value) map[string]any { return m.alert() }}
	case "REST.V2":
		return map[string]any{"sendPost": m.sendPost}
	}
	m.t.Fatalf("AlertMgr.js loads %q, which this test does not know", name)
	return nil
}

func (m *moogfarmd) alert() map[string]any {
	return map[string]any{
		"value":          func(name string) any { return m.fields[name] },
		"evaluateFilter": func(filter string) bool { return filter == fmt.Sprintf("agent == '%v'", m.fields["agent"]) },
		"getCustomInfo":  func() goja.Value { return m.info },
		"setCustomInfo":  func(v goja.Value) { m.info = v },
	}
}

// sendPost is REST.V2's in both forms: an object of parameters, and the manual's (url, text).
func (m *moogfarmd) sendPost(call goja.FunctionCall) goja.Value {
	var p struct {
		URL, Body, User, Password string
		Headers                   map[string]string
		Timeout                   int
	}
	if url, ok := call.Argument(0).Export().(string); ok {
		p.URL, p.Body = url, call.Argument(1).String()
	} else {
		text, err := json.Marshal(call.Argument(0).Export())
		m.must(err)
		m.must(json.Unmarshal(text, &p))
	}
	req, err := http.NewRequest(http.MethodPost, p.URL, strings.NewReader(p.Body))
	m.must(err)
	for name, value := range p.Headers {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return m.vm.ToValue(map[string]any{"success": false, "status_code": 0, "response": err.Error()})
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	m.must(err)
	return m.vm.ToValue(map[string]any{"success": resp.StatusCode/100 == 2, "status_code": resp.StatusCode, "response": string(body)})
}

// call runs one of the moobot's functions.
func (m *moogfarmd) call(function string, args ...any) {
	m.t.Helper()
	f, ok := goja.AssertFunction(m.vm.Get(function))
	if !ok {
		m.t.Fatalf("AlertMgr.js has no function %s", function)
	}
	var values []goja.Value
	for _, a := range args {
		values = append(values, m.vm.ToValue(a))
	}
	_, err := f(goja.Undefined(), values...)
	m.must(err)
}

// noted is what custom_info says of a request.
func (m *moogfarmd) noted(key string) any { return m.info.(*goja.Object).Get(key) }

func moobot(t *testing.T, set ...string) string {
	t.Helper()
	b, err := os.ReadFile("../deploy/moogsoft/AlertMgr.js")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for i := 0; i < len(set); i += 2 {
		line := regexp.MustCompile(`(?m)^var ` + set[i] + ` = .*$`)
		if !line.MatchString(text) {
			t.Fatalf("AlertMgr.js has nothing to set that is called %s", set[i])
		}
		text = line.ReplaceAllLiteralString(text, "var "+set[i]+" = "+set[i+1]+";")
	}
	return text
}

func TestMoobotClosesAnAlertInSCOM(t *testing.T) {
	for _, c := range []struct {
		name, token string
		set         []string
		want        uint8
	}{
		{"as it is", "", nil, 255},
		{"with a token", "s3cret", []string{"TOKEN", `"s3cret"`}, 255},
		{"resolved", "", []string{"CLOSE_DETAIL", `"Resolved"`}, 254},
	} {
		node := &counter{}
		m := load(t, moobot(t, c.set...))
		m.setInfo(fmt.Sprintf(`{"MoogConnector":{"ConnectorAddress":"%s/"},"mine":1}`, node.serve(t, c.token)))
		if m.listen["AlertClose"] != "closeAlert" || m.listen["AlertUpdate"] != "" || !slices.Equal(m.jobs, []string{"retryWaiting"}) {
			t.Errorf("%s: it listens to %v and schedules %v", c.name, m.listen, m.jobs)
		}
		m.call("closeAlert", m.alert())
		if len(node.took) != 1 || node.took[0].Alert != alertID || node.took[0].State != c.want || len(node.took[0].Fields) > 0 {
			t.Fatalf("%s: the connector got %+v; log:\n%s", c.name, node.took, m.log.String())
		}
		if m.noted("closedAtSource").(goja.Value).String() != "successful" || m.noted("mine") == nil || m.saved != 1 {
			t.Errorf("%s: custom_info is %v, saved %d times", c.name, m.info.Export(), m.saved)
		}
	}
}

func TestMoobotLeavesOtherAlertsAlone(t *testing.T) {
	node := &counter{}
	m := load(t, moobot(t))
	m.setInfo(fmt.Sprintf(`{"MoogConnector":{"ConnectorAddress":%q}}`, node.serve(t, "")))
	for _, agent := range []string{"NAGIOS", "scomconnector"} {
		m.fields["agent"] = agent
		m.call("closeAlert", m.alert())
	}
	m.fields["agent"], m.fields["external_id"] = "SCOM", nil
	m.call("closeAlert", m.alert())
	if len(node.took) > 0 || m.saved > 0 {
		t.Errorf("the connector got %+v", node.took)
	}
}

func TestMoobotAsksAnotherNodeAndTriesAgainLater(t *testing.T) {
	first, second := &counter{err: api.ErrNoLeader}, &counter{err: api.ErrNoLeader}
	one, two := first.serve(t, ""), second.serve(t, "")
	m := load(t, moobot(t, "CONNECTORS", fmt.Sprintf("[%q, %q]", one, two)))
	m.setInfo(fmt.Sprintf(`{"MoogConnector":{"ConnectorAddress":%q}}`, one))
	m.call("closeAlert", m.alert())
	m.call("retryWaiting")
	if got := m.noted("closedAtSource").(goja.Value).String(); got != "waiting" || m.saved != 1 {
		t.Errorf("without a leader closedAtSource is %s, saved %d times; log:\n%s", got, m.saved, m.log.String())
	}
	second.fail(nil)
	m.call("retryWaiting")
	m.call("retryWaiting")
	if got := m.noted("closedAtSource").(goja.Value).String(); got != "successful" || len(first.took) != 0 || len(second.took) != 1 {
		t.Errorf("then closedAtSource is %s, the nodes got %d and %d; log:\n%s", got, len(first.took), len(second.took), m.log.String())
	}
	m.call("closeAlert", m.alert())
	if len(second.took) != 2 || strings.Contains(m.log.String(), "given up") {
		t.Errorf("with one node of two the second close is not accepted:\n%s", m.log.String())
	}
}

func TestMoobotDeliversAllThatWaitsOnceItCan(t *testing.T) {
	node := &counter{err: api.ErrNoLeader}
	m := load(t, moobot(t))
	m.setInfo(fmt.Sprintf(`{"MoogConnector":{"ConnectorAddress":%q}}`, node.serve(t, "")))
	var want, got []string
	for i := range 5 {
		want = append(want, fmt.Sprintf("5d0c6c2e-8d0f-4a27-9c36-6a86b2ec7a0%d", i))
		m.fields["external_id"] = want[i]
		m.call("closeAlert", m.alert())
	}
	for range 3 {
		m.call("retryWaiting")
	}
	node.fail(nil)
	m.call("retryWaiting")
	m.call("retryWaiting")
	for _, r := range node.took {
		got = append(got, r.Alert)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the connector got %q, want each of %q once", got, want)
	}
}

func TestMoobotDoesNotRepeatWhatIsRefusedForGood(t *testing.T) {
	node := &counter{err: fmt.Errorf("%w: it is not ours", api.ErrUnknownAlert)}
	m := load(t, moobot(t))
	m.setInfo(fmt.Sprintf(`{"MoogConnector":{"ConnectorAddress":%q}}`, node.serve(t, "")))
	m.call("closeAlert", m.alert())
	node.fail(nil)
	m.call("retryWaiting")
	if got := m.noted("closedAtSource").(goja.Value).String(); got != "failed" || len(node.took) != 0 || !strings.Contains(m.log.String(), "it is not ours") {
		t.Errorf("closedAtSource is %s, the node got %d; log:\n%s", got, len(node.took), m.log.String())
	}
}

func TestMoobotIsNotTakenInByAnotherServersPage(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>log on</html>") }))
	defer page.Close()
	m := load(t, moobot(t))
	m.setInfo(fmt.Sprintf(`{"MoogConnector":{"ConnectorAddress":%q}}`, page.URL))
	m.call("closeAlert", m.alert())
	if got := m.noted("closedAtSource").(goja.Value).String(); got != "waiting" {
		t.Errorf("closedAtSource is %s, want waiting", got)
	}
	m.setInfo(`{}`)
	m.call("closeAlert", m.alert())
	if got := m.noted("closedAtSource").(goja.Value).String(); got != "failed" {
		t.Errorf("without any address closedAtSource is %s, want failed", got)
	}
}

func TestMoobotHandsOnATicketOnce(t *testing.T) {
	node := &counter{}
	m := load(t, moobot(t, "TICKET_KEY", `"ticketing.ticketNumber"`))
	if m.listen["AlertUpdate"] != "updateAlert" {
		t.Errorf("it listens to %v", m.listen)
	}
	m.setInfo(fmt.Sprintf(`{"MoogConnector":{"ConnectorAddress":%q}}`, node.serve(t, "")))
	m.call("updateAlert", m.alert())
	m.must(m.info.(*goja.Object).Set("ticketing", map[string]any{"ticketNumber": "INC1"}))
	m.call("updateAlert", m.alert())
	m.call("updateAlert", m.alert())
	m.call("closeAlert", m.alert())
	want := []api.CloseRequest{{Keep: true}, {State: 255}}
	if len(node.took) != 2 {
		t.Fatalf("the connector got %+v, want an update and a close; log:\n%s", node.took, m.log.String())
	}
	for i, got := range node.took {
		if got.Keep != want[i].Keep || got.State != want[i].State || got.Fields["TicketId"] != "INC1" {
			t.Errorf("request %d is %+v, want %+v with the ticket", i, got, want[i])
		}
	}
}

// The manual's own function, with the braces that its print has lost, works against our API unchanged.
func TestTheManualsMoobotWorksUnchanged(t *testing.T) {
	node := &counter{}
	m := load(t, `
		var logger = MooBot.loadModule('Logger'), rest = MooBot.loadModule('REST.V2'), MOOBOT_NAME = "AlertMgr::";
		function updateCustomInfo(alert, status) { var customInfo = {}; customInfo.closedAtSource = status; alert.setCustomInfo(customInfo); }
		function closeAlert(alert) {
			var NAME = MOOBOT_NAME + "closeAlert::";
			if (alert.evaluateFilter("agent == 'SCOM'")) {
				var customInfo = alert.getCustomInfo();
				var scom_connector = customInfo.MoogConnector.ConnectorAddress;
				var url = scom_connector + "/event_post/";
				var uuid = alert.value("external_id");
				var payload = { id: uuid, externalId: alert.value("agent_location"), description: alert.value("description"), detail: 'Closed' };
				var rc = rest.sendPost(url, JSON.stringify(payload));
				if (rc && rc.success) { updateCustomInfo(alert, "successful"); } else {
					logger.warning(NAME + JSON.stringify(rc.response)); updateCustomInfo(alert, "failed"); }
			}
		}`)
	url := node.serve(t, "")
	for _, address := range []string{url, url + "/"} {
		m.setInfo(fmt.Sprintf(`{"MoogConnector":{"ConnectorAddress":%q}}`, address))
		m.call("closeAlert", m.alert())
		if got := m.noted("closedAtSource").(goja.Value).String(); got != "successful" {
			t.Errorf("%s: closedAtSource is %s; log:\n%s", address, got, m.log.String())
		}
	}
	if len(node.took) != 2 || node.took[1].Alert != alertID || node.took[1].State != 255 {
		t.Errorf("the connector got %+v", node.took)
	}
}

// configuration reads a file of Moogsoft's: JSON with plain keys and comments, which is JavaScript.
func configuration(t *testing.T, file string) map[string]any {
	t.Helper()
	b, err := os.ReadFile("../deploy/moogsoft/" + file)
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^\s*#.*$`).ReplaceAllString(string(b), "")
	v, err := goja.New().RunString("(" + text + ")")
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return v.Export().(map[string]any)
}

// The LAM maps every field that an event of ours has, from the field of the same name.
func TestLAMMapsEveryFieldOfOurEvents(t *testing.T) {
	config := configuration(t, "scom_rest_lam.conf")["config"].(map[string]any)
	mapping := config["mapping"].(map[string]any)
	conversions := config["conversions"].(map[string]any)
	mapped := map[string]string{}
	for _, r := range mapping["rules"].([]any) {
		rule := r.(map[string]any)
		mapped[rule["name"].(string)] = rule["rule"].(string)
		if c, ok := rule["conversion"].(string); ok && conversions[c] == nil {
			t.Errorf("%s is converted by %s, which is nowhere", rule["name"], c)
		}
	}
	b, err := os.ReadFile("../poller/normalise/testdata/closed.json")
	if err != nil {
		t.Fatal(err)
	}
	var event map[string]any
	if err := json.Unmarshal(b, &event); err != nil {
		t.Fatal(err)
	}
	for name := range event {
		if mapped[name] != "$"+name {
			t.Errorf("an event's %s is mapped from %q, want $%s", name, mapped[name], name)
		}
	}
	if len(mapped) != len(event) || mapping["catchAll"] != "overflow" {
		t.Errorf("%d fields are mapped, an event has %d", len(mapped), len(event))
	}
}

func TestMooletRunsTheMoobot(t *testing.T) {
	conf := configuration(t, "alert_manager.conf")
	if conf["moobot"] != "AlertMgr.js" || conf["classname"] != "CEmptyMoolet" || fmt.Sprint(conf["event_handlers"]) != "[AlertClose]" {
		t.Errorf("got %v", conf)
	}
}
