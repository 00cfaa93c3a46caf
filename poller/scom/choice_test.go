package scom

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"scomconnector/poller/alert"
	"scomconnector/poller/scom/scomtest"
)

func TestFirstConsoleHangsWhileTheSecondIsFine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, []scomtest.ConsoleOptions{{}, {}}, nil)
		w.mustPoll()
		w.consoles[0].Set(scomtest.Faults{Hang: true})
		f := w.mustFail(alert.FaultTimeout)
		if f.All || f.Console != "c1" || w.inUse() != "c2" {
			t.Fatalf("got %+v and %s in use, want c2 at once", f, w.inUse())
		}
		for range 600 { // ten minutes
			start := time.Now()
			w.mustPoll()
			if took := time.Since(start); took > 100*time.Millisecond {
				t.Fatalf("a poll took %v although the second console is fine", took)
			}
			time.Sleep(time.Second)
		}
		if w.inUse() != "c2" {
			t.Fatal("the hanging console is in use again")
		}
		w.consoles[0].Heal()
		healed := time.Now()
		logons := w.consoles[0].Counters().Logons
		for w.inUse() == "c2" && time.Since(healed) < time.Hour {
			w.mustPoll()
			if got := w.consoles[0].Counters().Logons; got != logons {
				t.Fatal("a probe logged on")
			}
			time.Sleep(time.Second)
		}
		if took := time.Since(healed); took < 5*time.Minute || took > 6*time.Minute+time.Second {
			t.Errorf("c1 is in use again after %v, want 5 to 6 minutes", took)
		}
		if _, answer := w.mustPoll(); answer.Console != "c1" {
			t.Errorf("%s answered", answer.Console)
		}
	})
}

func TestReturningToAConsoleThatOnlyPassesProbesGetsRarer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, []scomtest.ConsoleOptions{{}, {}}, nil)
		w.consoles[0].Set(scomtest.Faults{Hang: true, Path: "data/alert"})
		failed := 0
		for start := time.Now(); time.Since(start) < 2*time.Hour; time.Sleep(10 * time.Second) {
			if _, _, err := w.poll(alert.Query{}); err != nil {
				failed++
			}
		}
		if failed < 3 || failed > 6 {
			t.Errorf("%d polls failed in two hours, want the first and some four trials", failed)
		}
	})
}

func TestThreeFailedPollsThenTheNextConsole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, []scomtest.ConsoleOptions{{}, {}}, nil)
		w.mustPoll()
		w.consoles[0].Set(scomtest.Faults{Status: 503})
		for i := range 3 {
			if f := w.mustFail(alert.FaultTransport); f.All || f.Console != "c1" {
				t.Fatalf("failure %d: got %+v", i, f)
			}
		}
		if _, answer := w.mustPoll(); answer.Console != "c2" {
			t.Errorf("%s answered", answer.Console)
		}
	})
}

func TestASuccessBetweenFailuresStartsTheCountAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, []scomtest.ConsoleOptions{{}, {}}, nil)
		w.mustPoll()
		for range 5 {
			w.consoles[0].Set(scomtest.Faults{Status: 503, Count: 2})
			w.mustFail(alert.FaultTransport)
			w.mustFail(alert.FaultTransport)
			if _, answer := w.mustPoll(); answer.Console != "c1" {
				t.Fatalf("%s answered", answer.Console)
			}
		}
	})
}

func TestAllDownIsSaidAndEachIsTriedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, []scomtest.ConsoleOptions{{}, {}, {}}, nil)
		w.mustPoll()
		for _, c := range w.consoles {
			c.Set(scomtest.Faults{Down: true})
		}
		var all []bool
		var asked []string
		for range 30 {
			f := w.mustFail(alert.FaultTransport)
			all, asked = append(all, f.All), append(asked, f.Console)
		}
		first := 0
		for !all[first] {
			first++
		}
		for _, a := range all[first:] {
			if !a {
				t.Errorf("all consoles are down, but: %v", all)
			}
		}
		if asked[first+1] == asked[first+2] || asked[first+2] == asked[first+3] || asked[first+1] == asked[first+3] {
			t.Errorf("with all down each should be tried in turn: %v", asked[first:])
		}
		w.consoles[1].Heal()
		for range 3 {
			if _, _, err := w.poll(alert.Query{}); err == nil {
				break
			}
		}
		if _, answer := w.mustPoll(); answer.Console != "c2" {
			t.Errorf("%s answered", answer.Console)
		}
	})
}

func TestRetryAfterOfTheLastConsoleLeftIsHandedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scomtest.Options{}, nil, func(c *Config) {
			c.Consoles = []Console{{URL: "http://busy:80/om", User: "u", Password: "p"}}
		})
		serveFunc(t, w, "busy", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		if f := w.mustFail(alert.FaultTransport); f.RetryAfter != 30*time.Second || !f.All {
			t.Errorf("got %+v", f)
		}
	})
}

// A spare that failed once is looked at by probes, without a log-on, and shown as reachable once they are answered; what only
// an operator can mend stays failing whatever the probes say.
func TestASpareThatFailedIsProbed(t *testing.T) {
	for name, c := range map[string]struct {
		fault scomtest.Faults
		want  State
	}{
		"it was away":            {fault: scomtest.Faults{Down: true}, want: StateReachable},
		"it answered 500":        {fault: scomtest.Faults{Status: 500}, want: StateReachable},
		"it refuses the account": {fault: scomtest.Faults{WrongPassword: true}, want: StateFailing},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, scomtest.Options{}, []scomtest.ConsoleOptions{{}, {}}, nil)
				w.consoles[0].Set(scomtest.Faults{Down: true})
				w.consoles[1].Set(c.fault)
				for w.client.Status()[1].State != StateFailing {
					if _, _, err := w.poll(alert.Query{}); err == nil {
						t.Fatal("a poll succeeded")
					}
				}
				w.consoles[0].Heal()
				time.Sleep(6 * time.Minute) // a refused account is left alone
				w.client.Use(0)
				w.mustPoll()
				logons := w.consoles[1].Counters().Logons
				time.Sleep(90 * time.Second)
				if got := w.client.Status()[1].State; got != StateFailing {
					t.Errorf("while it fails its state is %s", got)
				}
				w.consoles[1].Heal()
				time.Sleep(2 * time.Minute)
				s := w.client.Status()[1]
				if s.State != c.want || s.InUse {
					t.Errorf("got state %s, in use %v; want %s: %s", s.State, s.InUse, c.want, s.Brief)
				}
				if got := w.consoles[1].Counters().Logons; got != logons {
					t.Error("a probe logged on")
				}
			})
		})
	}
}
