package publishertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func event(id, modified string, state, severity int) string {
	return fmt.Sprintf(`{"signature":"MG::%s","external_id":"%[1]s","severity":%d,"description":"a \"quoted\" {brace] \\","custom_info":{"other":[{"scom":1}],"scom":{"x":{"lastModified":"no"},"lastModified":"%s","resolutionState":%d}}}`,
		id, severity, modified, state)
}

const (
	idA = "d3144ac9-4316-45ce-94b9-f50936219e24"
	idB = "00000000-4316-45ce-94b9-f50936219e24"
)

func post(t *testing.T, l *LAM, body string) (status int, answer string) {
	t.Helper()
	res, err := http.Post(l.URL(), "application/json", strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func start(t *testing.T, o Options) *LAM {
	t.Helper()
	l, err := Listen("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func TestWhatArrivedIsRemembered(t *testing.T) {
	for _, light := range []bool{false, true} {
		l := start(t, Options{Light: light})
		a0, a1 := event(idA, "2026-01-02T03:04:05.123Z", 0, 4), event(idA, "2026-01-02T03:05:00.000Z", 255, 0)
		b := event(idB, "2026-01-02T03:04:05.123Z", 0, 5)
		beat := `{"signature":"scomconnector::MG::heartbeat","external_id":"scomconnector::MG::heartbeat","severity":0}`
		for _, body := range []string{
			`{"events":[` + a0 + `,` + b + `]}`,
			` { "events" : [ ` + a1 + ` , ` + beat + ` ] , "auth_token" : null } `,
			`{"events":[` + a0 + `,` + beat + `]}`,
			`{"events":[]}`,
		} {
			if status, answer := post(t, l, body); status != 200 || !strings.Contains(answer, `"success":true`) {
				t.Fatalf("got %d %s", status, answer)
			}
		}
		got := l.Received()
		if len(got) != 6 {
			t.Fatalf("got %d events, want 6", len(got))
		}
		for i, want := range []Event{
			{ExternalID: idA, LastModified: "2026-01-02T03:04:05.123Z", ResolutionState: 0, Severity: 4, Request: 1},
			{ExternalID: idB, LastModified: "2026-01-02T03:04:05.123Z", ResolutionState: 0, Severity: 5, Request: 1},
			{ExternalID: idA, LastModified: "2026-01-02T03:05:00.000Z", ResolutionState: 255, Severity: 0, Request: 2},
			{ExternalID: "scomconnector::MG::heartbeat", ResolutionState: -1, Severity: 0, Request: 2},
		} {
			have := got[i]
			if have.At.IsZero() || (have.Body == nil) != light {
				t.Errorf("light %v: event %d: At %v, %d bytes of body", light, i, have.At, len(have.Body))
			}
			have.At, have.Body = time.Time{}, nil
			if fmt.Sprint(have) != fmt.Sprint(want) {
				t.Errorf("light %v: event %d: got %+v, want %+v", light, i, have, want)
			}
		}
		if c := l.Counts(); c.Requests != 4 || c.Events != 6 || c.Duplicates != 1 || c.ByStatus[200] != 4 {
			t.Errorf("light %v: got %+v; only the alert repeats, heartbeats do by design", light, c)
		}
		if d := l.Duplicates(); len(d) != 1 || d[0].ExternalID != idA {
			t.Errorf("light %v: duplicates %+v", light, d)
		}
		if e, ok := l.Latest(idA); !ok || e.Request != 3 {
			t.Errorf("light %v: latest of A: %+v", light, e)
		}
		if _, ok := l.Latest("nobody"); ok || l.IDs() != 3 {
			t.Errorf("light %v: %d ids", light, l.IDs())
		}
		if err := l.WaitFor(t.Context(), 6); err != nil {
			t.Error(err)
		}
		l.Forget()
		if l.Counts().Events != 0 || len(l.Received()) != 0 {
			t.Errorf("light %v: not forgotten", light)
		}
	}
}

func TestWhatMoogsoftWouldNotTakeIsRefused(t *testing.T) {
	l := start(t, Options{Token: "secret"})
	good := event(idA, "2026-01-02T03:04:05.123Z", 0, 4)
	for _, c := range []struct {
		what, body string
		want       int
	}{
		{"no JSON", "hello", 400},
		{"cut", `{"auth_token":"secret","events":[` + good, 400},
		{"a bare event", good, 400},
		{"a list", "[" + good + "]", 400},
		{"two values", `{"auth_token":"secret","events":[]}{}`, 400},
		{"no signature", `{"auth_token":"secret","events":[{"severity":1}]}`, 400},
		{"signature of 768 bytes", `{"auth_token":"secret","events":[{"signature":"` + strings.Repeat("x", 768) + `","severity":1}]}`, 400},
		{"severity as a word", `{"auth_token":"secret","events":[{"signature":"x","severity":"Error"}]}`, 400},
		{"severity 6", `{"auth_token":"secret","events":[{"signature":"x","severity":6}]}`, 400},
		{"no token", `{"events":[` + good + `]}`, 401},
		{"wrong token", `{"auth_token":"s","events":[` + good + `]}`, 401},
		{"good", `{"events":[` + good + `],"auth_token":"secr\u0065t"}`, 200},
	} {
		if got, answer := post(t, l, c.body); got != c.want {
			t.Errorf("%s: got %d %s, want %d", c.what, got, answer, c.want)
		}
	}
	if n := len(l.Received()); n != 1 {
		t.Errorf("%d events were recorded, want 1", n)
	}
}

func TestFaults(t *testing.T) {
	body := `{"events":[` + event(idA, "2026-01-02T03:04:05.123Z", 0, 4) + `]}`
	for _, c := range []struct {
		what     string
		faults   Faults
		status   int // 0: no answer
		recorded int
		answer   string
	}{
		{"none", Faults{}, 200, 1, `"success":true`},
		{"down", Faults{Down: true}, 0, 0, ""},
		{"status", Faults{Status: 503}, 503, 0, "nginx"},
		{"every", Faults{Every: 1}, 502, 0, "nginx"},
		{"login page", Faults{HTMLLogin: true}, 200, 0, "Login.php"},
		{"limit", Faults{Limit: 10}, 413, 0, "nginx"},
		{"success false", Faults{SuccessFalse: true}, 200, 0, `"success":false`},
		{"refused", Faults{RefuseIf: func(e []byte) bool { return bytes.Contains(e, []byte(idA)) }}, 400, 0, `"success":false`},
		{"not refused", Faults{RefuseIf: func(e []byte) bool { return bytes.Contains(e, []byte(idB)) }}, 200, 1, `"success":true`},
		{"taken, then cut", Faults{TakenThenCut: true}, 0, 1, ""},
		{"body", Faults{Status: 404, ContentType: "text/plain", Body: "gone"}, 404, 0, "gone"},
		{"slow", Faults{Delay: time.Millisecond}, 200, 1, `"success":true`},
	} {
		l := start(t, Options{})
		l.Set(c.faults)
		status, answer := post(t, l, body)
		if status != c.status || status != 0 && !strings.Contains(answer, c.answer) {
			t.Errorf("%s: got %d %q, want %d %q", c.what, status, answer, c.status, c.answer)
		}
		if n := len(l.Received()); n != c.recorded {
			t.Errorf("%s: %d events recorded, want %d", c.what, n, c.recorded)
		}
		if c.status != 0 && l.Counts().ByStatus[c.status] != 1 {
			t.Errorf("%s: counted as %v", c.what, l.Counts().ByStatus)
		}
	}
}

func TestHangingEndsWithTheFault(t *testing.T) {
	l := start(t, Options{})
	l.Set(Faults{Hang: true})
	done := make(chan int)
	go func() {
		status, _ := post(t, l, `{"events":[]}`)
		done <- status
	}()
	if err := l.WaitUntil(t.Context(), func(c Counts, _ int) bool { return c.Requests > 0 }); err != nil {
		t.Fatal(err)
	}
	l.Set(Faults{})
	if status := <-done; status != 0 {
		t.Errorf("the hanging request was answered with %d", status)
	}
	if status, _ := post(t, l, `{"events":[]}`); status != 200 {
		t.Errorf("after the fault: %d", status)
	}
}

// FuzzScan compares the scanner with encoding/json.
func FuzzScan(f *testing.F) {
	f.Add([]byte(`{"events":[` + event(idA, "2026-01-02T03:04:05.123Z", 0, 4) + `],"auth_token":"a\"b"}`))
	f.Add([]byte(`{"events":[{"signature":"x","severity":1,"custom_info":null}]}`))
	f.Add([]byte(`{"events":[{"signature":"\\\"","severity":1,"external_id":null}],"x":[1,{"y":"}"}]}`))
	f.Add([]byte(`{"events":`))
	f.Fuzz(func(t *testing.T, body []byte) {
		light, lightErr := scan(body, nil, true)
		full, err := scan(body, nil, false)
		if err != nil {
			return
		}
		if lightErr != nil || len(light.events) != len(full.events) {
			t.Fatalf("light mode says %d, %v; full mode %d", len(light.events), lightErr, len(full.events))
		}
		for _, e := range full.events {
			var v struct {
				Signature json.RawMessage
			}
			if err := json.Unmarshal(e.raw, &v); err != nil {
				t.Fatalf("%q is no event: %v", e.raw, err)
			}
		}
	})
}

func BenchmarkScan(b *testing.B) {
	one := event(idA, "2026-01-02T03:04:05.123Z", 0, 4)
	one = strings.Replace(one, `"description":"`, `"description":"`+strings.Repeat("x", 1100-len(one)), 1)
	body := []byte(`{"events":[` + strings.Repeat(one+",", 499) + one + `]}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	room := make([]scanned, 0, 500)
	for b.Loop() {
		if _, err := scan(body, room, true); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/event")
}
