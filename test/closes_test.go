package test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/cluster/raftnode"
	"scomconnector/poller/scom/scomtest"
)

// posted is what a moobot gets for its POST.
type posted struct {
	v1.CloseAnswer
	code       int
	retryAfter string
	err        error // no answer at all
}

// accepted reports whether this is a promise.
func (p posted) accepted() bool { return p.err == nil && p.code == http.StatusOK && p.Success }

func (p posted) String() string {
	return fmt.Sprintf("%d %q, reason %q, error %q, hint %q, no answer: %v", p.code, p.Status, p.Reason, p.Error, p.Hint, p.err)
}

// post sends a body to a node as a moobot does; header is a name and a value.
func (w *world) post(node, path, body string, header ...string) posted {
	req, err := http.NewRequest(http.MethodPost, "http://"+host(node)+":8085"+path, strings.NewReader(body))
	if err != nil {
		return posted{err: err}
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	tr := &http.Transport{DialContext: w.net.Dialer("moogsoft"), DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr, Timeout: time.Minute}).Do(req)
	if err != nil {
		return posted{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	p := posted{code: resp.StatusCode, retryAfter: resp.Header.Get("Retry-After"), err: err}
	if err == nil {
		p.err = json.Unmarshal(b, &p.CloseAnswer)
	}
	return p
}

// ask asks a node to do with an alert what detail names; empty closes it.
func (w *world) ask(node, alert, detail string) posted {
	return w.post(node, "/event_post/", fmt.Sprintf(`{"id": %q, "externalId": "4711", "description": "from a test", "detail": %q}`, alert, cmp.Or(detail, "Closed")))
}

// askAll has so many closes of each of the alerts asked for at the same time, by the nodes in turn, one such round each pause.
func (w *world) askAll(ids []string, each int, pause time.Duration) []posted {
	answers := make([]posted, len(ids)*each)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i] = w.ask(w.members[i%len(w.members)], ids[i/each], "") })
		if pause > 0 {
			w.pass(pause)
		}
	}
	wg.Wait()
	return answers
}

// effects are the marks of the writes by our account in an alert's history, oldest first, and how many such writes there are.
func (w *world) effects(id string) (marks []string, writes int) {
	for _, h := range w.group.History(id) {
		if h.ModifiedBy != scomtest.DefaultAccount.User {
			continue
		}
		writes++
		for _, part := range strings.Split(h.Comments, "[sc:")[1:] {
			mark, _, _ := strings.Cut(part, "]")
			marks = append(marks, mark)
		}
	}
	return marks, writes
}

// checkOnce demands that an accepted request is the one visible effect on its alert.
func (w *world) checkOnce(id string, p posted) {
	w.t.Helper()
	marks, writes := w.effects(id)
	if !p.accepted() || p.Request == "" {
		w.t.Errorf("%s: %v, want it accepted", id, p)
	}
	if a, _ := w.group.Get(id); a.ResolutionState != scomtest.Closed || writes != 1 {
		w.t.Errorf("%s: state %d by %d writes, want %d by one", id, a.ResolutionState, writes, scomtest.Closed)
	}
	// A write of several carries all their marks.
	if n := strings.Count(strings.Join(marks, " "), p.Request); n != 1 {
		w.t.Errorf("%s: the mark %s stands %d times in its history, want once", id, p.Request, n)
	}
}

// awaitSettled waits until no node has a request waiting.
func (w *world) awaitSettled(limit time.Duration) {
	w.t.Helper()
	w.await("no close request waits", limit, func() bool {
		for id := range w.running {
			if w.status(id).Outbox.Pending > 0 {
				return false
			}
		}
		return true
	})
}

// sentAs is how often the LAMs have got an alert in a resolution state.
func (w *world) sentAs(id string, state int) (n int) {
	for _, l := range w.lams {
		for _, e := range l.Received() {
			if strings.EqualFold(e.ExternalID, id) && e.ResolutionState == state {
				n++
			}
		}
	}
	return n
}

// A close request is taken by every node in every spelling of the alert and the address, is done in SCOM once, and is not sent
// back to where it comes from, not by the next leader either.
func TestCloseThroughAnyNode(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick + `"ReconcileMinutes": 5,`}, func(w *world) {
		w.formed()
		ids := w.raise(4)
		w.awaitDelivered(15 * time.Second)
		if _, err := w.maintain("primary", "primary", "enter", true); err != nil {
			t.Fatal(err)
		}
		for i, c := range []struct{ node, path, id string }{
			{"secondary", "/event_post/", ids[0]}, // leads
			{"primary", "//event_post//", "{" + strings.ToUpper(ids[1]) + "}"},
			{"witness", "/event_post", strings.ToUpper(ids[2])},
			{"primary", "/event_post/", "{" + ids[3] + "}"}, // in maintenance
		} {
			body := fmt.Sprintf(`{"id": %q}`, c.id)
			p := w.post(c.node, c.path+"?wait=5s", body)
			if p.code != http.StatusOK || p.Status != "closed" || p.ID != ids[i] {
				t.Errorf("POST %s of %s at %s: %v for %q; want 200 closed for %s", c.path, c.id, c.node, p, p.ID, ids[i])
			}
			w.checkOnce(ids[i], p)
			if again := w.post(c.node, c.path+"?wait=5s", body); again.code != http.StatusOK || again.Status != "already_closed" || again.Request == p.Request {
				t.Errorf("the same again: %v as request %s, want 200 already_closed as another than %s", again, again.Request, p.Request)
			}
			w.checkOnce(ids[i], p)
		}
		// SCOM never had it, which cannot be told from one that it has groomed.
		const stranger = "7f8a0000-0000-4000-8000-00000000beef"
		if p := w.post("witness", "/event_post/?wait=5s", `{"id": "`+stranger+`"}`); p.code != http.StatusOK || p.Status != "already_closed" || !strings.Contains(p.Reason, "unknown to SCOM") {
			t.Errorf("an alert that SCOM never had: %v, reason %q; want 200 already_closed, unknown to SCOM", p, p.Reason)
		}
		own := w.post("witness", "/event_post/", `{"id": "scomconnector::test::heartbeat"}`)
		if !own.accepted() || own.Status != "already_closed" {
			t.Errorf("a close of our own event: %v, want 200 already_closed", own)
		}
		w.pass(12 * time.Minute) // a reconcile looks at all alerts meanwhile
		w.stop("secondary")      // the next leader does not know what this one has written
		w.start("secondary")
		if _, err := w.maintain("witness", "primary", "leave", false); err != nil {
			t.Error(err)
		}
		w.await("a node leads", 20*time.Second, func() bool { return w.leader() != "" })
		w.pass(12 * time.Minute)
		for _, id := range ids {
			if n := w.sentAs(id, scomtest.Closed); n != 0 {
				t.Errorf("Moogsoft was sent %d times that %s is closed, which it has asked for itself", n, id)
			}
		}
		if d := w.duplicates(); d > 0 {
			t.Errorf("%d events arrived twice, want none", d)
		}
	})
}

// A burst of 200 at all nodes at once, four of each alert: each has one visible effect, and what was asked four times is done once.
func TestBurstOfClosesAtAllNodes(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.formed()
		ids := w.raise(50)
		w.awaitDelivered(15 * time.Second)
		answers := w.askAll(ids, 4, 0)
		w.awaitSettled(10 * time.Second)
		for i, p := range answers {
			w.mustHold(ids[i/4], p)
		}
		for _, id := range ids {
			if marks, writes := w.effects(id); len(marks) == 0 || writes != 1 {
				t.Errorf("%s: %d writes with %d marks, want one", id, writes, len(marks))
			}
		}
	})
}

// mustHold demands what every 200 promises: that the alert is closed, by one write of ours, whichever request it was for.
func (w *world) mustHold(id string, p posted) {
	w.t.Helper()
	if !p.accepted() {
		w.t.Errorf("%s: %v, want it accepted", id, p)
		return
	}
	_, writes := w.effects(id)
	if a, _ := w.group.Get(id); a.ResolutionState != scomtest.Closed || writes != 1 {
		w.t.Errorf("%s was promised (%s), and is in state %d by %d writes of ours", id, p.Status, a.ResolutionState, writes)
	}
}

// What a person does right after our close, or right before it, is sent to Moogsoft, also where SCOM shows both as one row.
func TestChangeByAPersonAfterOurCloseIsSent(t *testing.T) {
	const person = `CONTOSO\a.jensen`
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.formed()
		ids := w.raise(5)
		w.awaitDelivered(15 * time.Second)
		w.await("a poll has just been", 5*time.Second, func() bool { return time.Since(w.status("primary").Pipelines[0].LastPoll) < 200*time.Millisecond })
		w.group.Update(ids[4], person, func(a *scomtest.Alert) { a.Owner = person }) // no poll shows this by itself
		for _, id := range []string{ids[4], ids[0], ids[1], ids[2], ids[3]} {
			if p := w.post("witness", "/event_post/?wait=5s", fmt.Sprintf(`{"id": %q}`, id)); p.Status != "closed" {
				t.Fatalf("%s: %v", id, p)
			}
		}
		// At once, before any poll: reopened, taken by somebody.
		w.group.SetState(ids[0], 0, person)
		w.group.Update(ids[1], person, func(a *scomtest.Alert) { a.Owner = person })
		w.pass(10 * time.Second) // and after the poll that has shown our own change
		w.group.SetState(ids[2], 0, person)
		w.awaitSent(ids[0], 0, 2)
		w.awaitSent(ids[1], scomtest.Closed, 1)
		w.awaitSent(ids[2], 0, 2)
		w.awaitSent(ids[4], scomtest.Closed, 1)
		w.pass(time.Minute)
		if n := w.sentAs(ids[3], scomtest.Closed); n != 0 {
			t.Errorf("the echo of our own close was sent %d times", n)
		}
		// Closed by the person what Moogsoft had reopened: as any other change.
		w.group.SetState(ids[0], scomtest.Closed, person)
		w.awaitSent(ids[0], scomtest.Closed, 1)
	})
}

func (w *world) awaitSent(id string, state, n int) {
	w.t.Helper()
	w.await(fmt.Sprintf("Moogsoft has %s in state %d, %d times", id, state, n), 15*time.Second, func() bool { return w.sentAs(id, state) == n })
}

// Closed, reopened and closed again through different nodes, while SCOM is away: all three arrive, in the order in which they were
// accepted.
func TestCloseReopenCloseArriveInOrder(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick + `"CallbackActions": {"Closed": 255, "Reopened": 0},`}, func(w *world) {
		w.formed()
		ids := w.raise(5)
		w.awaitDelivered(15 * time.Second)
		w.consoles[0].Set(scomtest.Faults{Down: true})
		var want []string
		for i, detail := range []string{"Closed", "Reopened", "Closed"} {
			for _, id := range ids {
				p := w.ask(w.members[i], id, detail)
				if !p.accepted() {
					t.Fatalf("%s of %s: %v", detail, id, p)
				}
				want = append(want, p.Request)
			}
		}
		w.pass(10 * time.Minute)
		w.consoles[0].Heal()
		w.awaitSettled(time.Minute)
		for i, id := range ids {
			marks, writes := w.effects(id)
			if got, want := strings.Join(marks, " "), strings.Join([]string{want[i], want[i+5], want[i+10]}, " "); writes != 3 || !inOrder(got, want) {
				t.Errorf("%s: %d writes, marks %s; want three in the order %s", id, writes, got, want)
			}
			if a, _ := w.group.Get(id); a.ResolutionState != scomtest.Closed {
				t.Errorf("%s ends in state %d, want closed", id, a.ResolutionState)
			}
		}
		if p := w.ask("primary", ids[0], "Exploded"); p.code != http.StatusBadRequest || !strings.Contains(p.Error, "Exploded") {
			t.Errorf("a detail that no setting names: %v, want 400 that names it", p)
		}
	})
}

// inOrder reports whether the words of want stand in got in their order.
func inOrder(got, want string) bool {
	for word := range strings.FieldsSeq(want) {
		_, rest, found := strings.Cut(got, word)
		if !found {
			return false
		}
		got = rest
	}
	return true
}

// SCOM does not close the alert of an unhealthy monitor: the moobot is told in SCOM's words, the request is parked for everybody
// to see, and done when an operator has it tried again after the monitor has become healthy.
func TestUnhealthyMonitorIsReported(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.formed()
		id := w.group.Raise(scomtest.Alert{Name: "Disk", Severity: scomtest.Error, PrincipalName: "srv.contoso.com", IsMonitorAlert: true, Unhealthy: true})
		w.awaitDelivered(15 * time.Second)
		p := w.post("witness", "/event_post/?wait=10s", fmt.Sprintf(`{"id": %q}`, id))
		if p.code != http.StatusConflict || p.Success || p.Status != "refused" || !strings.Contains(p.Reason, "still unhealthy") || p.Hint == "" {
			t.Errorf("got %v, want 409 refused with SCOM's words and what to do", p)
		}
		ctx := context.Background()
		for _, node := range w.members {
			var list []v1.ParkedRequest
			var err error
			w.await(node+" knows of it", time.Second, func() bool {
				list, err = w.operator(node).ParkedRequests(ctx)
				return err != nil || len(list) > 0
			})
			if err != nil || len(list) != 1 || list[0].ID != p.Request || !strings.Contains(list[0].Reason, "still unhealthy") || list[0].Node != "witness" {
				t.Errorf("%s lists %+v, %v; want the request and SCOM's words", node, list, err)
			}
		}
		if v := w.status("primary").Verdict; !strings.Contains(v.Text, "close request") || v.Do == "" {
			t.Errorf("the page says %q, do %q; want the refused request and what to do", v.Text, v.Do)
		}
		if err := w.group.ResetMonitor(id); err != nil {
			t.Fatal(err)
		}
		if err := w.operator("secondary").RetryRequest(ctx, p.Request); err != nil {
			t.Fatal(err)
		}
		w.awaitSettled(10 * time.Second)
		if a, _ := w.group.Get(id); a.ResolutionState != scomtest.Closed {
			t.Errorf("after the retry the alert is in state %d, want closed", a.ResolutionState)
		}
		if list, err := w.operator("primary").ParkedRequests(ctx); err != nil || len(list) != 0 {
			t.Errorf("parked after the retry: %+v, %v", list, err)
		}
		w.await("the page is green", 10*time.Second, func() bool { return w.status("primary").Verdict.Level == v1.OK })
	})
}

// Where the settings want it the monitor is reset, and then the alert closed.
func TestUnhealthyMonitorIsReset(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick + `"CloseUnhealthyMonitor": "reset",`}, func(w *world) {
		w.formed()
		id := w.group.Raise(scomtest.Alert{Name: "Disk", Severity: scomtest.Error, PrincipalName: "srv.contoso.com", IsMonitorAlert: true, Unhealthy: true})
		w.awaitDelivered(15 * time.Second)
		p := w.post("witness", "/event_post/?wait=10s", fmt.Sprintf(`{"id": %q}`, id))
		if a, _ := w.group.Get(id); p.Status != "closed" || a.ResolutionState != scomtest.Closed || a.Unhealthy {
			t.Errorf("%v, and the alert is in state %d, unhealthy %v; want closed and healthy", p, a.ResolutionState, a.Unhealthy)
		}
	})
}

// Nothing is accepted silently: without a leader, without room, for an alert that nobody knows, without the token.
func TestClosesThatAreNotAccepted(t *testing.T) {
	token := filepath.Join(t.TempDir(), "callback")
	if err := os.WriteFile(token, []byte("let-me-close\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := site{nodes: 3, settings: quick + `"OutboxMaxEntries": 10, "CloseUnknownIds": "refuse", "CloseWaitSeconds": 7,`,
		node: fmt.Sprintf(`"Auth": {"CallbackTokenFile": %q},`, token)}
	inWorld(t, s, func(w *world) {
		w.formed()
		ids := w.raise(12)
		w.awaitDelivered(15 * time.Second)
		body := func(id string) string { return fmt.Sprintf(`{"id": %q}`, id) }
		with := []string{"Authorization", "Bearer let-me-close"}
		for _, header := range [][]string{nil, {"Authorization", "Bearer let-me-in"}} {
			if p := w.post("witness", "/event_post/", body(ids[0]), header...); p.code != http.StatusUnauthorized || p.Success {
				t.Errorf("with %q: %v, want 401", header, p)
			}
		}
		if p := w.post("secondary", "/event_post/", body("00000000-1111-2222-3333-444444444444"), with...); p.code != http.StatusNotFound || p.Success {
			t.Errorf("an alert that was never sent: %v, want 404", p)
		}
		w.consoles[0].Set(scomtest.Faults{Down: true})
		for i, id := range ids[:11] {
			p := w.post(w.members[i%3], "/event_post/", body(id), with...)
			if full := i == 10; full != (p.code == http.StatusTooManyRequests) || full == p.Success || full != (p.retryAfter != "") {
				t.Errorf("request %d of an outbox for 10: %v, Retry-After %q", i+1, p, p.retryAfter)
			}
		}
		w.consoles[0].Heal()
		w.awaitSettled(time.Minute)
		if a, _ := w.group.Get(ids[10]); a.ResolutionState == scomtest.Closed {
			t.Error("what was answered 429 was done all the same")
		}
		if p := w.post("primary", "/event_post/?wait=5s", body(ids[10]), "Authorization", "Basic bW9vZzpsZXQtbWUtY2xvc2U="); p.Status != "closed" {
			t.Errorf("once there is room, with the token as password: %v", p)
		}
		w.stop("secondary")
		w.stop("primary")
		start := time.Now()
		p := w.post("witness", "/event_post/", body(ids[11]), with...)
		if took := time.Since(start); p.code != http.StatusServiceUnavailable || p.retryAfter == "" || took < 7*time.Second || took > 9*time.Second {
			t.Errorf("without a leader: %v, Retry-After %q, after %v; want 503 after CloseWaitSeconds, 7 s", p, p.retryAfter, took)
		}
		// An election is waited for.
		go func() { w.pass(2 * time.Second); w.start("primary") }()
		if p := w.post("witness", "/event_post/?wait=15s", body(ids[11]), with...); p.Status != "closed" {
			t.Errorf("with a leader to come: %v, want it closed", p)
		}
	})
}

// A node that has just started takes close requests from its first moment on: it waits for what it must know.
func TestCloseAtTheFirstMomentOfANode(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.formed()
		ids := w.raise(5)
		w.awaitDelivered(15 * time.Second)
		w.stop("witness")
		w.disks["witness"] = raftnode.NewMemory() // it knows nothing
		w.start("witness")
		for _, id := range ids {
			if p := w.ask("witness", id, ""); !p.accepted() {
				t.Errorf("%v, want it accepted", p)
			}
		}
		w.awaitSettled(10 * time.Second)
		if n := w.closedIn(ids); n != len(ids) {
			t.Errorf("%d are closed, want %d", n, len(ids))
		}
	})
}
