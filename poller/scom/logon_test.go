package scom

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/poller/alert"
	"scomconnector/poller/scom/scomtest"
)

func TestLostSessionIsRenewedWithinThePoll(t *testing.T) {
	for _, o := range []scomtest.ConsoleOptions{{}, {ExpiredStatus: 401}, {ExpiredStatus: 403}, {ExpiredStatus: 500}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, scomtest.Options{Version: "2019UR1"}, []scomtest.ConsoleOptions{o}, nil)
			w.group.Populate(10, time.Hour)
			for i := range 3 {
				if rows, _ := w.mustPoll(); len(rows) != 10 {
					t.Errorf("status %d: got %d rows", o.ExpiredStatus, len(rows))
				}
				if got := w.consoles[0].Counters(); got.Logons != i+1 || got.BadLogons != 0 {
					t.Errorf("status %d: got %d log-ons and %d bad ones after %d polls", o.ExpiredStatus, got.Logons, got.BadLogons, i+1)
				}
				w.consoles[0].DropSessions()
			}
		})
	}
}

func TestSessionThatIsNeverGoodEnoughFailsAfterOneNewLogOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, nil)
		w.consoles[0].Set(scomtest.Faults{Status: 403, Path: "data/alert"})
		f := w.mustFail(alert.FaultAuth)
		if got := w.consoles[0].Counters(); got.Logons != 2 || got.Requests["data/alert"] != 2 {
			t.Errorf("got %d log-ons, %v", got.Logons, got.Requests)
		}
		if !strings.Contains(f.Error(), "may CONTOSO\\svc-moogsoft read alerts?") || !f.All {
			t.Errorf("got %+v: %v", f, f)
		}
		w.consoles[0].Heal()
		w.mustPoll()
	})
}

func TestWrongPasswordCostsOneBadLogOnThenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{LockAfter: 5}, []scomtest.ConsoleOptions{{}, {}}, nil)
		w.group.SetPassword(`CONTOSO\svc-moogsoft`, "changed")
		bad := func() int { return w.group.BadLogons(`CONTOSO\svc-moogsoft`) }
		start := time.Now()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { w.client.Poll(t.Context(), alert.Query{}, func(alert.Row) error { return nil }) })
		}
		wg.Wait()
		for time.Since(start) < 5*time.Minute {
			f := w.mustFail(alert.FaultAuth)
			if left := 5*time.Minute - time.Since(start); !f.All || f.RetryAfter != left {
				t.Fatalf("got %+v, want one for all consoles to retry after %v", f, left)
			}
			if !strings.Contains(f.Error(), `log-on of CONTOSO\svc-moogsoft was refused (HTTP 401 Unauthorized: The user name or password is incorrect.)`) {
				t.Fatalf("got %v", f)
			}
			time.Sleep(2 * time.Second)
		}
		if got := bad(); got != 1 {
			t.Fatalf("%d bad log-ons within 5 minutes at two consoles, want 1", got)
		}
		for i, pause := range []time.Duration{35 * time.Minute, 65 * time.Minute, 65 * time.Minute} {
			if f := w.mustFail(alert.FaultAuth); f.RetryAfter != pause || bad() != i+2 {
				t.Fatalf("got %+v and %d bad log-ons, want a pause of %v after %d", f, bad(), pause, i+2)
			}
			time.Sleep(pause)
		}
		w.group.SetPassword(`CONTOSO\svc-moogsoft`, "simulated")
		w.mustPoll()
		if strings.Contains(w.log.String(), "simulated") {
			t.Errorf("the log shows the password:\n%s", w.log)
		}
		if got := strings.Count(w.log.String(), "log-on refused, the account is left alone"); got != 4 {
			t.Errorf("%d of them in the log, want one for each refusal:\n%s", got, w.log)
		}
	})
}

func TestAnotherAccountIsUsedWhileOneIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, []scomtest.ConsoleOptions{{}, {}, {}}, func(c *Config) {
			c.Consoles[0].Password = "wrong"
			c.Consoles[1].Password = "wrong"
		})
		f := w.mustFail(alert.FaultAuth)
		if f.All || f.RetryAfter != 0 || w.inUse() != "c3" {
			t.Errorf("got %+v and %s in use, want to go on with c3 at once", f, w.inUse())
		}
		failed := 0
		for range 20 { // the first console is tried once more when its account's pause is over
			if _, _, err := w.poll(alert.Query{}); err != nil {
				failed++
			}
			time.Sleep(30 * time.Second)
		}
		if got := w.group.BadLogons(`CONTOSO\svc-moogsoft`); got > 2 || failed > 1 {
			t.Errorf("%d bad log-ons and %d failed polls in 10 minutes", got, failed)
		}
	})
}

func TestConcurrentPollsShareOneLogOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, nil)
		w.consoles[0].Set(scomtest.Faults{Latency: time.Second})
		for range 2 {
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					if _, err := w.client.Poll(t.Context(), alert.Query{}, func(alert.Row) error { return nil }); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			w.consoles[0].DropSessions()
		}
		if got := w.consoles[0].Counters().Logons; got != 2 {
			t.Errorf("%d log-ons, want one for the start and one for the lost session", got)
		}
	})
}

func TestManagementGroup(t *testing.T) {
	for version, want := range map[string]string{"1801": "", "2019UR1": "", "2022": "CONTOSO-MG"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, scomtest.Options{Version: version}, single, nil)
			if got, err := w.client.ManagementGroup(t.Context()); err != nil || got != want {
				t.Errorf("%s: got %q, %v, want %q", version, got, err, want)
			}
		})
	}
}

// The name becomes part of every signature: a passing fault must not make it "".
func TestManagementGroupIsNotDecidedByAFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, nil)
		w.consoles[0].Set(scomtest.Faults{Status: 503, Path: "managementgroup"})
		if got, err := w.client.ManagementGroup(t.Context()); err == nil {
			t.Errorf("got %q without an error", got)
		}
		w.mustPoll() // alerts are read all the same
		w.consoles[0].Heal()
		if got, err := w.client.ManagementGroup(t.Context()); err != nil || got != "CONTOSO-MG" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// Nor may one refusal, which an application that starts may give as well.
func TestOneRefusalIsNotAManagementGroupWithoutAName(t *testing.T) {
	for _, f := range []scomtest.Faults{{Status: 400, Path: "managementgroup"}, {Status: 403, Path: "managementgroup"}, {Status: 403}, {Status: 400}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, scomtest.Options{}, single, nil)
			w.mustPoll()
			w.client.consoles[0].group = "" // as if it had not been told at log-on
			w.consoles[0].Set(f)
			for range 5 {
				if got, err := w.client.ManagementGroup(t.Context()); err == nil {
					t.Errorf("%+v: got %q without an error", f, got)
				}
				time.Sleep(5 * time.Second)
			}
			w.consoles[0].Heal()
			time.Sleep(time.Hour) // an account may have been left alone
			if got, err := w.client.ManagementGroup(t.Context()); err != nil || got != "CONTOSO-MG" {
				t.Errorf("%+v: got %q, %v", f, got, err)
			}
		})
	}
}

// Refused on and on, by sessions that read alerts, on two log-ons: that account may not see it.
func TestManagementGroupThatIsNeverShown(t *testing.T) {
	for _, status := range []int{400, 403} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, scomtest.Options{}, single, nil)
			w.consoles[0].Set(scomtest.Faults{Status: status, Path: "managementgroup"})
			start := time.Now()
			got, err := w.client.ManagementGroup(t.Context())
			for err != nil && time.Since(start) < time.Hour {
				if !strings.Contains(err.Error(), "does not tell its management group's name") {
					t.Errorf("got %v", err)
				}
				time.Sleep(5 * time.Second)
				got, err = w.client.ManagementGroup(t.Context())
			}
			if took := time.Since(start); got != "" || err != nil || took < 30*time.Second || took > time.Minute {
				t.Errorf("%d: got %q, %v after %v", status, got, err, took)
			}
			if n := w.consoles[0].Counters().Logons; n != 2 {
				t.Errorf("%d: %d log-ons, want 2", status, n)
			}
		})
	}
}

// Refusals by sessions that may not read alerts either, or with another fault in between, do not count.
func TestRefusalsInDoubtDoNotAddUp(t *testing.T) {
	for _, between := range []scomtest.Faults{{Status: 403}, {Status: 503, Path: "managementgroup"}, {Status: 500, Path: "data/"}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, scomtest.Options{}, single, nil)
			w.mustPoll()
			w.client.consoles[0].group = ""
			for _, f := range []scomtest.Faults{{Status: 403, Path: "managementgroup"}, between, {Status: 403, Path: "managementgroup"}} {
				w.consoles[0].Set(f)
				if got, err := w.client.ManagementGroup(t.Context()); err == nil {
					t.Errorf("%+v: got %q without an error", f, got)
				}
				if f == between {
					w.consoles[0].Heal()
					time.Sleep(time.Hour) // an account may have been left alone
					w.mustPoll()
					w.client.consoles[0].group = ""
				}
				time.Sleep(time.Minute)
			}
		})
	}
}

func TestConsoleOfAnotherManagementGroupIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, func(c *Config) {
			other := c.Consoles[0]
			other.Name, other.URL, other.Priority = "c2", "http://c2:80/OperationsManager", 2
			c.Consoles = append(c.Consoles, other)
		})
		w.serve("c2", scomtest.New(scomtest.Options{Name: "FABRIKAM-MG"}).Console(scomtest.ConsoleOptions{}))
		w.mustPoll()
		w.consoles[0].Set(scomtest.Faults{Hang: true})
		w.mustFail(alert.FaultTimeout)
		f := w.mustFail(alert.FaultTransport)
		if !strings.Contains(f.Error(), "belongs to the management group FABRIKAM-MG, and the other consoles to CONTOSO-MG") {
			t.Errorf("got %v", f)
		}
		if got := w.consoles[1].Counters().Requests["data/alert"]; got != 0 {
			t.Errorf("it was asked %d times", got)
		}
	})
}

func TestPingNeverLogsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, []scomtest.ConsoleOptions{{}, {Mode: "Windows"}}, nil)
		for i := range w.consoles {
			if err := w.client.Ping(t.Context(), i); err != nil {
				t.Error(err)
			}
		}
		for i, c := range w.consoles {
			if n := c.Counters(); n.Logons+n.BadLogons != 0 || len(n.Requests) != 1 || n.Requests["authenticationmode"] != 1 {
				t.Errorf("console %d saw %+v", i, n)
			}
		}
		status := w.client.Status()
		if strings.Contains(status[0].Warning, "Windows") || !strings.Contains(status[1].Warning, "Windows authentication") || !strings.Contains(status[0].Warning, "use https") {
			t.Errorf("warnings are %q and %q", status[0].Warning, status[1].Warning)
		}
		for _, f := range []scomtest.Faults{{Hang: true}, {Status: 503}, {HTML: true}, {RedirectToLogin: true}, {Down: true}} {
			w.consoles[0].Set(f)
			if err := w.client.Ping(t.Context(), 0); err == nil {
				t.Errorf("%+v: got no error", f)
			}
		}
	})
}

func TestErrorBesideStatus200LeadsToANewLogOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, nil, func(c *Config) {
			c.Consoles = []Console{{URL: "http://odd:80/om", User: "u", Password: "p"}}
		})
		logons := 0
		serveFunc(t, w, "odd", func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/om/authenticate":
				logons++
				http.SetCookie(w, &http.Cookie{Name: "SCOMSessionId", Value: fmt.Sprint(logons)})
				fmt.Fprint(w, `{"name":"u"}`)
			case "/om/data/alert":
				if c, err := r.Cookie("SCOMSessionId"); err != nil || c.Value == "1" {
					fmt.Fprint(w, `{"errorMessage":"Session timed out"}`)
					return
				}
				fmt.Fprint(w, `{"rows":[]}`)
			default:
				http.NotFound(w, r)
			}
		})
		if f := w.mustFail(alert.FaultTransport); !strings.Contains(f.Error(), "SCOM says: Session timed out") {
			t.Errorf("got %v", f)
		}
		w.mustPoll()
		if logons != 2 {
			t.Errorf("%d log-ons, want 2", logons)
		}
	})
}

// One console may refuse the log-on for a reason of its own: the account they share is left alone,
// but the next try must be another console's.
func TestTheNextTryAfterARefusalIsAnotherConsoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, []scomtest.ConsoleOptions{{}, {}}, nil)
		w.consoles[0].Set(scomtest.Faults{WrongPassword: true})
		f := w.mustFail(alert.FaultAuth)
		time.Sleep(f.RetryAfter)
		if _, answer := w.mustPoll(); answer.Console != "c2" || w.group.BadLogons(`CONTOSO\svc-moogsoft`) != 1 {
			t.Errorf("%s answered after %d bad log-ons", answer.Console, w.group.BadLogons(`CONTOSO\svc-moogsoft`))
		}
	})
}

// IIS asks for Windows authentication before anybody looks at the password: no bad log-on, no pause.
func TestWindowsAuthenticationIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, single, func(c *Config) {
			first := c.Consoles[0]
			first.Name, first.URL, first.Priority = "iis", "http://iis:80/OperationsManager", 0
			c.Consoles = append(c.Consoles, first)
		})
		serveFunc(t, w, "iis", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Add("WWW-Authenticate", "Negotiate")
			w.Header().Add("WWW-Authenticate", "NTLM")
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusUnauthorized)
		})
		if f := w.mustFail(alert.FaultAuth); f.All || !strings.Contains(f.Error(), "wants Windows authentication") {
			t.Errorf("got %+v: %v", f, f)
		}
		if _, answer := w.mustPoll(); answer.Console != "c1" {
			t.Errorf("%s answered", answer.Console)
		}
	})
}

// countingBook counts how log-ons end.
type countingBook struct {
	noBook
	mu   sync.Mutex // guards ends
	ends []string
}

func (b *countingBook) end(how string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ends = append(b.ends, how)
}

func (b *countingBook) Begin(context.Context, string, Secret, time.Time, time.Duration) (Refused, error) {
	b.end("begun")
	return Refused{}, nil
}

func (b *countingBook) Refuse(context.Context, string, Secret, Refused) error {
	b.end("refused")
	return nil
}
func (b *countingBook) Accept(context.Context, string, Secret)   { b.end("accepted") }
func (b *countingBook) Unjudged(context.Context, string, Secret) { b.end("unjudged") }

// An answer that shows that nobody has looked at the password is an outcome as well; what may hide a verdict is none.
func TestEachOutcomeOfALogOnIsNoted(t *testing.T) {
	for what, c := range map[string]struct {
		answer func(w http.ResponseWriter)
		want   string
	}{
		"404":        {func(w http.ResponseWriter) { http.Error(w, "", http.StatusNotFound) }, "begun unjudged"},
		"405":        {func(w http.ResponseWriter) { http.Error(w, "", http.StatusMethodNotAllowed) }, "begun unjudged"},
		"a page":     {func(w http.ResponseWriter) { fmt.Fprint(w, "<html>") }, "begun unjudged"},
		"a redirect": {func(w http.ResponseWriter) { w.Header().Set("Location", "/login"); w.WriteHeader(http.StatusFound) }, "begun unjudged"},
		"Windows authentication": {func(w http.ResponseWriter) {
			w.Header().Set("WWW-Authenticate", "NTLM")
			w.WriteHeader(http.StatusUnauthorized)
		}, "begun unjudged"},
		"no cookie":  {func(w http.ResponseWriter) { fmt.Fprint(w, `{"name":"u"}`) }, "begun accepted"},
		"401":        {func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) }, "begun refused"},
		"503":        {func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }, "begun"},
		"broken off": {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, "begun"},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				book := &countingBook{}
				w := newWorld(t, scomtest.Options{}, nil, func(cfg *Config) {
					cfg.Consoles, cfg.Logons = []Console{{URL: "http://odd:80/om", User: "u", Password: "p"}}, book
				})
				serveFunc(t, w, "odd", func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/om/authenticate" {
						c.answer(w)
						return
					}
					http.NotFound(w, r)
				})
				if _, err := w.client.Poll(t.Context(), alert.Query{}, func(alert.Row) error { return nil }); err == nil {
					t.Error("got no error")
				}
				if got := strings.Join(book.ends, " "); got != c.want {
					t.Errorf("noted: %s; want %s", got, c.want)
				}
			})
		})
	}
}
