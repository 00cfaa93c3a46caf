package scom

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"scomconnector/poller/alert"
	"scomconnector/poller/scom/scomtest"
)

func ids(t *testing.T, texts ...string) []alert.ID {
	t.Helper()
	var list []alert.ID
	for _, s := range texts {
		id, err := alert.ParseID(s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, id)
	}
	return list
}

func TestSetStateSaysOfEachAlertWhatBecameOfIt(t *testing.T) {
	for _, version := range []string{"1801", "2019", "2019UR1", "2022", "2025"} {
		for _, braces := range []bool{false, true} {
			t.Run(fmt.Sprint(version, " braces ", braces), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, scomtest.Options{Version: version, BracedFailures: braces}, single, nil)
					good := w.group.Raise(scomtest.Alert{Name: "rule"})
					sick := w.group.Raise(scomtest.Alert{Name: "monitor", IsMonitorAlert: true, Unhealthy: true})
					all := ids(t, good, sick, "00000000-0000-4000-8000-000000000001")
					got, err := w.client.SetState(t.Context(), all[:1], 249, "Acko")
					if err != nil || len(got.Objections) != 0 || got.Vague != nil {
						t.Fatalf("a good one: %+v, %v", got, err)
					}
					if a, _ := w.group.Get(good); a.ResolutionState != 249 {
						t.Errorf("state %d, want 249", a.ResolutionState)
					}
					got, err = w.client.SetState(t.Context(), all, 255, "closed [sc:1]")
					if err != nil {
						t.Fatal(err)
					}
					if version == "1801" { // nothing but false, and no regard for monitors
						if got.Vague == nil || len(got.Objections) != 0 {
							t.Errorf("got %+v, want a vague objection", got)
						}
						return
					}
					if o := got.Objections[all[1]]; o.Kind != alert.ObjectionUnhealthy || !strings.Contains(o.Text, "still unhealthy") {
						t.Errorf("the unhealthy one: %+v", o)
					}
					if o := got.Objections[all[2]]; o.Kind != alert.ObjectionNoAlert {
						t.Errorf("the unknown one: %+v", o)
					}
					if _, objects := got.Objections[all[0]]; objects || got.Vague != nil {
						t.Errorf("the good one: %+v", got)
					}
				})
			})
		}
	}
}

func TestTheAnswersFormsAreAllUnderstood(t *testing.T) {
	two := ids(t, "d3144ac9-4316-45ce-94b9-f50936219e24", "667736a8-d59a-407b-b142-80fd74ba4041")
	upper := "{" + strings.ToUpper(two[1].String()) + "}"
	for _, c := range []struct {
		what, body string
		objections int
		vague, bad bool
	}{
		{"documented success", `{"failures":[{"alertId":null,"failureMessage":null,"exceptionType":null}],"isFailure":false}`, 0, false, false},
		{"no failures", `{"failures":[],"isFailure":false}`, 0, false, false},
		{"null failures", `{"failures":null,"isFailure":false}`, 0, false, false},
		{"other case", `{"Failures":[],"IsFailure":"False"}`, 0, false, false},
		{"in an array", `[{"failures":[],"isFailure":false}]`, 0, false, false},
		{"bare true", `true`, 0, false, false},
		{"bare true as text in an array", ` ["true"] `, 0, false, false},
		{"bare false", `false`, 0, true, false},
		{"a refusal", `{"failures":[{"alertId":"` + two[0].String() + `","failureMessage":"no","exceptionType":null}],"isFailure":true}`, 1, false, false},
		{"a refusal in braces beside a dummy", `{"failures":[{"alertId":null},{"alertId":"` + upper + `","failureMessage":"no"}],"isFailure":true}`, 1, false, false},
		{"a refusal although it says success", `{"failures":[{"alertId":"` + two[0].String() + `","failureMessage":"no"}],"isFailure":false}`, 1, false, false},
		{"a refusal without words", `{"failures":[{"alertId":"` + two[0].String() + `"}],"isFailure":true}`, 1, false, false},
		{"an entry without words beside a success", `{"failures":[{"alertId":"` + two[0].String() + `"}],"isFailure":false}`, 0, false, false},
		{"a refusal of nobody knows whom", `{"failures":[{"failureMessage":"no"}],"isFailure":true}`, 0, true, false},
		{"failure and only the dummy", `{"failures":[{"alertId":null}],"isFailure":true}`, 0, true, false},
		{"the zero GUID", `{"failures":[{"alertId":"00000000-0000-0000-0000-000000000000"}],"isFailure":false}`, 0, false, false},
		{"nothing", ``, 0, false, true},
		{"another object", `{"rows":[]}`, 0, false, true},
		{"null", `null`, 0, false, true},
		{"cut", `{"failures":[{"alertId":"d31`, 0, false, true},
	} {
		w, err := parseStates([]byte(c.body), two)
		if (err != nil) != c.bad || len(w.Objections) != c.objections || (w.Vague != nil) != c.vague {
			t.Errorf("%s: got %+v, %v; want %d objections, vague %v, unreadable %v", c.what, w, err, c.objections, c.vague, c.bad)
		}
		for id, o := range w.Objections {
			if !slices.Contains(two, id) || o.Text == "" {
				t.Errorf("%s: %v %+v", c.what, id, o)
			}
		}
	}
	w, err := parseStates([]byte(`{"failures":[{"failureMessage":"no"}],"isFailure":true}`), two[:1])
	if err != nil || w.Objections[two[0]].Text != "no" {
		t.Errorf("a nameless refusal of a single alert: %+v, %v", w, err)
	}
}

func TestObjectionsAreSortedByWhatCanBeDone(t *testing.T) {
	for _, c := range []struct {
		message, exception string
		want               alert.ObjectionKind
	}{
		{"", "Microsoft.EnterpriseManagement.Common.AlertMonitorUnhealthyException", alert.ObjectionUnhealthy},
		{"The current alert cannot be closed as the monitor that has generated this alert is still unhealthy", "", alert.ObjectionUnhealthy},
		{"The object with id x was not found.", "ObjectNotFoundException", alert.ObjectionNoAlert},
		{"The client has been disconnected from the server. Please call ManagementGroup.Reconnect()", "ServerDisconnectedException", alert.ObjectionPassing},
		{"The operation timed out", "", alert.ObjectionPassing},
		{"You may not", "UnauthorizedAccessEnterpriseManagementException", alert.ObjectionOther},
	} {
		if o := objection(c.message, c.exception); o.Kind != c.want || o.Text == "" {
			t.Errorf("%s %s: got %+v, want kind %d", c.message, c.exception, o, c.want)
		}
	}
}

func TestAWriteKnowsWhetherItMayHaveHappened(t *testing.T) {
	for what, c := range map[string]struct {
		faults  scomtest.Faults
		unknown bool
		done    bool
	}{
		"no connection":            {scomtest.Faults{Down: true}, false, false},
		"answer lost":              {scomtest.Faults{Path: "resolutionstates", DoThenHang: true}, true, true},
		"answer cut":               {scomtest.Faults{Path: "resolutionstates", CutAfter: 5}, true, true},
		"answer cut cleanly":       {scomtest.Faults{Path: "resolutionstates", CutAfter: 5, CutCleanly: true}, true, true},
		"never answered":           {scomtest.Faults{Path: "resolutionstates", Hang: true}, true, false},
		"503":                      {scomtest.Faults{Path: "resolutionstates", Status: 503}, true, false},
		"a page":                   {scomtest.Faults{Path: "resolutionstates", HTML: true}, true, false},
		"a wrong path":             {scomtest.Faults{Path: "resolutionstates", Status: 404}, false, false},
		"the log-on is refused":    {scomtest.Faults{Path: "authenticate", WrongPassword: true}, false, false},
		"connection lost midway":   {scomtest.Faults{Path: "resolutionstates", Down: true}, true, false},
		"the log-on has no answer": {scomtest.Faults{Path: "authenticate", Hang: true}, false, false},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, scomtest.Options{}, single, nil)
				id := w.group.Raise(scomtest.Alert{Name: "rule"})
				w.consoles[0].Set(c.faults)
				began := time.Now()
				_, err := w.client.SetState(t.Context(), ids(t, id), 255, "")
				f, ok := alert.FaultOf(err)
				if !ok || f.Unknown != c.unknown {
					t.Fatalf("got %v (unknown %v), want a fault with unknown %v", err, ok && f.Unknown, c.unknown)
				}
				if d := time.Since(began); d > 21*time.Second {
					t.Errorf("it took %v", d)
				}
				if a, _ := w.group.Get(id); (a.ResolutionState == 255) != c.done {
					t.Fatalf("state %d: the simulator does not do what the test is about", a.ResolutionState)
				}
				w.consoles[0].Heal()
			})
		})
	}
}

func TestAWriteLogsOnAgainWhenTheSessionHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, nil)
		id := w.group.Raise(scomtest.Alert{Name: "rule"})
		w.mustPoll()
		w.consoles[0].DropSessions()
		if _, err := w.client.SetState(t.Context(), ids(t, id), 255, "bye"); err != nil {
			t.Fatal(err)
		}
		if a, _ := w.group.Get(id); a.ResolutionState != 255 || !strings.EqualFold(a.LastModifiedBy, w.client.Account()) {
			t.Errorf("state %d by %s, want 255 by %s", a.ResolutionState, a.LastModifiedBy, w.client.Account())
		}
		if n := w.consoles[0].Counters().Logons; n != 2 {
			t.Errorf("%d log-ons, want 2", n)
		}
	})
}

func TestARoleThatMayOnlyReadSaysSoAndDisturbsNoPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account := scomtest.DefaultAccount
		account.Role = "Read-Only Operator"
		w := newWorld(t, scomtest.Options{Accounts: []scomtest.Account{account}}, []scomtest.ConsoleOptions{{}, {}}, nil)
		id := w.group.Raise(scomtest.Alert{Name: "rule"})
		w.mustPoll()
		for range 5 {
			_, err := w.client.SetState(t.Context(), ids(t, id), 255, "")
			f, ok := alert.FaultOf(err)
			if !ok || f.Class != alert.FaultAuth || f.Unknown || !f.All || !strings.Contains(err.Error(), "Operator") {
				t.Fatalf("got %v", err)
			}
		}
		w.mustPoll()
		if n := w.consoles[0].Counters().Logons; n != 1 || w.inUse() != "c1" {
			t.Errorf("%d log-ons, %s in use; want one, at c1", n, w.inUse())
		}
	})
}

func TestAPauseAfterARefusedLogOnHoldsForWritesToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, nil)
		w.consoles[0].Set(scomtest.Faults{Path: "authenticate", WrongPassword: true})
		w.mustFail(alert.FaultAuth)
		for range 10 {
			_, err := w.client.SetState(t.Context(), ids(t, "d3144ac9-4316-45ce-94b9-f50936219e24"), 255, "")
			if f, ok := alert.FaultOf(err); !ok || f.Class != alert.FaultAuth || f.RetryAfter == 0 {
				t.Fatalf("got %v", err)
			}
		}
		if n := w.group.BadLogons(scomtest.DefaultAccount.User); n != 1 {
			t.Errorf("%d bad log-ons, want one", n)
		}
	})
}

func TestSetFieldsChangesNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, nil)
		id := w.group.Raise(scomtest.Alert{Name: "rule", Owner: "jensen", ResolutionState: 249, CustomFields: [10]string{1: "two"}})
		one := ids(t, id)[0]
		fields := []alert.Field{{Name: "TicketId", Value: `INC"1`}, {Name: "CustomField10", Value: "ten"}}
		for turn, unchanged := range []bool{false, true} {
			got, err := w.client.SetFields(t.Context(), one, fields)
			if err != nil || len(got.Objections) != 0 || got.Unchanged != unchanged {
				t.Fatalf("turn %d: %+v, %v", turn, got, err)
			}
		}
		a, _ := w.group.Get(id)
		if a.TicketID != `INC"1` || a.CustomFields != [10]string{1: "two", 9: "ten"} || a.Owner != "jensen" || a.ResolutionState != 249 {
			t.Errorf("got %+v", a)
		}
		if n := w.consoles[0].Counters().Requests["data/alertdetails"]; n != 4 {
			t.Errorf("%d requests, want 4, of which one is the log-on's: what is there already is not written", n)
		}
		got, err := w.client.SetFields(t.Context(), ids(t, "00000000-0000-4000-8000-000000000001")[0], fields)
		if err != nil || got.Objections[ids(t, "00000000-0000-4000-8000-000000000001")[0]].Kind != alert.ObjectionNoAlert {
			t.Errorf("an unknown alert: %+v, %v", got, err)
		}
	})
}

func TestWhatIsNotKnownOfTheDetailsIsWrittenBackByteForByte(t *testing.T) {
	const before = `{"id":"d3144ac9-4316-45ce-94b9-f50936219e24", "new\u0041":{"a": [1.50,1e400, "\u00e4"] },"TicketId":null,"customFields":["a",null],"big":12345678901234567890,"alertUpdateFailure":{"failureMessage":null,"exceptionType":null}}`
	list, err := parseObject([]byte(" [" + before + "] "))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []alert.Field{{Name: "ticketid", Value: "I1"}, {Name: "customField4", Value: "four"}, {Name: "Owner", Value: "me"}} {
		changed := false
		if list, changed, err = setField(list, f); err != nil || !changed {
			t.Fatalf("%s: changed %v, %v", f.Name, changed, err)
		}
	}
	const want = `{"id":"d3144ac9-4316-45ce-94b9-f50936219e24","new\u0041":{"a": [1.50,1e400, "\u00e4"] },"TicketId":"I1","customFields":["a",null,null,"four"],"big":12345678901234567890,"alertUpdateFailure":{"failureMessage":null,"exceptionType":null},"owner":"me"}`
	if got := string(printObject(list)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, f := range []alert.Field{{Name: "Severity", Value: "1"}, {Name: "CustomField11", Value: "1"}, {Name: "CustomField0"}, {Name: "CustomFieldX"}} {
		if _, _, err := setField(list, f); err == nil {
			t.Errorf("%s was taken", f.Name)
		}
	}
}

func TestARefusalInTheDetailsIsRead(t *testing.T) {
	for body, want := range map[string]string{
		`{"id":"x","alertUpdateFailure":{"failureMessage":null,"exceptionType":null}}`: "",
		`{"id":"x"}`:                           "",
		`{"id":"x","alertUpdateFailure":null}`: "",
		`true`:                                 "",
		`false`:                                wordless,
		`{"id":"x","AlertUpdateFailure":{"failureMessage":"too long","exceptionType":"ArgumentException"}}`: "too long",
		`{"rows":[]}`: "unreadable",
		``:            "unreadable",
		`{"id":`:      "unreadable",
	} {
		o, objects, ok := updateFailure([]byte(body))
		got := ""
		if !ok {
			got = "unreadable"
		} else if objects {
			got = o.Text
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", body, got, want)
		}
	}
}

func TestAnOldServerCannotDoWhatItLacksAndIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{Version: "2019"}, single, nil)
		id := w.group.Raise(scomtest.Alert{Name: "rule"})
		one := ids(t, id)[0]
		for range 3 {
			if _, err := w.client.SetFields(t.Context(), one, []alert.Field{{Name: "Owner", Value: "me"}}); !errors.Is(err, alert.ErrUnsupported) {
				t.Errorf("SetFields: %v, want ErrUnsupported", err)
			}
			if _, err := w.client.ResetMonitor(t.Context(), one); !errors.Is(err, alert.ErrUnsupported) {
				t.Errorf("ResetMonitor: %v, want ErrUnsupported", err)
			}
		}
		n := w.consoles[0].Counters().Requests
		if n["data/alertdetails"] != 2 || n["data/resetmonitorbyalertid"] != 2 {
			t.Errorf("requests: %v, want each once, beside once at the log-on", n)
		}
	})
}

func TestMarksAreFoundInTheHistoryOfEveryVersion(t *testing.T) {
	for _, version := range []string{"1801", "2019", "2022"} {
		t.Run(version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, scomtest.Options{Version: version}, single, nil)
				id := w.group.Raise(scomtest.Alert{Name: "rule"})
				list := ids(t, id, "00000000-0000-4000-8000-000000000001")
				if _, err := w.client.SetState(t.Context(), list[:1], 249, `"quoted" <b> [sc:00000000000000aa] [sc:00000000000000ab]`); err != nil {
					t.Fatal(err)
				}
				asked := []string{"00000000000000aa", "00000000000000bb", "00000000000000ab"}
				found, err := w.client.Marked(t.Context(), list[0], asked)
				if err != nil || !slices.Equal(found, []string{asked[0], asked[2]}) {
					t.Errorf("got %v, %v", found, err)
				}
				if found, err := w.client.Marked(t.Context(), list[1], asked); err != nil || len(found) != 0 {
					t.Errorf("an unknown alert: got %v, %v", found, err)
				}
				for _, f := range []scomtest.Faults{{CutAfter: 100}, {CutAfter: 100, CutCleanly: true}, {Status: 500}, {Hang: true}} {
					f.Path = "data/alert"
					w.consoles[0].Set(f)
					if _, err := w.client.Marked(t.Context(), list[0], asked); err == nil {
						t.Errorf("%+v: a history that was not read whole counts", f)
					} else if fault, ok := alert.FaultOf(err); !ok || fault.Unknown {
						t.Errorf("%+v: %v, want a fault; a look-up changes nothing", f, err)
					}
				}
				w.consoles[0].Heal()
			})
		})
	}
}

func TestResetMonitorMakesTheAlertClosable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, nil)
		id := w.group.Raise(scomtest.Alert{Name: "monitor", IsMonitorAlert: true, Unhealthy: true})
		list := ids(t, id, "00000000-0000-4000-8000-000000000001")
		if got, err := w.client.ResetMonitor(t.Context(), list[0]); err != nil || len(got.Objections) != 0 {
			t.Fatalf("got %+v, %v", got, err)
		}
		if got, err := w.client.SetState(t.Context(), list[:1], 255, ""); err != nil || len(got.Objections) != 0 {
			t.Errorf("got %+v, %v", got, err)
		}
		if got, err := w.client.ResetMonitor(t.Context(), list[1]); err != nil || got.Objections[list[1]].Kind != alert.ObjectionNoAlert {
			t.Errorf("an unknown alert: %+v, %v", got, err)
		}
	})
}

func TestAWriteThatHangsMovesToTheNextConsole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, []scomtest.ConsoleOptions{{}, {}}, nil)
		id := w.group.Raise(scomtest.Alert{Name: "rule"})
		w.consoles[0].Set(scomtest.Faults{Hang: true})
		_, err := w.client.SetState(t.Context(), ids(t, id), 255, "")
		if f, ok := alert.FaultOf(err); !ok || f.All || f.Unknown {
			t.Fatalf("got %v, want a fault before the write, with a console left", err)
		}
		if _, err := w.client.SetState(t.Context(), ids(t, id), 255, ""); err != nil {
			t.Fatal(err)
		}
		if w.inUse() != "c2" {
			t.Errorf("%s in use", w.inUse())
		}
		w.consoles[0].Heal()
	})
}

func TestTheWholeTalkOfAWriteIsWhatTheDocumentationShows(t *testing.T) {
	var body map[string]any
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/authenticate"):
			http.SetCookie(rw, &http.Cookie{Name: "SCOMSessionId", Value: "s"})
			fmt.Fprint(rw, `{"name":"contoso\\adminuser"}`)
		case strings.HasSuffix(r.URL.Path, pathStates):
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
			fmt.Fprint(rw, `true`)
		default:
			http.NotFound(rw, r)
		}
	}))
	defer srv.Close()
	client, err := New(Config{Consoles: []Console{{URL: srv.URL + "/OperationsManager", User: "u", Password: "p"}}}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.SetState(context.Background(), ids(t, "{667736A8-D59A-407B-B142-80FD74BA4041}"), 249, "Acko"); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(body), "map[alertIds:[667736a8-d59a-407b-b142-80fd74ba4041] comment:Acko resolutionState:249]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := client.Account(); got != `contoso\adminuser` {
		t.Errorf("account %q", got)
	}
}

func FuzzParseStates(f *testing.F) {
	f.Add([]byte(`{"failures":[{"alertId":null,"failureMessage":null,"exceptionType":null}],"isFailure":false}`))
	f.Add([]byte(`["true"]`))
	id := alert.ID{1}
	f.Fuzz(func(t *testing.T, body []byte) {
		w, err := parseStates(body, []alert.ID{id})
		if err != nil && (w.Objections != nil || w.Vague != nil) {
			t.Error("an unreadable answer says something")
		}
		for got, o := range w.Objections {
			if got != id || o.Text == "" {
				t.Errorf("objection to %v: %+v", got, o)
			}
		}
		if list, err := parseObject(body); err == nil {
			if _, err := parseObject(printObject(list)); err != nil {
				t.Errorf("%s cannot be read again", printObject(list))
			}
		}
	})
}
