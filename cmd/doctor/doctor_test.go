package doctor

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "scomconnector/api/v1"
	"scomconnector/poller/scom"
	"scomconnector/poller/scom/scomtest"
	"scomconnector/publisher/publishertest"
)

// All is well: every hop that is tried says ok, and what is not tried says so.
func TestAllIsWell(t *testing.T) {
	t.Parallel()
	w := newWard(t, scomtest.Options{}, publishertest.Options{})
	w.group.Raise(scomtest.Alert{Name: "open"})
	w.group.SetState(w.group.Raise(scomtest.Alert{Name: "closed"}), scomtest.Closed, "x")
	r := w.examine()
	if !r.OK || r.Node != "primary" {
		t.Errorf("got %+v", r)
	}
	for _, h := range r.Hops {
		if h.Result == Fail || h.Result == Warning && !strings.Contains(h.where()+h.Seen, "MoogPublicKey") { // the simulators' authority lives a day
			t.Errorf("%s: %s", h.where(), h.Seen)
		}
	}
	w.must(r, "scom scom1 tls", OK, "signed by Contoso CA, valid until")
	w.must(r, "scom scom1 log-on", OK, "as Operator")
	w.must(r, "scom scom1 version", OK, "2022 or later")
	w.must(r, "scom scom1 clock", OK, "in step")
	w.must(r, "scom scom1 poll", OK, "2 alerts changed in the last hour: 1 open, 1 closed")
	w.must(r, "scom scom1 lateness", NotTried, "only a node that polls")
	w.must(r, "scom scom1 close", NotTried, "--probe-write")
	w.must(r, "lam lam1 path", OK, "HTTP 405")
	w.must(r, "lam lam1 event", NotTried, "nothing was posted")
	w.must(r, "lam lam1 size", NotTried, "1 MiB")
	w.must(r, "node primary status", NotTried, "no node runs here")
	w.must(r, "certificate MoogServers[0].MoogPublicKey", Warning, "ca.crt ends on")
}

// Each fault shows at its own hop, says what to do, and what stands behind it is not tried.
func TestEachFaultShowsAtItsHop(t *testing.T) {
	for _, c := range []struct {
		name  string
		scom  scomtest.Options
		lam   publishertest.Options
		fault func(w *ward)
		hop   string
		want  Result
		says  string
		skips string // a hop that is not tried for it
		fine  bool   // the job can run all the same
	}{
		{name: "unknown name", fault: func(w *ward) {
			w.scom[0] = swap(w.scom[0], `"Url": "https://127.0.0.1:`, `"Url": "https://scom1.invalid:`)
		},
			hop: "scom scom1 name", want: Fail, says: "scom1.invalid", skips: "scom scom1 log-on"},
		{name: "nothing listens", fault: func(w *ward) { w.consoles[0].Close() }, hop: "scom scom1 tcp", want: Fail, says: "refuses the connection", skips: "scom scom1 tls"},
		{name: "unknown authority", fault: func(w *ward) { w.scom[0] = swap(w.scom[0], `"CaFile": "ca.crt", `, "") },
			hop: "scom scom1 tls", want: Fail, says: "not signed by an authority that this machine trusts: localhost, signed by Contoso CA", skips: "scom scom1 log-on"},
		{name: "expired", fault: func(w *ward) { w.replaceConsole(publishertest.Leaf{NotBefore: ago(48), NotAfter: ago(24)}) },
			hop: "scom scom1 tls", want: Fail, says: "has ended", skips: "scom scom1 log-on"},
		{name: "wrong name in the certificate", fault: func(w *ward) { w.replaceConsole(publishertest.Leaf{Hosts: []string{"other.contoso.com"}}) },
			hop: "scom scom1 tls", want: Fail, says: `not for "127.0.0.1"`, skips: "scom scom1 poll"},
		{name: "ends soon", fault: func(w *ward) { w.replaceConsole(publishertest.Leaf{NotAfter: ago(-100)}) },
			hop: "scom scom1 tls", want: Warning, says: "4 days left", fine: true},
		{name: "not verified", fault: func(w *ward) { w.scom[0] = swap(w.scom[0], `"CaFile": "ca.crt"`, `"InsecureSkipVerify": true`) },
			hop: "scom scom1 tls", want: Warning, says: "not verified", fine: true},
		{name: "wrong password", fault: func(w *ward) { w.put("scom-password", "wrong") },
			hop: "scom scom1 log-on", want: Fail, says: "The user name or password is incorrect", skips: "scom scom1 poll"},
		{name: "wrong path", fault: func(w *ward) { w.scom[0] = swap(w.scom[0], "/OperationsManager", "/Reports") },
			hop: "scom scom1 log-on", want: Fail, says: "HTTP 404", skips: "scom scom1 poll"},
		{name: "a page", fault: func(w *ward) { w.consoles[0].Set(scomtest.Faults{HTML: true}) },
			hop: "scom scom1 log-on", want: Fail, says: "HTML came instead of JSON", skips: "scom scom1 poll"},
		{name: "503", fault: func(w *ward) { w.consoles[0].Set(scomtest.Faults{Status: 503}) },
			hop: "scom scom1 log-on", want: Fail, says: "HTTP 503", skips: "scom scom1 poll"},
		{name: "may only read", scom: scomtest.Options{Accounts: []scomtest.Account{{User: scomtest.DefaultAccount.User, Password: "simulated", Role: "Read-Only Operator"}}},
			hop: "scom scom1 rights", want: Warning, says: "may read alerts and not close them", fine: true},
		{name: "may not read", fault: func(w *ward) { w.consoles[0].Set(scomtest.Faults{Path: "data/alert", Status: 403}) },
			hop: "scom scom1 poll", want: Fail, says: "may CONTOSO\\svc-moogsoft read alerts?", skips: "scom scom1 clock"},
		{name: "old", scom: scomtest.Options{Version: "1801"}, hop: "scom scom1 version", want: OK, says: "1801, 1807 or 2019 before UR1", fine: true},
		{name: "local times", scom: scomtest.Options{Shape: scomtest.Shape{NoUTC: true, LocalOffset: 2 * time.Hour}},
			fault: func(w *ward) { w.group.Raise(scomtest.Alert{Name: "a"}) }, hop: "scom scom1 poll", want: Fail, says: "its times are not UTC but 2:00 h ahead"},
		{name: "clock off", fault: func(w *ward) { w.consoles[0].Set(scomtest.Faults{ClockOffset: -10 * time.Minute}) },
			hop: "scom scom1 clock", want: Warning, says: "behind this machine's", fine: true},
		{name: "no date", fault: func(w *ward) { w.consoles[0].Set(scomtest.Faults{NoDate: true}) },
			hop: "scom scom1 clock", want: Warning, says: "no Date header", fine: true},
		{name: "broken row", fault: func(w *ward) { w.group.Raise(scomtest.Alert{Name: "a", Broken: scomtest.BadID}) },
			hop: "scom scom1 poll", want: Warning, says: "1 rows cannot be understood", fine: true},
		{name: "two groups", fault: func(w *ward) {
			w.serve("scom2", scomtest.New(scomtest.Options{Name: "FABRIKAM-MG"}), publishertest.Leaf{})
		},
			hop: "scom scom2 log-on", want: Fail, says: "belongs to the management group FABRIKAM-MG", skips: "scom scom2 poll", fine: true},
		{name: "one of two is down", fault: func(w *ward) { w.serve("scom2", w.group, publishertest.Leaf{}).Close() },
			hop: "scom scom2 tcp", want: Fail, says: "refuses", fine: true},

		{name: "lam: nothing listens", fault: func(w *ward) { w.lam.Close() }, hop: "lam lam1 tcp", want: Fail, says: "refuses the connection", skips: "lam lam1 event"},
		{name: "lam: unknown authority", fault: func(w *ward) { w.moog[0] = swap(w.moog[0], `, "MoogPublicKey": "ca.crt"`, "") },
			hop: "lam lam1 tls", want: Fail, says: "not signed by an authority", skips: "lam lam1 path"},
		{name: "lam: log-in page", fault: func(w *ward) { w.lam.Set(publishertest.Faults{HTMLLogin: true}) }, hop: "lam lam1 path", want: Warning, says: "web page", fine: true},
		{name: "lam: 503", fault: func(w *ward) { w.lam.Set(publishertest.Faults{Status: 503}) }, hop: "lam lam1 path", want: Fail, says: "HTTP 503"},
		{name: "lam: log-in page, posted", fault: func(w *ward) { w.opt.ProbeLAM = true; w.lam.Set(publishertest.Faults{HTMLLogin: true}) },
			hop: "lam lam1 event", want: Fail, says: "wrong path", skips: "lam lam1 size"},
		{name: "lam: wrong token", lam: publishertest.Options{Token: "right"}, fault: func(w *ward) { w.opt.ProbeLAM = true },
			hop: "lam lam1 event", want: Fail, says: "HTTP 40", skips: "lam lam1 size"},
		{name: "lam: right token", lam: publishertest.Options{Token: "right"}, fault: func(w *ward) {
			w.opt.ProbeLAM, w.more = true, `"AuthTokenRequired": true, "AuthTokenCode": "plain:right",`
		}, hop: "lam lam1 size", want: OK, says: "takes requests of 1 MiB", fine: true},
		{name: "lam: small limit", fault: func(w *ward) { w.opt.ProbeLAM = true; w.lam.Set(publishertest.Faults{Limit: 100_000}) },
			hop: "lam lam1 size", want: Warning, says: "does not take a request of 1 MiB", fine: true},

		{name: "no such secret", fault: func(w *ward) { os.Remove(filepath.Join(w.dir, "scom-password")) },
			hop: "settings", want: OK, says: "primary is the Primary", skips: "scom"},
		{name: "data folder is gone", fault: func(w *ward) { os.RemoveAll(filepath.Join(w.dir, "data")) }, hop: "disk " + "DIR" + " fdatasync", want: NotTried, says: "the first start makes it", fine: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t, c.scom, c.lam)
			if c.fault != nil {
				c.fault(w)
			}
			r := w.examine()
			w.must(r, strings.Replace(c.hop, "DIR", filepath.Join(w.dir, "data"), 1), c.want, c.says)
			if c.skips != "" {
				w.must(r, c.skips, NotTried, "")
			}
			for _, h := range r.Hops {
				if strings.Contains(h.Seen, "refuses the connection") && strings.Contains(h.Do, "set Url beside ScomAddressHost") != strings.HasPrefix(h.where(), "scom ") {
					t.Errorf("%s: do: %s", h.where(), h.Do)
				}
			}
			if r.OK != c.fine {
				t.Errorf("ok is %v (%s), want %v", r.OK, r.Text, c.fine)
			}
			if t.Failed() {
				for _, h := range r.Hops {
					t.Logf("%s %s: %s; do: %s", h.Result, h.where(), h.Seen, h.Do)
				}
			}
		})
	}
}

func swap(s, from, to string) string {
	if !strings.Contains(s, from) {
		panic(from + " is not in " + s)
	}
	return strings.Replace(s, from, to, 1)
}

func ago(hours int) time.Time { return time.Now().Add(-time.Duration(hours) * time.Hour) }

// replaceConsole puts another one in the first's place, whose certificate is as leaf says.
func (w *ward) replaceConsole(leaf publishertest.Leaf) {
	w.consoles[0].Close()
	w.consoles, w.scom = nil, nil
	w.serve("scom1", w.group, leaf)
}

// A console in Windows mode is logged on to as the settings say, and costs no more bad log-ons than any other.
func TestWindowsMode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, auth, password string
		want                 Result
		says                 string
		bad                  int
	}{
		{"as it should be", "windows", "simulated", OK, "as Operator", 0},
		{"wrong password", "windows", "wrong", Fail, "was refused", 1},
		{"settings say network", "network", "simulated", Fail, "wants Windows authentication", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWard(t, scomtest.Options{LockAfter: 2}, publishertest.Options{})
			w.consoles, w.scom = nil, nil
			for i := range 2 {
				w.serveAs(fmt.Sprintf("scom%d", i+1), w.group, publishertest.Leaf{}, scomtest.ConsoleOptions{NTLM: &scomtest.NTLMOptions{}})
				w.scom[i] = swap(w.scom[i], `"Priority"`, fmt.Sprintf(`"Auth": %q, "Priority"`, c.auth))
			}
			w.put("scom-password", c.password)
			r := w.examine()
			w.must(r, "scom scom1 log-on", c.want, c.says)
			if n := w.group.BadLogons(scomtest.DefaultAccount.User); n != c.bad {
				t.Errorf("%d bad log-ons, want %d", n, c.bad)
			}
			if r.OK != (c.want == OK) {
				t.Errorf("ok is %v: %s", r.OK, r.Text)
			}
		})
	}
}

// Where the console is set to the other way of logging on, that is the cure, and not another password.
func TestTheConsoleIsSetToTheOtherMode(t *testing.T) {
	t.Parallel()
	w := newWard(t, scomtest.Options{}, publishertest.Options{})
	w.scom[0] = swap(w.scom[0], `"Priority"`, `"Auth": "windows", "Priority"`)
	h, _ := hop(w.examine(), "scom scom1 log-on")
	if h.Result != Fail || !strings.Contains(h.Do, "set Auth of that SCOM server to network") || strings.Contains(h.Do, "Password") {
		t.Errorf("got %q %q, do: %q", h.Result, h.Seen, h.Do)
	}
}

// A wrong password costs one bad log-on, however many consoles there are; and none while the cluster leaves the account alone.
func TestABadPasswordIsTriedOnce(t *testing.T) {
	t.Parallel()
	w := newWard(t, scomtest.Options{LockAfter: 2}, publishertest.Options{})
	for i := range 3 {
		w.serve(fmt.Sprintf("scom%d", i+2), w.group, publishertest.Leaf{})
	}
	w.put("scom-password", "wrong")
	r := w.examine()
	if n := w.group.BadLogons(scomtest.DefaultAccount.User); n != 1 {
		t.Errorf("%d bad log-ons, want 1", n)
	}
	w.must(r, "scom scom1 log-on", Fail, "refused")
	for i := range 3 {
		w.must(r, fmt.Sprintf("scom scom%d log-on", i+2), NotTried, "would lock it")
	}
	if r.OK {
		t.Error("it says that the job can run")
	}
}

// Nothing is changed on either side or on the disk, whatever state things are in.
func TestNothingIsChanged(t *testing.T) {
	t.Parallel()
	w := newWard(t, scomtest.Options{}, publishertest.Options{})
	var ids []string
	for range 20 {
		ids = append(ids, w.group.Raise(scomtest.Alert{Name: "a", IsMonitorAlert: true, Unhealthy: true}))
	}
	w.examine() // writes the files
	versions, folder := w.group.Versions(), w.folder()
	w.opt.NodeFile = filepath.Join(w.dir, "node.json")
	logons := w.consoles[0].Counters().Logons
	Run(t.Context(), w.opt)
	if got := w.folder(); got != folder {
		t.Errorf("the folder was\n%s\nand is\n%s", folder, got)
	}
	if got := w.group.Versions(); len(got) != len(versions) {
		t.Errorf("%d versions in SCOM, were %d", len(got), len(versions))
	}
	for _, id := range ids {
		if h := w.group.History(id); len(h) != 1 {
			t.Errorf("history of %s: %v", id, h)
		}
	}
	if c := w.lam.Counts(); c.Events != 0 {
		t.Errorf("the LAM took %d events", c.Events)
	}
	if n := w.consoles[0].Counters().Logons - logons; n != 1 {
		t.Errorf("%d log-ons, want 1", n)
	}
	if n := w.consoles[0].Sessions(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// What the operator asks for by name is written, and nothing else.
func TestTheProbesDoWhatTheySay(t *testing.T) {
	t.Parallel()
	w := newWard(t, scomtest.Options{}, publishertest.Options{})
	one, other := w.group.Raise(scomtest.Alert{Name: "rule"}), w.group.Raise(scomtest.Alert{Name: "other"})
	sick := w.group.Raise(scomtest.Alert{Name: "sick", IsMonitorAlert: true, Unhealthy: true})
	w.opt.ProbeWrite, w.opt.ProbeLAM = one, true
	r := w.examine()
	w.must(r, "scom scom1 close", OK, "is closed")
	w.must(r, "lam lam1 event", OK, "marked as a test")
	if a, _ := w.group.Get(one); a.ResolutionState != scomtest.Closed {
		t.Errorf("state %d", a.ResolutionState)
	}
	if a, _ := w.group.Get(other); a.ResolutionState != 0 {
		t.Errorf("the other one is in state %d", a.ResolutionState)
	}
	events := w.lam.Received()
	if len(events) != 2 {
		t.Fatalf("%d events, want 2", len(events))
	}
	for _, e := range events {
		if !strings.Contains(string(e.Body), "Test by scomconnector doctor on primary") || !strings.Contains(string(e.Body), `"severity":0`) {
			t.Errorf("event %.300s", e.Body)
		}
	}
	w.opt.ProbeWrite = sick
	w.must(w.examine(), "scom scom1 close", Warning, "still unhealthy")
	w.opt.ProbeWrite = "nonsense"
	w.must(w.examine(), "scom scom1 close", Fail, "")
}

// A node without the file takes the settings in use; a plain secret, which no node shows, is said to be missing.
func TestANodeWithoutTheFile(t *testing.T) {
	t.Parallel()
	for password, want := range map[string]Result{"file:scom-password": OK, "plain:(hidden)": NotTried} {
		w := newWard(t, scomtest.Options{}, publishertest.Options{})
		inUse := fmt.Sprintf(`{"ScomServers": [%s], "MoogServers": [%s]}`, swap(w.scom[0], "file:scom-password", password), w.moog[0])
		srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/api/v1/config" {
				json.NewEncoder(rw).Encode(v1.Settings{Version: 7, Text: inUse})
				return
			}
			json.NewEncoder(rw).Encode(v1.Status{Node: "primary", Leader: "secondary", Verdict: v1.Verdict{Level: v1.OK}})
		}))
		w.opt.NodeFile, w.opt.URL = filepath.Join(w.dir, "node.json"), srv.URL
		w.put("node.json", w.node)
		if err := os.Mkdir(filepath.Join(w.dir, "data", "raft"), 0o700); err != nil { // it has been a member before
			t.Fatal(err)
		}
		w.put("data/raft/raft.db", "")
		r := Run(t.Context(), w.opt)
		w.must(r, "node primary settings", want, "")
		if h, found := hop(r, "scom scom1 log-on"); found != (want == OK) || found && h.Result != OK {
			t.Errorf("%s: log-on %+v, found: %v", password, h, found)
		}
		srv.Close()
	}
}

// What only the cluster knows is asked of the running node.
func TestTheRunningNodeIsAsked(t *testing.T) {
	t.Parallel()
	well := v1.Status{Node: "primary", Leader: "primary", Verdict: v1.Verdict{Level: v1.OK, Text: "Delivering."}, Pipelines: []v1.Pipeline{{LatenessSeconds: 3}}, Time: time.Now()}
	for _, c := range []struct {
		name   string
		change func(s *v1.Status)
		where  string
		want   Result
		says   string
	}{
		{"lateness", func(s *v1.Status) {}, "scom scom1 lateness", OK, "within 3s"},
		{"great lateness", func(s *v1.Status) { s.Pipelines[0].LatenessSeconds = 50 }, "scom scom1 lateness", Warning, "up to 50s"},
		{"stands by", func(s *v1.Status) { s.Leader = "secondary" }, "scom scom1 lateness", NotTried, "secondary does"},
		{"stopped", func(s *v1.Status) { s.Verdict = v1.Verdict{Level: v1.Stopped, Text: "NOT DELIVERING", Do: "this"} }, "node primary status", Fail, "NOT DELIVERING"},
		{"another node", func(s *v1.Status) { s.Node = "secondary" }, "node primary status", Warning, "is the node secondary"},
		{"the file differs", func(s *v1.Status) { s.Config.DiffersFromFile = true }, "scom in-use name", OK, ""},
		{"the file differs, and it is said", func(s *v1.Status) { s.Config.DiffersFromFile = true }, "node primary settings", Warning, "version 7 is in use"},
		{"the file is the settings in use", func(s *v1.Status) {}, "scom scom1 name", OK, ""},
		{"the verdict says that the account is left alone", func(s *v1.Status) {
			s.Verdict = v1.Verdict{Level: v1.Stopped, Text: "SCOM refuses the log-on of x at y (z). No node tries before 12:00:00 UTC, " + scom.LeftAlone + "."}
		}, "scom scom1 log-on", NotTried, "the running cluster leaves the account alone"},
		{"the account is left alone", func(s *v1.Status) {
			s.SCOM = []v1.Console{{State: "failing", LastError: `log-on of CONTOSO\svc was refused: the next try is at 12:00:00 UTC, so that the account is not locked`}}
		}, "scom scom1 log-on", NotTried, "--force"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWard(t, scomtest.Options{}, publishertest.Options{})
			s := well
			s.Pipelines = []v1.Pipeline{well.Pipelines[0]}
			c.change(&s)
			inUse := fmt.Sprintf(`{"ScomServers": [%s], "MoogServers": [%s]}`, swap(w.scom[0], `"scom1"`, `"in-use"`), w.moog[0])
			srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/api/v1/config" {
					json.NewEncoder(rw).Encode(v1.Settings{Version: 7, Text: inUse})
					return
				}
				json.NewEncoder(rw).Encode(s)
			}))
			defer srv.Close()
			w.opt.URL = srv.URL
			r := w.examine()
			w.must(r, c.where, c.want, c.says)
			if c.name == "the account is left alone" {
				if n := w.consoles[0].Counters().Requests["authenticate"]; n != 0 {
					t.Errorf("%d log-ons, want none", n)
				}
				w.opt.Force = true
				w.must(w.examine(), "scom scom1 log-on", OK, "")
			}
		})
	}
}
