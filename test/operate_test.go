package test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"scomconnector/api/client"
	v1 "scomconnector/api/v1"
	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
)

// operator is somebody logged on at the node's machine.
func (w *world) operator(id string) *client.Client {
	c := client.New("http://"+host(id)+":8085", "")
	c.HTTP = &http.Client{Transport: &http.Transport{DialContext: w.net.Dialer(host(id)), DisableKeepAlives: true}}
	return c
}

// settingsOf reads the settings in use as the operator of a node does.
func (w *world) settingsOf(id string) v1.Settings {
	w.t.Helper()
	w.await(id+" has settings", 10*time.Second, func() bool { return w.status(id).Config.Version > 0 })
	s, err := w.operator(id).Settings(context.Background(), 0)
	if err != nil {
		w.t.Fatalf("settings by %s: %v", id, err)
	}
	return s
}

// change edits the settings in use, through the node, and returns the new version.
func (w *world) change(id string, edit ...string) uint64 {
	w.t.Helper()
	s := w.settingsOf(id)
	text := strings.NewReplacer(edit...).Replace(s.Text)
	if text == s.Text {
		w.t.Fatalf("the edit %q changes nothing in %s", edit, s.Text)
	}
	applied, err := w.operator(id).ApplySettings(context.Background(), []byte(text), s.Version, 0)
	if err != nil {
		w.t.Fatalf("apply by %s: %v", id, err)
	}
	return applied.Version
}

// arrived counts the events whose type contains the text, at one LAM.
func arrived(l *publishertest.LAM, text string) int {
	n := 0
	for _, e := range l.Received() {
		if strings.Contains(string(e.Body), `"type":"`+text) {
			n++
		}
	}
	return n
}

func (w *world) raiseNamed(name string, n int) {
	for range n {
		w.group.Raise(scomtest.Alert{Name: name, Severity: scomtest.Error, PrincipalName: "srv.contoso.com"})
	}
}

// A change given to a follower reaches the leader while it delivers: what was read under the old
// settings and what is read under the new ones arrives, once.
func TestSettingsChangeUnderLoad(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick + `"MaxBatchEvents": 20,`}, func(w *world) {
		w.await("the Primary leads", 10*time.Second, func() bool { return w.leader() == "primary" })
		w.raise(20)
		w.awaitDelivered(15 * time.Second)
		logons := w.consoles[0].Counters().Logons
		defer w.late(w.lams[0], "late:80", 700*time.Millisecond)() // a batch is in flight most of the time
		w.change("primary", "http://lam1:80", "http://late:80")
		for i := range 12 {
			w.raise(60)
			w.pass(1900 * time.Millisecond)
			to := fmt.Sprintf(`"MaxBatchEvents": %d`, 21+i)
			if got, want := w.change([]string{"secondary", "witness", "primary"}[i%3], fmt.Sprintf(`"MaxBatchEvents": %d`, 20+i), to), uint64(i+3); got != want {
				t.Errorf("change %d made version %d, want %d", i, got, want)
			}
		}
		w.awaitDelivered(3 * time.Minute)
		if d := w.duplicates(); d != 0 {
			t.Errorf("%d events arrived twice over 12 changes, want none", d)
		}
		if got := w.consoles[0].Counters().Logons - logons; got != 0 {
			t.Errorf("%d log-ons for changes that have nothing to do with SCOM, want none", got)
		}
		for _, id := range w.members {
			w.await(id+" says version 14", time.Second, func() bool { return w.status(id).Config.Version == 14 })
		}
	})
}

// A filter applied on a follower decides from then on, and outlives the leader that took it up.
func TestFilterAppliedLive(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick + `"Filter": "",`}, func(w *world) {
		w.await("the Primary leads", 10*time.Second, func() bool { return w.leader() == "primary" })
		w.raiseNamed("noise", 3)
		w.await("all arrive", 15*time.Second, func() bool { return arrived(w.lams[0], "noise") == 3 })
		w.change("secondary", `"Filter": ""`, `"Filter": "name != 'noise'"`)
		w.pass(time.Second)
		w.raiseNamed("noise", 3)
		w.raiseNamed("signal", 3)
		w.await("the others arrive", 15*time.Second, func() bool { return arrived(w.lams[0], "signal") == 3 })
		w.awaitVoters()
		w.stop("primary")
		w.await("the Secondary leads", 5*time.Second, func() bool { return w.leader() == "secondary" })
		w.raiseNamed("noise", 3)
		w.raiseNamed("signal", 3)
		w.await("the others arrive", 15*time.Second, func() bool { return arrived(w.lams[0], "signal") == 6 })
		if n := arrived(w.lams[0], "noise"); n != 3 {
			t.Errorf("%d alerts that the filter holds back arrived, want the 3 from before", n)
		}
		if s := w.settingsOf("secondary"); s.Version != 2 || !strings.Contains(s.Author, "somebody on this machine, from 127.0.0.2") {
			t.Errorf("version %d by %q, want 2 by whoever sat at the Secondary", s.Version, s.Author)
		}
		if !strings.Contains(w.log.String(), "version 2 in place of 1, changed: Filter") {
			t.Error("the audit does not say what was changed")
		}
		w.start("primary")
		w.awaitVoters()
	})
}

// A second Moogsoft begins with what is open; the first goes on undisturbed. Taken out again, it gets nothing more.
func TestSecondDestinationAppliedLive(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.await("the Primary leads", 10*time.Second, func() bool { return w.leader() == "primary" })
		w.raise(30)
		w.awaitDelivered(15 * time.Second)
		east := publishertest.New(publishertest.Options{})
		defer east.Close()
		ln, err := w.net.Listen("east:80")
		if err != nil {
			t.Fatal(err)
		}
		east.Serve(ln)
		const first = `"MoogAddressDisplay": "lam1"}`
		const second = first + `, {"MoogUrl": "http://east:80/events/scom", "Destination": "east"}`
		w.change("witness", first, second)
		w.raise(10)
		w.await("the new one has all", 20*time.Second, func() bool { return east.IDs() == 40 })
		w.awaitDelivered(15 * time.Second)
		s := w.status("primary")
		if len(s.Pipelines) != 2 || s.Totals.Processed != 80 || s.Verdict.Level != v1.OK {
			t.Errorf("%d pipelines, total %d, %s: %s; want 2, 80, ok", len(s.Pipelines), s.Totals.Processed, s.Verdict.Level, s.Verdict.Text)
		}
		w.change("primary", second, first)
		w.pass(2 * time.Second)
		w.raise(10)
		w.awaitDelivered(15 * time.Second)
		if n := east.IDs(); n != 40 {
			t.Errorf("a destination that was taken out has %d alerts, want 40", n)
		}
		if d := w.duplicates() + east.Counts().Duplicates; d != 0 {
			t.Errorf("%d events arrived twice, want none", d)
		}
	})
}

// late answers for the LAM some time after it has taken the events, until end is called.
func (w *world) late(l *publishertest.LAM, address string, d time.Duration) (end func()) {
	w.t.Helper()
	ln, err := w.net.Listen(address)
	if err != nil {
		w.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		l.ServeHTTP(rec, r.WithContext(context.WithoutCancel(r.Context())))
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			return
		}
		out.WriteHeader(rec.Code)
		out.Write(rec.Body.Bytes())
	})}
	done := make(chan struct{})
	go func() {
		server.Serve(ln)
		close(done)
	}()
	return func() {
		server.Close()
		<-done
	}
}

// A batch that a LAM has taken and not yet answered for is waited for: given up it would come twice.
func TestSettingsChangeWaitsForTheBatchInFlight(t *testing.T) {
	inWorld(t, site{settings: quick}, func(w *world) {
		w.raise(5)
		w.awaitDelivered(15 * time.Second)
		defer w.late(w.lams[0], "late:80", 20*time.Second)()
		w.change("primary", "http://lam1:80", "http://late:80")
		w.raise(5)
		w.await("the LAM has them", 10*time.Second, func() bool { return w.lams[0].IDs() == 10 })
		w.change("primary", `"LowerTimeoutBound": 2`, `"LowerTimeoutBound": 3`)
		w.raise(5)
		w.awaitDelivered(time.Minute)
		w.pass(time.Minute)
		w.checkWell(0)
		if strings.Contains(w.log.String(), "may be sent again") {
			t.Error("the batch in flight was given up")
		}
	})
}

// Who changes an old version is told so; who repeats himself is told that it is done.
func TestStaleAndRepeatedSettings(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick + `"Filter": "",`}, func(w *world) {
		w.await("the Primary leads", 10*time.Second, func() bool { return w.leader() == "primary" })
		ctx := context.Background()
		old := w.settingsOf("secondary")
		w.change("primary", `"Filter": ""`, `"Filter": "priority != 'Low'"`)
		_, err := w.operator("secondary").ApplySettings(ctx, []byte(strings.Replace(old.Text, `"Filter": ""`, `"Filter": "false"`, 1)), old.Version, 0)
		if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != 412 || !strings.Contains(e.Message, "version 2 is in use, not 1") {
			t.Errorf("a change of version 1: got %v, want 412 that names version 2", err)
		}
		same := w.settingsOf("witness")
		for _, expect := range []uint64{2, 1} { // 1: the answer of the first try was lost
			if v, err := w.operator("witness").ApplySettings(ctx, []byte(same.Text), expect, 0); v.Version != 2 || err != nil {
				t.Errorf("the text in use again, over %d: got version %d, %v, want 2", expect, v.Version, err)
			}
		}
		// Back to what was: also the secret that is only shown hidden.
		v, err := w.operator("secondary").ApplySettings(ctx, []byte(old.Text), 2, 1)
		if err != nil || v.Version != 3 || w.settingsOf("primary").Text != old.Text {
			t.Errorf("roll-back: version %d, %v, text %s", v.Version, err, w.settingsOf("primary").Text)
		}
		w.raise(5)
		w.awaitDelivered(15 * time.Second)
		versions, err := w.operator("witness").SettingsVersions(ctx)
		if err != nil || len(versions) != 3 || versions[0].Version != 3 || versions[2].Author != "file of primary" {
			t.Errorf("versions %+v, %v", versions, err)
		}
		if _, err := w.operator("primary").Settings(ctx, 9); err == nil || !strings.Contains(err.Error(), "versions 1 to 3 are kept") {
			t.Errorf("version 9: %v", err)
		}
	})
}

// Settings that cannot work are refused with all that is wrong, by a node with secrets and by a witness; those in use stay.
func TestBadSettingsAreRefused(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.await("the Primary leads", 10*time.Second, func() bool { return w.leader() == "primary" })
		w.raise(5)
		w.awaitDelivered(15 * time.Second)
		s := w.settingsOf("primary")
		for _, id := range w.members {
			for name, c := range map[string]struct {
				edit []string
				says []string
			}{
				"three faults":     {[]string{`"ConnectorName": "test"`, "\"Filter\": \"nam == 1\",\n\"AlertPollCycleTime\": 0,\n\"Conector\": 1"}, []string{"json:1: Filter", `"name"`, "json:2: AlertPollCycleTime", "accepted: 1 to 3600", "json:3: Conector: unknown key"}},
				"no JSON":          {[]string{`"ConnectorName": "test"`, `"ConnectorName": `}, []string{"not JSON"}},
				"a bare password":  {[]string{`"plain:(hidden)"`, `"hunter2"`}, []string{"ScomServers[0].Password", "env:NAME"}},
				"an account moves": {[]string{`"svc-moogsoft"`, `"svc-other"`}, []string{"ScomServers[0].Password", "shown in place of a secret"}},
			} {
				_, err := w.operator(id).ApplySettings(context.Background(), []byte(strings.NewReplacer(c.edit...).Replace(s.Text)), s.Version, 0)
				e, ok := errors.AsType[*client.Error](err)
				if !ok || e.Code != 422 || e.Hint == "" || strings.Contains(e.Message, "hunter2") {
					t.Errorf("%s at %s: got %v", name, id, err)
					continue
				}
				for _, want := range c.says {
					if !strings.Contains(e.Message, want) {
						t.Errorf("%s at %s: %q is missing in\n%s", name, id, want, e.Message)
					}
				}
			}
		}
		// What a text points to is looked at where there are secrets.
		text := strings.Replace(s.Text, `"plain:(hidden)"`, `"env:SC_TEST_NOT_SET"`, 1)
		if _, err := w.operator("secondary").ApplySettings(context.Background(), []byte(text), s.Version, 0); err == nil || !strings.Contains(err.Error(), "SC_TEST_NOT_SET is not set") {
			t.Errorf("a secret that is not there: %v", err)
		}
		w.raise(5)
		w.awaitDelivered(15 * time.Second)
		if v := w.status("primary").Config.Version; v != 1 {
			t.Errorf("version %d is in use, want 1", v)
		}
	})
}

// No page and nobody elsewhere can change anything where no token is set.
func TestStrangersChangeNothing(t *testing.T) {
	inWorld(t, site{settings: quick}, func(w *world) {
		w.await("it leads", 10*time.Second, func() bool { return w.leader() == "primary" })
		w.await("it has settings", 5*time.Second, func() bool { return w.status("primary").Config.Version == 1 })
		c := w.operator("primary")
		c.HTTP = &http.Client{Transport: &http.Transport{DialContext: w.net.Dialer("192.0.2.9"), DisableKeepAlives: true}}
		_, err := c.ApplySettings(context.Background(), []byte("{}"), 1, 0)
		if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != 403 || !strings.Contains(e.Hint, "OperatorTokenFile") {
			t.Errorf("got %v, want 403 and the way out", err)
		}
		if !strings.Contains(w.log.String(), "operator write refused: from=192.0.2.9:0") {
			t.Error("the attempt is not in the log")
		}
	})
}

// Without a leader a change is refused, not forgotten on the way.
func TestSettingsWithoutALeader(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick}, func(w *world) {
		w.await("the Primary leads", 10*time.Second, func() bool { return w.leader() == "primary" })
		w.awaitVoters()
		s := w.settingsOf("witness")
		w.stop("secondary")
		w.stop("primary")
		_, err := w.operator("witness").ApplySettings(context.Background(), []byte(strings.Replace(s.Text, `"test"`, `"other"`, 1)), s.Version, 0)
		if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != 503 || !strings.Contains(e.Message, "no leader") {
			t.Errorf("got %v, want 503 for want of a leader", err)
		}
		w.start("primary")
		w.await("the Primary leads", 20*time.Second, func() bool { return w.leader() == "primary" })
		if v := w.status("primary").Config.Version; v != 1 {
			t.Errorf("version %d, want 1", v)
		}
	})
}

// What a LAM refused for good is shown with its payload on any node, also by the next leader, and goes when it is removed.
func TestParkedEntriesAreShownAndRemoved(t *testing.T) {
	inWorld(t, site{nodes: 3, settings: quick + `"ReconcileMinutes": 5,`}, func(w *world) {
		w.await("the Primary leads", 10*time.Second, func() bool { return w.leader() == "primary" })
		w.lams[0].Set(publishertest.Faults{RefuseIf: func(e []byte) bool { return strings.Contains(string(e), "poison") }})
		id := w.group.Raise(scomtest.Alert{Name: "poison", Severity: scomtest.Error, PrincipalName: "srv.contoso.com"})
		w.await("it is parked, once the LAM has taken others", 10*time.Minute, func() bool {
			w.raise(1)
			w.pass(5 * time.Second)
			return w.status("primary").Parked.Count == 1
		})
		w.awaitVoters()
		w.stop("primary")
		w.await("the Secondary leads", 5*time.Second, func() bool { return w.leader() == "secondary" })
		ctx := context.Background()
		var entry v1.ParkedEntry
		for _, node := range []string{"secondary", "witness"} {
			list, err := w.operator(node).Parked(ctx)
			if err != nil || len(list) != 1 || list[0].Alert != strings.ToLower(id) || list[0].Status != 400 {
				t.Fatalf("%s lists %+v, %v; want the alert and the LAM's 400", node, list, err)
			}
			entry = list[0]
			p, err := w.operator(node).ParkedPayload(ctx, entry.Pipeline, entry.Key)
			if err != nil || p.Entry != entry || !strings.HasPrefix(p.Payload, "{") || !strings.Contains(p.Payload, `"type":"poison"`) {
				t.Errorf("%s shows %+v, %v; want the event", node, p, err)
			}
		}
		if err := w.operator("witness").RemoveParked(ctx, entry.Pipeline, entry.Key); err != nil {
			t.Fatal(err)
		}
		for _, node := range []string{"witness", "secondary"} {
			w.await(node+" shows none", time.Second, func() bool { return w.status(node).Parked.Count == 0 })
		}
		err := w.operator("secondary").RemoveParked(ctx, entry.Pipeline, entry.Key)
		if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != 404 {
			t.Errorf("removed twice: got %v, want 404", err)
		}
		if s := w.status("secondary"); s.Totals.Parked != 1 || s.Verdict.Level != v1.OK {
			t.Errorf("ever parked %d, %s; want 1 and ok", s.Totals.Parked, s.Verdict.Text)
		}
		w.pass(12 * time.Minute) // a reconcile looks at all open alerts
		if n := arrived(w.lams[0], "poison") + w.status("secondary").Parked.Count; n != 0 {
			t.Errorf("the removed one came back")
		}
		if !strings.Contains(w.log.String(), "parked: alerts/default/"+entry.Key+" removed") {
			t.Error("the removal is not in the audit")
		}
	})
}

// The page names an expression that fails on alerts, and says of each server once that its address is not encrypted.
func TestWarningsOfSettings(t *testing.T) {
	inWorld(t, site{settings: quick + `"Mapping": {"class": "string(int(description))"},`}, func(w *world) {
		w.raise(3)
		w.awaitDelivered(15 * time.Second)
		warnings := w.status("primary").Warnings
		all := strings.Join(warnings, "\n")
		if strings.Count(all, "scom1") != 1 || strings.Count(all, "lam1") != 1 {
			t.Errorf("want one line for each server, got\n%s", all)
		}
		if !strings.Contains(all, "alerts/default: 3 expressions failed") || !strings.Contains(all, "Mapping.class") {
			t.Errorf("the failing expression is not named:\n%s", all)
		}
		w.change("primary", "string(int(description))", "string(priority)")
		w.raise(3)
		w.awaitDelivered(15 * time.Second)
		if all := strings.Join(w.status("primary").Warnings, "\n"); strings.Contains(all, "expression") || !strings.Contains(all, "config diff") {
			t.Errorf("after the change: want no failing expression, and that the file differs now:\n%s", all)
		}
	})
}
