package publisher_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"scomconnector/poller/alert"
	"scomconnector/publisher"
	"scomconnector/publisher/publishertest"
)

// TestEveryAnswerHasItsMeaning drives each row of the table in outcome.go through a real LAM.
func TestEveryAnswerHasItsMeaning(t *testing.T) {
	const (
		accepted = "accepted"
		away     = "away"
		refused  = "refused" // both events, each standing alone
	)
	page := "<html><body>Login.php</body></html>"
	for _, c := range []struct {
		what   string
		faults publishertest.Faults
		want   string
		words  string // in the error
		label  string
	}{
		{"200 with JSON", publishertest.Faults{}, accepted, "", "accepted"},
		{"200 and empty", publishertest.Faults{Status: 200, ContentType: "text/plain"}, accepted, "", "accepted"},
		{"200 and blank", publishertest.Faults{Status: 200, ContentType: "text/plain", Body: " \r\n"}, accepted, "", "accepted"},
		{"204", publishertest.Faults{Status: 204, ContentType: "text/plain"}, accepted, "", "accepted"},
		{"201 with a list", publishertest.Faults{Status: 201, ContentType: "application/json", Body: `[{"success":true}]`}, accepted, "", "accepted"},
		{"JSON labelled as HTML", publishertest.Faults{Status: 200, ContentType: "text/html", Body: `{"success":true}`}, accepted, "", "accepted"},
		{"the login page", publishertest.Faults{HTMLLogin: true}, away, "wrong path: got a web page (a login page?)", "wrong_path"},
		{"HTML without a header", publishertest.Faults{Status: 200, ContentType: "text/plain", Body: page}, away, "wrong path", "wrong_path"},
		{"400 as HTML", publishertest.Faults{Status: 400, ContentType: "text/html", Body: page}, away, "wrong path", "wrong_path"},
		{"404 as HTML", publishertest.Faults{Status: 404, ContentType: "text/html", Body: page}, away, "wrong path", "wrong_path"},
		{"plain text", publishertest.Faults{Status: 200, ContentType: "text/plain", Body: "It works!"}, away, "without JSON", "not_taken"},
		{"success false", publishertest.Faults{SuccessFalse: true}, away, `"success": false`, "not_taken"},
		{"success false in a list", publishertest.Faults{Status: 200, ContentType: "application/json", Body: `[{"success":true},{"success":false}]`}, away, `"success": false`, "not_taken"},
		{"success as text", publishertest.Faults{Status: 200, ContentType: "application/json", Body: `{"Success":"False"}`}, away, `"success": false`, "not_taken"},
		{"301", publishertest.Faults{Status: 301}, away, "redirects", "wrong_path"},
		{"302", publishertest.Faults{Status: 302}, away, "redirects", "wrong_path"},
		{"307", publishertest.Faults{Status: 307}, away, "redirects", "wrong_path"},
		{"400", publishertest.Faults{Status: 400}, refused, "", "refused"},
		{"401", publishertest.Faults{Status: 401}, away, "AuthTokenCode", "auth"},
		{"401 as HTML", publishertest.Faults{Status: 401, ContentType: "text/html", Body: page}, away, "AuthTokenCode", "auth"},
		{"403", publishertest.Faults{Status: 403}, away, "credentials", "auth"},
		{"404", publishertest.Faults{Status: 404}, away, "no LAM at this path", "wrong_path"},
		{"405", publishertest.Faults{Status: 405}, away, "no LAM at this path", "wrong_path"},
		{"407", publishertest.Faults{Status: 407}, away, "ProxyUsername", "auth"},
		{"408", publishertest.Faults{Status: 408}, away, "later", "busy"},
		{"409", publishertest.Faults{Status: 409}, refused, "", "refused"},
		{"413", publishertest.Faults{Status: 413}, refused, "", "too_large"},
		{"415", publishertest.Faults{Status: 415}, refused, "", "refused"},
		{"422", publishertest.Faults{Status: 422}, refused, "", "refused"},
		{"425", publishertest.Faults{Status: 425}, away, "later", "busy"},
		{"429", publishertest.Faults{Status: 429}, away, "later", "busy"},
		{"451", publishertest.Faults{Status: 451}, refused, "", "refused"},
		{"500", publishertest.Faults{Status: 500}, away, "cannot serve now", "server_error"},
		{"502", publishertest.Faults{Status: 502}, away, "cannot serve now", "server_error"},
		{"503", publishertest.Faults{Status: 503}, away, "cannot serve now", "server_error"},
		{"504", publishertest.Faults{Status: 504}, away, "cannot serve now", "server_error"},
		{"599", publishertest.Faults{Status: 599}, away, "cannot serve now", "server_error"},
		{"down", publishertest.Faults{Down: true}, away, "closed the connection without an answer", "transport"},
		{"hanging", publishertest.Faults{Hang: true}, away, "gave no answer in time", "timeout"},
		{"taken, then cut", publishertest.Faults{TakenThenCut: true}, away, "closed the connection without an answer", "transport"},
	} {
		t.Run(c.what, func(t *testing.T) {
			l := lam(t, publishertest.Options{})
			l.Set(c.faults)
			cfg := to(l)
			cfg.AnswerTimeout = 5 * time.Second
			if c.faults.Hang {
				cfg.AnswerTimeout = 50 * time.Millisecond
			}
			d, got := destinationWithMetrics(t, cfg)
			delivery := d.Publish(t.Context(), events(2))
			switch c.want {
			case accepted:
				check(t, delivery, 2, 0, 0)
			case refused:
				check(t, delivery, 0, 2, 0)
				for _, r := range delivery.Refusals {
					if r.Status != c.faults.Status || r.LAM != "lam1" {
						t.Errorf("got %+v, want status %d by lam1", r, c.faults.Status)
					}
				}
			case away:
				check(t, delivery, 0, 0, 2)
				if !strings.Contains(delivery.Err.Error(), c.words) {
					t.Errorf("got %q, want %q in it", delivery.Err, c.words)
				}
				if s := d.Status()[0]; s.State != "failing" || !strings.Contains(s.LastError, c.words) {
					t.Errorf("status: got %s, %q", s.State, s.LastError)
				}
			}
			if got()["publish_total default "+c.label] == 0 {
				t.Errorf("not counted as %s: %v", c.label, got())
			}
			l.Set(publishertest.Faults{})
			check(t, d.Publish(t.Context(), events(2)), 2, 0, 0)
			if s := d.Status()[0]; s.State != "ok" || s.LastError != "" || s.LastOK.IsZero() || !s.InUse {
				t.Errorf("after recovery: %+v", s)
			}
		})
	}
}

func TestRetryAfterIsHandedOnAndHonoured(t *testing.T) {
	for _, c := range []struct {
		header   string
		min, max time.Duration
	}{
		{"", 0, 0},
		{"30", 30 * time.Second, 30 * time.Second},
		{"86400", time.Hour, time.Hour},
		{"99999999999999999999", 0, 0},
		{"-5", 0, 0},
		{"soon", 0, 0},
		{time.Now().UTC().Add(90 * time.Second).Format(http.TimeFormat), 80 * time.Second, 91 * time.Second},
		{time.Now().UTC().Add(-time.Hour).Format(http.TimeFormat), 0, 0},
	} {
		l := lam(t, publishertest.Options{})
		l.Set(publishertest.Faults{Status: 429, RetryAfter: c.header})
		d := destination(t, to(l))
		got := d.Publish(t.Context(), events(1))
		check(t, got, 0, 0, 1)
		if got.Err.RetryAfter < c.min || got.Err.RetryAfter > c.max {
			t.Errorf("Retry-After %q: got %v, want %v to %v", c.header, got.Err.RetryAfter, c.min, c.max)
		}
		again := d.Publish(t.Context(), events(1))
		check(t, again, 0, 0, 1)
		want := 2
		if c.min > 0 {
			want = 1
			if again.Err.RetryAfter <= 0 || again.Err.RetryAfter > c.max {
				t.Errorf("asked again too early: got a pause of %v", again.Err.RetryAfter)
			}
		}
		if n := l.Counts().Requests; n != want {
			t.Errorf("Retry-After %q: got %d requests for two Publish calls, want %d", c.header, n, want)
		}
	}
}

func TestTooLargeIsHalvedAndRemembered(t *testing.T) {
	l := lam(t, publishertest.Options{})
	l.Set(publishertest.Faults{Limit: 300 << 10})
	d := destination(t, to(l))
	batch := make([]alert.Event, 100)
	for i := range batch {
		batch[i] = event(i, 9000)
	}
	check(t, d.Publish(t.Context(), batch), 100, 0, 0)
	if got := order(l); !slices.Equal(got, upTo(100)) {
		t.Errorf("arrived as %v", got)
	}
	first := l.Counts().ByStatus[413]
	if first == 0 {
		t.Fatal("nothing was too large: the test tests nothing")
	}
	check(t, d.Publish(t.Context(), batch), 100, 0, 0)
	if again := l.Counts().ByStatus[413]; again != first {
		t.Errorf("the second batch met %d more 413s, want none", again-first)
	}
	if w := d.Status()[0].Warning; !strings.Contains(w, "MaxPayloadSizeInMB") {
		t.Errorf("no warning about the limit: %q", w)
	}
	if c := l.Counts(); c.Duplicates != 100 {
		t.Errorf("got %d duplicates, want 100, those of the second batch", c.Duplicates)
	}
}

// refuse makes a LAM refuse the events with these indices.
func refuse(bad ...int) publishertest.Faults {
	batch := map[string]bool{}
	for _, i := range bad {
		batch[event(i, 0).ID.String()] = true
	}
	return publishertest.Faults{RefuseIf: func(e []byte) bool {
		i := bytes.Index(e, []byte(`"external_id":"`)) + len(`"external_id":"`)
		return batch[string(e[i:i+36])]
	}}
}

func TestGuiltyEventsAreSetAsideAndTheOthersPass(t *testing.T) {
	const n = 64
	every := func(k int) (bad []int) {
		for i := 0; i < n; i += k {
			bad = append(bad, i)
		}
		return bad
	}
	for _, bad := range [][]int{{0}, {n - 1}, {31}, {0, 1, 2}, {5, 6, 40}, {61, 62, 63}, every(2), every(5)} {
		l := lam(t, publishertest.Options{})
		l.Set(refuse(bad...))
		d := destination(t, to(l))
		got := d.Publish(t.Context(), events(n))
		check(t, got, n-len(bad), len(bad), 0)
		var guilty []int
		for _, r := range got.Refusals {
			guilty = append(guilty, r.Index)
			if r.Status != 400 || !strings.Contains(r.Answer, "cannot be mapped") {
				t.Errorf("got %+v", r)
			}
		}
		if !slices.Equal(guilty, bad) {
			t.Errorf("refused %v, want %v", guilty, bad)
		}
		if c := l.Counts(); c.Duplicates > 0 || c.Events != n-len(bad) {
			t.Errorf("refused %v: %d events arrived with %d duplicates, want %d and none", bad, c.Events, c.Duplicates, n-len(bad))
		}
	}
}

func TestOrderIsKeptAroundAGuiltyEvent(t *testing.T) {
	l := lam(t, publishertest.Options{})
	l.Set(refuse(17))
	d := destination(t, to(l))
	check(t, d.Publish(t.Context(), events(50)), 49, 1, 0)
	want := slices.Delete(upTo(50), 17, 18)
	if got := order(l); !slices.Equal(got, want) {
		t.Errorf("arrived as %v", got)
	}
}

func TestProofIsAnotherEventAcceptedByTheSameLAM(t *testing.T) {
	l := lam(t, publishertest.Options{})
	l.Set(refuse(0))
	d := destination(t, to(l))
	got := d.Publish(t.Context(), events(1))
	check(t, got, 0, 1, 0)
	r := got.Refusals[0]
	if d.Proven(r) {
		t.Fatal("proven before the LAM has accepted anything")
	}
	check(t, d.Publish(t.Context(), events(1)), 0, 1, 0)
	if d.Proven(r) {
		t.Fatal("refusing the event once more is no proof")
	}
	check(t, d.Publish(t.Context(), []alert.Event{event(1, 300)}), 1, 0, 0)
	if !d.Proven(r) {
		t.Fatal("not proven, though the LAM has accepted another event")
	}
	r.LAM = "one that was removed from the settings"
	if d.Proven(r) {
		t.Fatal("proven by a LAM that is not there")
	}
}

// TestALAMThatRefusesEverythingIsNotBelieved: few requests, hardly anything set aside, all held.
func TestALAMThatRefusesEverythingIsNotBelieved(t *testing.T) {
	l := lam(t, publishertest.Options{})
	l.Set(publishertest.Faults{Status: 400})
	d := destination(t, to(l))
	got := d.Publish(t.Context(), events(500))
	check(t, got, 0, 4, 496)
	if !strings.Contains(got.Err.Error(), "refuses every event") {
		t.Errorf("got %q", got.Err)
	}
	if n := l.Counts().Requests; n > 20 {
		t.Errorf("took %d requests, want at most 20", n)
	}
	for _, r := range got.Refusals {
		if d.Proven(r) {
			t.Errorf("event %d is proven guilty by a LAM that accepts nothing", r.Index)
		}
	}
	if s := d.Status()[0]; s.State != "failing" {
		t.Errorf("got state %s", s.State)
	}
}

// TestARowOfBrokenEventsDoesNotHideWhatIsBehindIt: the newest event speaks for the LAM.
func TestARowOfBrokenEventsDoesNotHideWhatIsBehindIt(t *testing.T) {
	l := lam(t, publishertest.Options{})
	bad := upTo(40)
	l.Set(refuse(bad...))
	d := destination(t, to(l))
	got := d.Publish(t.Context(), events(100))
	check(t, got, 60, 40, 0)
	want := append([]int{99}, upTo(99)[40:]...)
	if arrived := order(l); !slices.Equal(arrived, want) {
		t.Errorf("arrived as %v, want the newest first and then the order", arrived)
	}
}

// TestTheNewestEventIsNotTriedBeforeAnEarlierOneOfItsAlert: order is owed to each alert.
func TestTheNewestEventIsNotTriedBeforeAnEarlierOneOfItsAlert(t *testing.T) {
	l := lam(t, publishertest.Options{})
	l.Set(refuse(upTo(40)...))
	d := destination(t, to(l))
	batch := events(100)
	later := event(98, 300)
	later.LastModified += 1000
	batch[99] = later
	check(t, d.Publish(t.Context(), batch), 60, 40, 0)
	if arrived := order(l); arrived[0] != 97 {
		t.Errorf("event %d was tried first, want 97, the newest that waits for no other", arrived[0])
	}
}

// TestBrokenEventsAloneAreSetAsideOneByOne: the caller gets on even if all it has is broken.
func TestBrokenEventsAloneAreSetAsideOneByOne(t *testing.T) {
	l := lam(t, publishertest.Options{})
	l.Set(refuse(0, 1, 2, 3, 4, 5, 6, 7))
	d := destination(t, to(l))
	left := events(8)
	for round := 0; len(left) > 0; round++ {
		if round > 8 {
			t.Fatalf("%d events are left after %d rounds", len(left), round)
		}
		got := d.Publish(t.Context(), left)
		var next []alert.Event
		for i, v := range got.Verdicts {
			if v == alert.Pending {
				next = append(next, left[i])
			}
		}
		left = next
	}
	check(t, d.Publish(t.Context(), []alert.Event{event(9, 300)}), 1, 0, 0)
}

// TestALAMThatSlamsTheDoorOnLargeBodies: some front ends reset the connection instead of saying 413.
func TestALAMThatSlamsTheDoorOnLargeBodies(t *testing.T) {
	addr := slammer(t, 200<<10)
	d := destination(t, publisher.Config{LAMs: []publisher.LAM{{Name: "a", URL: "http://" + addr + "/"}}, MaxPayloadBytes: 4 << 20})
	batch := make([]alert.Event, 300)
	for i := range batch {
		batch[i] = event(i, 10_000)
	}
	for range 6 { // 3 MB, 1.5 MB, ... 190 KB
		got := d.Publish(t.Context(), batch)
		if got.Err == nil {
			check(t, got, 300, 0, 0)
			return
		}
	}
	t.Error("the requests never became small enough")
}

// TestAnAnswerBeforeTheEventsIsNoAcceptance: what has not been read cannot have been taken.
func TestAnAnswerBeforeTheEventsIsNoAcceptance(t *testing.T) {
	l := lam(t, publishertest.Options{})
	l.Set(publishertest.Faults{Status: 200}) // at once, without reading
	cfg := to(l)
	cfg.MaxPayloadBytes = 64 << 20
	d := destination(t, cfg)
	batch := make([]alert.Event, 32)
	for i := range batch {
		batch[i] = event(i, 1<<20) // far more than the sockets' buffers hold
	}
	check(t, d.Publish(t.Context(), batch), 0, 0, 32)
}

func TestSecretsDoNotComeBackWithAnswers(t *testing.T) {
	l := lam(t, publishertest.Options{})
	l.Set(publishertest.Faults{Status: 401, ContentType: "application/json", Body: `{"message":"token tok-hunter2 and password pw-hunter2 are wrong, Basic dTpwdy1odW50ZXIy"}`})
	cfg := to(l)
	cfg.AuthToken = "tok-hunter2"
	cfg.LAMs[0].Username, cfg.LAMs[0].Password = "u", "pw-hunter2"
	d := destination(t, cfg)
	got := d.Publish(t.Context(), events(1))
	for _, s := range []string{got.Err.Error(), d.Status()[0].LastError} {
		if strings.Contains(s, "hunter2") || strings.Contains(s, "dTpwdy1") || !strings.Contains(s, "***") {
			t.Errorf("got %q", s)
		}
	}
}

// A LAM that refuses every event still gets the cure that belongs to its answer: nobody looks for a network fault.
func TestTheCureForALAMThatRefusesEverything(t *testing.T) {
	for status, want := range map[int]string{413: "client_max_body_size", 400: "its answer"} {
		l := lam(t, publishertest.Options{})
		l.Set(publishertest.Faults{Status: status})
		got := destination(t, to(l)).Publish(t.Context(), events(20))
		if got.Err == nil || !strings.Contains(got.Err.Do, want) {
			t.Errorf("HTTP %d: got %+v, want %q in what to do", status, got.Err, want)
		}
	}
}

// One or two events that meet 413, each alone, are held and told with the cure, too.
func TestTheCureForOneEventThatIsTooLarge(t *testing.T) {
	for _, n := range []int{1, 2} {
		l := lam(t, publishertest.Options{})
		l.Set(publishertest.Faults{Status: 413})
		got := destination(t, to(l)).Publish(t.Context(), events(n))
		check(t, got, 0, n, 0)
		for _, r := range got.Refusals {
			if r.Status != 413 || !strings.Contains(r.Do, "client_max_body_size") || !strings.Contains(r.Do, "MaxPayloadSizeInMB") {
				t.Errorf("%d: got %+v, want the cure", n, r)
			}
		}
	}
	l := lam(t, publishertest.Options{})
	l.Set(publishertest.Faults{Status: 400})
	if got := destination(t, to(l)).Publish(t.Context(), events(1)); len(got.Refusals) != 1 || got.Refusals[0].Do != "" {
		t.Errorf("HTTP 400: got %+v, want no cure of a size", got.Refusals)
	}
}
